//! The attributes of OpenTelemetry's conventions for messaging, as of 1.27.

use jobstream::record::{ConsumerRecord, Topic};
use opentelemetry::KeyValue;

/// What an operation is done to, and by whom.
pub(super) fn operation(name: &'static str, kind: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("messaging.system", "kafka"),
        KeyValue::new("messaging.operation.name", name),
        KeyValue::new("messaging.operation.type", kind),
    ]
}

pub(super) fn destination(topic: &Topic) -> KeyValue {
    KeyValue::new("messaging.destination.name", topic.clone())
}

/// Where a record came from, and the group that consumes it.
pub(super) fn origin(record: &ConsumerRecord, group: &str) -> [KeyValue; 4] {
    [
        destination(&record.partition.topic),
        KeyValue::new("messaging.destination.partition.id", record.partition.partition.to_string()),
        KeyValue::new("messaging.kafka.offset", record.offset),
        KeyValue::new("messaging.consumer.group.name", group.to_owned()),
    ]
}

pub(super) fn batch_size(records: usize) -> KeyValue {
    KeyValue::new("messaging.batch.message_count", i64::try_from(records).unwrap_or(i64::MAX))
}
