//! Dead letters: records that can't be worked on, byte for byte, with the reason and their origin.

use std::fmt;

use bytes::Bytes;

use super::stage::Flow;
use crate::record::{ConsumerRecord, HEADERS_MAX, Headers, ProducerRecord, Topic};

/// The reason of a dead letter whose value no codec could read.
pub const UNDECODABLE: &str = "undecodable";
/// The reason of a dead letter whose outcome could not be written.
pub const UNENCODABLE: &str = "unencodable";
/// The reason of a dead letter whose output the broker refuses as too large; it has no value.
pub const TOO_LARGE: &str = "too-large";
/// The reason of a dead letter whose record has more headers than [`HEADERS_MAX`]; it has none of them.
pub const TOO_MANY_HEADERS: &str = "too-many-headers";

/// Where dead letters go, and what goes with them.
pub(in crate::topology) struct DeadLetters {
    pub(in crate::topology) topic: Topic,
    pub(in crate::topology) beside: Option<Beside>,
}

/// The records that are published with the dead letter of this one.
pub(in crate::topology) type Beside =
    Box<dyn Fn(&ConsumerRecord) -> Vec<ProducerRecord> + Send + Sync>;

impl DeadLetters {
    /// The dead letter of a record (its key, value and headers, and the `dead-letter-*` headers)
    /// and what goes with it. Of too many headers it has none: a copy of them all would take as much
    /// memory again, and would be refused like the record when it is sent back.
    pub(in crate::topology) fn of(
        &self,
        record: &ConsumerRecord,
        group: Option<&str>,
        reason: &'static str,
        cause: String,
    ) -> Vec<ProducerRecord> {
        let headers = match reason {
            TOO_MANY_HEADERS => Headers::new(),
            _ => record.headers.clone(),
        };
        let mut outputs = vec![ProducerRecord {
            topic: self.topic.clone(),
            partition: None,
            timestamp: None,
            key: record.key.clone(),
            value: record.value.clone(),
            headers: origin(headers, record, group, reason, cause),
        }];
        outputs.extend(self.beside.iter().flat_map(|beside| beside(record)));
        outputs
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// What becomes of a record that no stage is to see, if it is one. Its source may have kept one header
/// beyond the limit, and no more of them.
pub(in crate::topology) fn beyond_limits<T>(record: &ConsumerRecord) -> Option<Flow<T>> {
    let cause = || format!("found more than {HEADERS_MAX} headers, expected at most as many");
    let is_beyond = record.headers.len() > HEADERS_MAX;
    is_beyond.then(|| Flow::DeadLetter { reason: TOO_MANY_HEADERS, cause: cause() })
}

/// How often the outputs of a record are refused as too large until nothing can be left out any
/// more: itself, its dead letter without value, and then without key and headers.
pub(in crate::topology) const MOST_REFUSALS: u8 = 2;

/// The dead letter of a record whose output, or whose dead letter, is too large: without its value,
/// and if even that was refused, without its key and headers.
pub(in crate::topology) fn too_large(
    topic: &Topic,
    group: Option<&str>,
    record: &ConsumerRecord,
    refusals: u8,
) -> ProducerRecord {
    let whole = refusals < 2;
    let has_headers = whole && record.headers.len() <= HEADERS_MAX;
    let headers = if has_headers { record.headers.clone() } else { Headers::new() };
    let cause = format!("the broker refuses the output of {} bytes of input", record.size_bytes());
    ProducerRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: None,
        key: if whole { record.key.clone() } else { None },
        value: None,
        headers: origin(headers, record, group, TOO_LARGE, cause),
    }
}

fn origin(
    mut headers: Headers,
    record: &ConsumerRecord,
    group: Option<&str>,
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
    // Whoever wrote the record may have named a group: it is not for that to say.
    headers.remove("dead-letter-group");
    if let Some(group) = group {
        headers.set("dead-letter-group", group.to_owned());
    }
    headers
}
