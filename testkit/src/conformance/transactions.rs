//! Transactions: outputs and positions together, or neither.

use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{Topic, TopicPartition};
use jobstream::sinks::{Batch, Commits, Published, SinkError};
use jobstream::sources::Source as _;

use super::records::{fill, numbered, publish};
use super::sinks::TOO_LARGE_BYTES;
use super::{Backend, Members};
use crate::broker::Isolation;

/// A topic of one partition with three records, and one for outputs.
async fn topics<B: Backend>(backend: &B) -> (Topic, Topic, TopicPartition, String) {
    let topic = backend.create_topic(1).await;
    fill(backend, &topic, 1, 3).await;
    let results = backend.create_topic(1).await;
    (topic.clone(), results, TopicPartition::new(topic.clone(), 0), format!("{topic}-group"))
}

fn batch(results: &Topic, numbers: std::ops::Range<i64>, position: PartitionPosition) -> Batch {
    let outputs = numbers.map(|number| numbered(results, 0, number)).collect();
    Batch { outputs, positions: vec![position] }
}

async fn visible<B: Backend>(backend: &B, topic: &Topic) -> Vec<i64> {
    let records = backend.read(topic, Isolation::ReadCommitted).await;
    records.iter().map(|record| record.offset).collect()
}

/// Both are durable when `publish` completes, and the marker has taken an offset.
pub async fn outputs_and_positions_are_published_together<B: Backend>(backend: &B) {
    let (topic, results, partition, group) = topics(backend).await;
    let (source, sink) = backend.exactly_once(&group, &topic, &format!("{topic}-id")).await;
    assert_eq!(sink.commits(), Commits::WithBatches);
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.records(0).len() == 3).await;
    let mut position = Position::at(1);
    position.finish(2);
    let at = members.position(0, &partition, position.clone());
    let published = members.during(sink.publish(&batch(&results, 0..2, at))).await;
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    assert_eq!(visible(backend, &results).await, [0, 1]);
    assert_eq!(backend.high_watermark(&TopicPartition::new(results, 0)).await, 3);
    let committed = backend.committed(&group, &partition).await.expect("there is a commit");
    assert_eq!(committed.position().ok().as_ref(), Some(&position));
}

/// The source commits, which shares the pair's transactions.
pub async fn a_pair_commits_positions_without_outputs_too<B: Backend>(backend: &B) {
    let (topic, results, partition, group) = topics(backend).await;
    let (source, sink) = backend.exactly_once(&group, &topic, &format!("{topic}-id")).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.records(0).len() == 3).await;
    let one = members.position(0, &partition, Position::at(1));
    members.during(source.commit(&[one])).await.expect("the owner may commit");
    assert_eq!(backend.committed(&group, &partition).await.map(|c| c.offset), Some(1));
    let two = members.position(0, &partition, Position::at(2));
    let published = members.during(sink.publish(&batch(&results, 0..0, two))).await;
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    assert_eq!(backend.committed(&group, &partition).await.map(|c| c.offset), Some(2));
}

/// The outputs stay invisible; the same batch without the position can be published.
pub async fn a_batch_with_a_stale_position_is_aborted_as_a_whole<B: Backend>(backend: &B) {
    let (topic, results, partition, group) = topics(backend).await;
    let (source, sink) = backend.exactly_once(&group, &topic, &format!("{topic}-id")).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.records(0).len() == 3).await;
    let mut stale = members.position(0, &partition, Position::at(3));
    stale.generation += 1;
    let mut batch = batch(&results, 0..2, stale);
    let refused = members.during(sink.publish(&batch)).await;
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    assert!(visible(backend, &results).await.is_empty());
    assert_eq!(backend.committed(&group, &partition).await, None);
    batch.positions.clear();
    let published = members.during(sink.publish(&batch)).await;
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    assert_eq!(visible(backend, &results).await.len(), 2);
}

/// The error has the output's index, and no position is committed.
pub async fn a_batch_with_an_output_that_is_too_large_publishes_nothing<B: Backend>(backend: &B) {
    let (topic, results, partition, group) = topics(backend).await;
    let (source, sink) = backend.exactly_once(&group, &topic, &format!("{topic}-id")).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.records(0).len() == 3).await;
    let mut batch = batch(&results, 0..2, members.position(0, &partition, Position::at(2)));
    batch.outputs[1].value = Some(vec![0; TOO_LARGE_BYTES].into());
    match members.during(sink.publish(&batch)).await {
        Err(SinkError::TooLarge { outputs, others_published: false }) => assert_eq!(outputs, [1]),
        published => panic!("found {published:?}"),
    }
    assert!(visible(backend, &results).await.is_empty());
    assert_eq!(backend.committed(&group, &partition).await, None);
}

/// Its records are visible to `read_uncommitted` only. Records and marker leave a gap of offsets;
/// the records behind it are read.
pub async fn an_aborted_transaction_is_invisible_and_spends_offsets<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    fill(backend, &topic, 1, 1).await;
    let id = format!("{topic}-id");
    backend.abort(&id, &[numbered(&topic, 0, 1), numbered(&topic, 0, 2)]).await;
    assert_eq!(backend.high_watermark(&partition).await, 4, "two records and a marker");
    fill(backend, &topic, 1, 1).await;
    assert_eq!(visible(backend, &topic).await, [0, 4]);
    let uncommitted = backend.read(&topic, Isolation::ReadUncommitted).await;
    assert_eq!(uncommitted.iter().map(|r| r.offset).collect::<Vec<_>>(), [0, 1, 2, 4]);
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the record behind the gap", |m| m.records(0).len() == 2).await;
    assert_eq!(members.offsets(0, &partition), [0, 4]);
}

/// The last stable offset stays below the transaction until the next producer of its id aborts it.
pub async fn an_open_transaction_hides_what_follows_until_it_is_fenced<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    let id = format!("{topic}-id");
    fill(backend, &topic, 1, 1).await;
    backend.abandon(&id, &[numbered(&topic, 0, 1)]).await;
    publish(&*backend.sink().await, vec![numbered(&topic, 0, 2)]).await;
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the record before it", |m| !m.records(0).is_empty()).await;
    members.silence().await;
    assert_eq!(members.offsets(0, &partition), [0]);
    let _newer = backend.exactly_once(&format!("{topic}-other"), &topic, &id).await;
    members.until("the record behind it", |m| m.records(0).len() == 2).await;
    assert_eq!(members.offsets(0, &partition), [0, 2]);
}

/// Nothing that the older pair publishes after that becomes visible.
pub async fn a_newer_pair_fences_the_older_one<B: Backend>(backend: &B) {
    let (topic, results, partition, group) = topics(backend).await;
    let id = format!("{topic}-id");
    let (source, sink) = backend.exactly_once(&group, &topic, &id).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.records(0).len() == 3).await;
    let _newer = backend.exactly_once(&group, &topic, &id).await;
    let batch = batch(&results, 0..1, members.position(0, &partition, Position::at(1)));
    let refused = members.during(sink.publish(&batch)).await;
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    assert!(visible(backend, &results).await.is_empty());
    assert_eq!(backend.committed(&group, &partition).await, None);
}
