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
/// A record with more bytes than this in key and value has memory of its own. What a record that
/// stays keeps of others is limited by that, and by the size of a block.
const SHARED_BYTES_MAX: usize = 512;

/// Where copies of records lie: one after another, so that a record is not an allocation.
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
        let (key, value) = (message.key(), message.payload());
        self.make_room(key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        ConsumerRecord {
            partition,
            offset: message.offset(),
            generation,
            timestamp: message.timestamp().to_millis(),
            key: key.map(|key| self.copy(key)),
            value: value.map(|value| self.copy(value)),
            headers: message.headers().map(headers).unwrap_or_default(),
        }
    }

    fn make_room(&mut self, bytes: usize) {
        if self.0.capacity() < bytes {
            let is_large = bytes > SHARED_BYTES_MAX;
            self.0 = BytesMut::with_capacity(if is_large { bytes } else { BLOCK_BYTES });
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
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
    fn small_records_share_a_block_and_a_large_one_has_its_own() {
        let mut block = Block::default();
        let mut copies = Vec::new();
        for number in 0..=u8::MAX {
            let record = [number; 100];
            block.make_room(record.len());
            copies.push((number, block.copy(&record)));
        }
        let place = |copy: &Bytes| copy.as_ptr() as usize;
        let followed = copies.windows(2).filter(|two| place(&two[0].1) + 100 == place(&two[1].1));
        assert!(followed.count() >= 240, "about 40 lie in a block");
        assert!(copies.iter().all(|(number, copy)| copy[..] == [*number; 100]));
        block.make_room(SHARED_BYTES_MAX + BLOCK_BYTES);
        let large = block.copy(&[1; SHARED_BYTES_MAX + BLOCK_BYTES]);
        assert!(block.0.capacity() < 100 && large.iter().all(|byte| *byte == 1));
    }
}
