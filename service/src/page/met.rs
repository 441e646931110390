//! A record that has met its fate.

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, Topic};
use jobstream::sinks::JobErrorKind;
use jobstream::topology::Fate;
use serde::{Serialize, Serializer};

use super::feed::NameOf;

/// The longest part of a record's value that is kept, in bytes.
const CONTENT_LIMIT_BYTES: usize = 16 * 1024;

/// A record that has met its fate: where it was and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Met {
    /// The name that its value has, if any: of a job its `Id`.
    id: Option<String>,
    #[serde(serialize_with = "name")]
    topic: Topic,
    partition: i32,
    offset: i64,
    fate: &'static str,
    /// Why, where the fate alone does not say it.
    reason: Option<&'static str>,
    /// The beginning of its value, where content may be shown.
    #[serde(skip)]
    pub(super) content: Option<Bytes>,
}

impl Met {
    pub(super) fn new(
        record: &ConsumerRecord,
        fate: Fate,
        name_of: NameOf,
        keeps_content: bool,
    ) -> Self {
        let (name, reason) = words(fate);
        let value = record.value.as_deref();
        let beginning =
            |value: &[u8]| Bytes::copy_from_slice(&value[..value.len().min(CONTENT_LIMIT_BYTES)]);
        Self {
            id: name_of(value),
            topic: record.partition.topic.clone(),
            partition: record.partition.partition,
            offset: record.offset,
            fate: name,
            reason,
            content: value.filter(|_| keeps_content).map(beginning),
        }
    }
}

fn name<S: Serializer>(topic: &Topic, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(topic)
}

/// A fate and its reason, in words of bounded variety.
const fn words(fate: Fate) -> (&'static str, Option<&'static str>) {
    match fate {
        Fate::Succeeded => ("succeeded", None),
        Fate::Failed(JobErrorKind::Permanent) => ("rejected", None),
        Fate::Failed(JobErrorKind::Ambiguous) => ("ambiguous", None),
        Fate::Failed(_) => ("exhausted", None),
        Fate::Skipped(stage) => ("skipped", Some(stage)),
        Fate::DeadLettered(reason) => ("dead-letter", Some(reason)),
        _ => ("other", None),
    }
}
