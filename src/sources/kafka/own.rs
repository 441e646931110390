//! Makes records our own, so that no memory of librdkafka is held.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::{Bytes, BytesMut};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _};

use crate::record::{ConsumerRecord, Generation, Header, Headers, TopicPartition};

/// Stands for a header's name that is no UTF-8, which Kafka's protocol asks for and no broker
/// checks; its value can't be read either.
const NAME_UNREADABLE: &str = "\u{fffd}";

/// Whether a record has a header that could not be read.
pub(super) fn has_unreadable_header(record: &ConsumerRecord) -> bool {
    let is_unreadable = |header: &Header| header.name == NAME_UNREADABLE && header.value.is_none();
    record.headers.iter().any(is_unreadable)
}

/// Bytes of the memory that small records share.
const BLOCK_BYTES: usize = 4 << 10;
/// A record with more bytes than this in key and value has memory of its own.
const SHARED_BYTES_MAX: usize = 512;

/// Where copies of records lie: small ones one after another, so that a record is not an allocation.
#[derive(Debug, Default)]
pub(crate) struct Block(BytesMut);

impl Block {
    /// Copies a record. Its block stays as long as any record in it does.
    pub(crate) fn own(
        &mut self,
        message: &BorrowedMessage<'_>,
        partition: TopicPartition,
        generation: Generation,
    ) -> ConsumerRecord {
        let [key, value] = self.copies([message.key(), message.payload()]);
        ConsumerRecord {
            partition,
            offset: message.offset(),
            generation,
            timestamp: message.timestamp().to_millis(),
            key,
            value,
            headers: message.headers().map(headers).unwrap_or_default(),
        }
    }

    fn copies(&mut self, parts: [Option<&[u8]>; 2]) -> [Option<Bytes>; 2] {
        let bytes = parts.iter().flatten().map(|part| part.len()).sum();
        let mut own = BytesMut::new();
        let memory = if bytes > SHARED_BYTES_MAX {
            own.reserve(bytes);
            &mut own
        } else {
            if self.0.capacity() < bytes {
                self.0 = BytesMut::with_capacity(BLOCK_BYTES);
            }
            &mut self.0
        };
        parts.map(|part| {
            memory.extend_from_slice(part?);
            Some(memory.split().freeze())
        })
    }
}

fn headers(headers: &BorrowedHeaders) -> Headers {
    // rdkafka panics on a name that is no UTF-8; a record must not end the source.
    let header = |index| match catch_unwind(AssertUnwindSafe(|| headers.get(index))) {
        Ok(header) => Header {
            name: Cow::Owned(header.key.to_owned()),
            value: header.value.map(Bytes::copy_from_slice),
        },
        Err(_) => Header { name: Cow::Borrowed(NAME_UNREADABLE), value: None },
    };
    (0..headers.count()).map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_records_share_a_block_and_a_large_one_between_them_has_its_own() {
        let mut block = Block::default();
        let large = [0; SHARED_BYTES_MAX + 1];
        let (mut small, mut larger) = (Vec::new(), Vec::new());
        for number in 0..=u8::MAX {
            small.push(block.copies([Some(&[number]), Some(&[number; 99])]));
            larger.push(block.copies([None, Some(&large)]));
        }
        let place = |record: &[Option<Bytes>; 2]| record[0].as_ref().unwrap().as_ptr() as usize;
        let followed = small.windows(2).filter(|two| place(&two[0]) + 100 == place(&two[1]));
        assert!(followed.count() >= 240, "40 lie in a block");
        for (number, [key, value]) in small.iter().enumerate() {
            let number = u8::try_from(number).unwrap();
            assert_eq!(key.as_deref(), Some(&[number][..]));
            assert_eq!(value.as_deref(), Some(&[number; 99][..]));
        }
        assert!(
            larger.iter().all(|[key, value]| key.is_none() && value.as_deref() == Some(&large))
        );
        assert_eq!(block.copies([Some(b""), None]), [Some(Bytes::new()), None]);
    }
}
