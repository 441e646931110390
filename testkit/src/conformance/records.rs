//! Records arrive as they were published, in order.

use bytes::Bytes;
use futures::StreamExt as _;
use jobstream::record::{Headers, ProducerRecord, Topic, TopicPartition};
use jobstream::sinks::{Batch, Published, Sink};
use jobstream::sources::{Source as _, SourceEvent};

use super::{Backend, Members};

/// A record for one partition, with a number as value.
pub(super) fn numbered(topic: &Topic, partition: i32, number: i64) -> ProducerRecord {
    let record = ProducerRecord::to(topic.clone()).value(number.to_string());
    ProducerRecord { partition: Some(partition), ..record }
}

/// Publishes records without positions.
pub(super) async fn publish(sink: &dyn Sink, outputs: Vec<ProducerRecord>) {
    let published = sink.publish(&Batch { outputs, positions: Vec::new() }).await;
    assert!(published.is_ok(), "{published:?}");
}

/// Publishes `records` numbered records to each of the topic's partitions.
pub(super) async fn fill<B: Backend>(backend: &B, topic: &Topic, partitions: i32, records: i64) {
    let sink = backend.sink().await;
    let outputs = (0..records).flat_map(|n| (0..partitions).map(move |partition| (partition, n)));
    let outputs = outputs.map(|(partition, n)| numbered(topic, partition, n)).collect();
    publish(&*sink, outputs).await;
}

/// Offsets ascend within a partition, from the first one, and no record comes before its partition
/// is assigned; records that are published later follow.
pub async fn records_of_a_partition_arrive_in_offset_order_after_their_assignment<B: Backend>(
    backend: &B,
) {
    let topic = backend.create_topic(3).await;
    fill(backend, &topic, 3, 20).await;
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("60 records", |members| members.records(0).len() == 60).await;
    members.during(fill(backend, &topic, 3, 10)).await;
    members.until("90 records", |members| members.records(0).len() == 90).await;
    for partition in (0..3).map(|number| TopicPartition::new(topic.clone(), number)) {
        assert_eq!(members.offsets(0, &partition), (0..30).collect::<Vec<_>>(), "{partition}");
        let of_partition = |event: &SourceEvent| match event {
            SourceEvent::Assigned(assigned) => assigned.iter().any(|a| a.partition == partition),
            SourceEvent::Record(record) => record.partition == partition,
            _ => false,
        };
        let first = members.seen(0).iter().find(|event| of_partition(event));
        assert!(matches!(first, Some(SourceEvent::Assigned(_))), "found {first:?}");
    }
}

/// The first assignment of a partition is generation 1, and its records carry it.
pub async fn every_record_carries_the_generation_of_its_assignment<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    fill(backend, &topic, 2, 3).await;
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("6 records", |members| members.records(0).len() == 6).await;
    assert!(members.owned(0).values().all(|&generation| generation == 1));
    assert!(members.records(0).iter().all(|record| record.generation == 1));
}

/// The stream of a second call of `events` yields an error and ends.
pub async fn the_events_of_a_source_are_given_once<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let _events = source.events();
    let again: Vec<_> = source.events().collect().await;
    assert!(matches!(&*again, [Err(_)]), "found {again:?}");
}

/// Null and empty differ, in keys and in values.
pub async fn null_and_empty_keys_and_values_survive<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let contents = [None, Some(Bytes::new()), Some(Bytes::from_static(b"\0\xff"))];
    let outputs = contents.iter().flat_map(|key| {
        contents.iter().map(|value| ProducerRecord {
            partition: Some(0),
            key: key.clone(),
            value: value.clone(),
            ..ProducerRecord::to(topic.clone())
        })
    });
    let outputs: Vec<_> = outputs.collect();
    let arrived = through(backend, &topic, &outputs).await;
    for (sent, (key, value, _, _)) in outputs.iter().zip(&arrived) {
        assert_eq!((&sent.key, &sent.value), (key, value));
    }
}

/// Headers keep their order; a name may repeat, a value may be null or empty.
pub async fn headers_survive_with_repeats_and_null_values<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let mut headers = Headers::new();
    headers.push("b", Some(Bytes::from_static(b"1")));
    headers.push("a", None);
    headers.push("b", Some(Bytes::new()));
    headers.push("b", Some(Bytes::from_static(b"\xff\0")));
    let outputs = [ProducerRecord { headers: headers.clone(), ..numbered(&topic, 0, 0) }];
    let arrived = through(backend, &topic, &outputs).await;
    assert_eq!(arrived[0].2, headers);
}

/// A record arrives with the timestamp that it was published with.
pub async fn explicit_timestamps_survive<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let outputs = [1_688_144_206_304, 1]
        .map(|timestamp| ProducerRecord { timestamp: Some(timestamp), ..numbered(&topic, 0, 0) });
    let arrived = through(backend, &topic, &outputs).await;
    let arrived: Vec<_> = arrived.iter().map(|(_, _, _, timestamp)| *timestamp).collect();
    assert_eq!(arrived, [Some(1_688_144_206_304), Some(1)]);
}

/// With six partitions the key `3c91b` belongs to the last, as with librdkafka's
/// `consistent_random`.
pub async fn a_key_is_placed_by_the_crc_32_of_its_bytes<B: Backend>(backend: &B) {
    let topic = backend.create_topic(6).await;
    let sink = backend.sink().await;
    let record = ProducerRecord::to(topic.clone()).key("3c91b");
    publish(&*sink, vec![record.clone(), record]).await;
    assert_eq!(backend.high_watermark(&TopicPartition::new(topic, 5)).await, 2);
}

type Contents = (Option<Bytes>, Option<Bytes>, Headers, Option<i64>);

/// Publishes records to a topic of one partition, and consumes them.
async fn through<B: Backend>(
    backend: &B,
    topic: &Topic,
    outputs: &[ProducerRecord],
) -> Vec<Contents> {
    let sink = backend.sink().await;
    let batch = Batch { outputs: outputs.to_vec(), positions: Vec::new() };
    let published = sink.publish(&batch).await;
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
    let source = backend.source(&format!("{topic}-group"), topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("all records", |members| members.records(0).len() >= outputs.len()).await;
    let records = members.records(0).into_iter().cloned();
    records.map(|r| (r.key, r.value, r.headers, r.timestamp)).collect()
}
