//! Makes records our own, so that no memory of librdkafka is held.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _};

use crate::record::{Block, ConsumerRecord, Generation, Header, Headers, TopicPartition};

/// Stands for a header's name that is no UTF-8, which Kafka's protocol asks for and no broker
/// checks; its value can't be read either.
const NAME_UNREADABLE: &str = "\u{fffd}";

/// Whether a record has a header that could not be read.
pub(super) fn has_unreadable_header(record: &ConsumerRecord) -> bool {
    let is_unreadable = |header: &Header| header.name == NAME_UNREADABLE && header.value.is_none();
    record.headers.iter().any(is_unreadable)
}

/// Copies a record, with so many of its headers at most; a small one shares a block with others.
pub(crate) fn own(
    block: &mut Block,
    message: &BorrowedMessage<'_>,
    partition: TopicPartition,
    generation: Generation,
    headers_max: usize,
) -> ConsumerRecord {
    let parts = [message.key().unwrap_or_default(), message.payload().unwrap_or_default()];
    let mut copied = block.concat(&parts);
    let key = message.key().map(|key| copied.split_to(key.len()));
    let value = message.payload().map(|_| copied);
    ConsumerRecord {
        partition,
        offset: message.offset(),
        generation,
        timestamp: message.timestamp().to_millis(),
        key,
        value,
        headers: message.headers().map(|all| headers(all, headers_max)).unwrap_or_default(),
    }
}

fn headers(headers: &BorrowedHeaders, max: usize) -> Headers {
    // rdkafka panics on a name that is no UTF-8; a record must not end the source.
    let header = |index| match catch_unwind(AssertUnwindSafe(|| headers.get(index))) {
        Ok(header) => Header {
            name: Cow::Owned(header.key.to_owned()),
            value: header.value.map(Bytes::copy_from_slice),
        },
        Err(_) => Header { name: Cow::Borrowed(NAME_UNREADABLE), value: None },
    };
    (0..headers.count().min(max)).map(header).collect()
}
