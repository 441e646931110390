//! Dead letters: records that can't be worked on, byte for byte, with the reason and their origin.

use bytes::Bytes;

use crate::record::{ConsumerRecord, Headers, ProducerRecord, Topic};

/// The reason of a dead letter whose value no codec could read.
pub const UNDECODABLE: &str = "undecodable";
/// The reason of a dead letter whose outcome could not be written.
pub const UNENCODABLE: &str = "unencodable";
/// The reason of a dead letter whose output the broker refuses as too large; it has no value.
pub const TOO_LARGE: &str = "too-large";

/// The dead letter of a record: its key, value and headers, and the `dead-letter-*` headers.
pub(super) fn dead_letter(
    topic: &Topic,
    record: &ConsumerRecord,
    reason: &'static str,
    cause: String,
) -> ProducerRecord {
    ProducerRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: None,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: origin(record.headers.clone(), record, reason, cause),
    }
}

/// The dead letter of a record whose output, or whose dead letter, is too large: without its value,
/// and if even that was refused, without its key and headers.
pub(super) fn too_large(topic: &Topic, record: &ConsumerRecord, refusals: u8) -> ProducerRecord {
    let whole = refusals < 2;
    let headers = if whole { record.headers.clone() } else { Headers::new() };
    let cause = format!("the broker refuses the output of {} bytes of input", record.size_bytes());
    ProducerRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: None,
        key: if whole { record.key.clone() } else { None },
        value: None,
        headers: origin(headers, record, TOO_LARGE, cause),
    }
}

fn origin(
    mut headers: Headers,
    record: &ConsumerRecord,
    reason: &'static str,
    cause: String,
) -> Headers {
    headers.set("dead-letter-reason", Bytes::from_static(reason.as_bytes()));
    headers.set("dead-letter-cause", cause);
    headers.set("dead-letter-topic", record.partition.topic.to_string());
    headers.set("dead-letter-partition", record.partition.partition.to_string());
    headers.set("dead-letter-offset", record.offset.to_string());
    headers.remove("dead-letter-timestamp");
    if let Some(timestamp) = record.timestamp {
        headers.set("dead-letter-timestamp", timestamp.to_string());
    }
    headers
}
