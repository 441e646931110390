//! Transactions of the in-memory broker, stopped between their steps.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sinks::{Batch, Sink as _, SinkError};
use jobstream::sources::{CommitError, Source as _, SourceEvent};
use jobstream_testkit::broker::{Broker, Consumer, Fault, Isolation, Operation, TransactionError};
use tokio::time::{Instant, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// A broker with one record on `jobs`, and an empty topic `results`.
fn broker() -> Broker {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    broker.create_topic("results", 1);
    broker.produce(ProducerRecord::to("jobs").value("job")).unwrap();
    broker
}

fn result() -> ProducerRecord {
    ProducerRecord::to("results").value("result")
}

fn results(broker: &Broker, isolation: Isolation) -> Vec<i64> {
    broker.records("results", isolation).iter().map(|record| record.offset).collect()
}

fn end(broker: &Broker) -> (Option<i64>, Option<i64>) {
    let partition = TopicPartition::new("results", 0);
    (broker.last_stable_offset(&partition), broker.high_watermark(&partition))
}

fn committed(broker: &Broker) -> Option<i64> {
    broker.committed("group").values().map(|committed| committed.offset).next()
}

fn at(generation: u64, frontier: i64) -> PartitionPosition {
    let partition = TopicPartition::new("jobs", 0);
    PartitionPosition { partition, generation, position: Position::at(frontier) }
}

fn batch(generation: u64) -> Batch {
    Batch { outputs: vec![result()], positions: vec![at(generation, 1)] }
}

/// Polls until the member is assigned its partition.
async fn assigned(consumer: &Consumer) {
    let event = consumer.events().next().await;
    assert!(matches!(event, Some(Ok(SourceEvent::Assigned(_)))), "found {event:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_stable_offset_waits_for_the_oldest_open_transaction() {
    let broker = broker();
    let (one, two) = (broker.transactional_producer("1"), broker.transactional_producer("2"));
    one.begin().await.unwrap();
    two.begin().await.unwrap();
    assert_eq!(one.send(&[result()]).await, Ok(vec![(0, 0)]));
    assert_eq!(two.send(&[result(), result()]).await, Ok(vec![(0, 1), (0, 2)]));
    broker.produce(result()).unwrap();
    two.commit().await.unwrap();
    assert_eq!(end(&broker), (Some(0), Some(5)));
    assert!(results(&broker, Isolation::ReadCommitted).is_empty());
    assert_eq!(results(&broker, Isolation::ReadUncommitted), [0, 1, 2, 3]);
    one.abort().await.unwrap();
    assert_eq!(end(&broker), (Some(6), Some(6)));
    assert_eq!(results(&broker, Isolation::ReadCommitted), [1, 2, 3]);
    assert_eq!(results(&broker, Isolation::ReadUncommitted), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_producer_aborts_what_the_older_left_open_and_fences_it() {
    let broker = broker();
    let older = broker.transactional_producer("id");
    older.begin().await.unwrap();
    older.send(&[result()]).await.unwrap();
    let newer = broker.transactional_producer("id");
    assert_eq!(end(&broker), (Some(2), Some(2)), "the abort marker spends an offset");
    assert!(matches!(older.send(&[result()]).await, Err(TransactionError::Fenced(_))));
    assert!(matches!(older.commit().await, Err(TransactionError::Fenced(_))));
    assert!(matches!(older.begin().await, Err(TransactionError::Fenced(_))));
    newer.begin().await.unwrap();
    newer.commit().await.unwrap();
    assert_eq!(end(&broker), (Some(2), Some(2)), "a transaction without records has no marker");
}

#[tokio::test(start_paused = true)]
async fn steps_out_of_order_are_refused() {
    let producer = broker().transactional_producer("id");
    assert!(matches!(producer.send(&[result()]).await, Err(TransactionError::State(_))));
    assert!(matches!(producer.commit().await, Err(TransactionError::State(_))));
    producer.begin().await.unwrap();
    assert!(matches!(producer.begin().await, Err(TransactionError::State(_))));
    let unknown = ProducerRecord::to("nowhere");
    assert!(matches!(producer.send(&[unknown]).await, Err(TransactionError::Record(_))));
}

#[tokio::test(start_paused = true)]
async fn positions_in_a_transaction_are_committed_with_it_or_not_at_all() {
    let broker = broker();
    let consumer = broker.consumer("group", ["jobs"]).build();
    assigned(&consumer).await;
    let producer = broker.transactional_producer("id");
    for commits in [false, true] {
        producer.begin().await.unwrap();
        producer.send_offsets(&[at(1, 1)], &consumer.group_metadata()).await.unwrap();
        assert_eq!(committed(&broker), None);
        if commits { producer.commit().await } else { producer.abort().await }.unwrap();
    }
    assert_eq!(committed(&broker), Some(1));
}

#[tokio::test(start_paused = true)]
async fn positions_of_an_older_session_are_fenced() {
    let broker = broker();
    let consumer = broker.consumer("group", ["jobs"]).build();
    let mut events = consumer.events();
    let event = events.next().await;
    assert!(matches!(event, Some(Ok(SourceEvent::Assigned(_)))), "found {event:?}");
    let older = consumer.group_metadata();
    broker.expire(consumer.member());
    let producer = broker.transactional_producer("id");
    producer.begin().await.unwrap();
    let fenced = producer.send_offsets(&[at(1, 1)], &older).await;
    assert!(matches!(fenced, Err(TransactionError::GroupFenced(_))), "found {fenced:?}");
    events.next().await.unwrap().unwrap();
    events.next().await.unwrap().unwrap();
    let fenced = producer.send_offsets(&[at(2, 1)], &older).await;
    assert!(matches!(fenced, Err(TransactionError::GroupFenced(_))), "found {fenced:?}");
    producer.send_offsets(&[at(2, 1)], &consumer.group_metadata()).await.unwrap();
}

/// As after `kill -9` between the positions and the end of the transaction (KIP-447).
#[tokio::test(start_paused = true)]
async fn the_next_member_waits_for_positions_in_an_open_transaction() {
    for (next_id, waits_seconds) in [("id", 0), ("other", 60)] {
        let broker = broker();
        let (consumer, sink) = broker.exactly_once("group", ["jobs"], "id");
        assigned(&consumer).await;
        broker.hold(Operation::EndTransaction);
        assert!(timeout(SECOND, sink.publish(&batch(1))).await.is_err());
        broker.crash(consumer.member());
        broker.expire(consumer.member());
        broker.release(Operation::EndTransaction);

        let crashed = Instant::now() - SECOND;
        let (next, _sink) = broker.exactly_once("group", ["jobs"], next_id);
        assigned(&next).await;
        let waited = crashed.elapsed().as_secs().saturating_sub(u64::from(waits_seconds == 0));
        assert_eq!(waited, waits_seconds);
        assert_eq!(committed(&broker), None);
        assert!(results(&broker, Isolation::ReadCommitted).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_dropped_half_way_is_aborted_by_the_next() {
    let broker = broker();
    let (consumer, sink) = broker.exactly_once("group", ["jobs"], "id");
    assigned(&consumer).await;
    for operation in [Operation::Publish, Operation::Commit, Operation::EndTransaction] {
        broker.hold(operation);
        assert!(timeout(SECOND, sink.publish(&batch(1))).await.is_err());
        broker.release(operation);
    }
    assert!(sink.publish(&batch(1)).await.unwrap().has_positions);
    assert_eq!(results(&broker, Isolation::ReadCommitted).len(), 1);
    assert_eq!(results(&broker, Isolation::ReadUncommitted).len(), 3);
    assert_eq!(committed(&broker), Some(1));
}

#[tokio::test(start_paused = true)]
async fn an_aborted_batch_can_be_published_again_from_memory() {
    for operation in [
        Operation::BeginTransaction,
        Operation::Publish,
        Operation::Commit,
        Operation::EndTransaction,
    ] {
        let broker = broker();
        let (consumer, sink) = broker.exactly_once("group", ["jobs"], "id");
        assigned(&consumer).await;
        broker.fail(operation, 1, Fault::Aborted);
        assert!(matches!(sink.publish(&batch(1)).await, Err(SinkError::Aborted(_))));
        assert_eq!(committed(&broker), None);
        sink.publish(&batch(1)).await.unwrap();
        assert_eq!(results(&broker, Isolation::ReadCommitted).len(), 1);
        broker.fail(operation, 1, Fault::Broken);
        assert!(matches!(sink.publish(&batch(1)).await, Err(SinkError::Broken(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_pair_keeps_its_assignment_and_goes_on_with_a_new_producer() {
    let broker = broker();
    let (consumer, sink) = broker.exactly_once("group", ["jobs"], "id");
    let mut events = consumer.events();
    events.next().await.unwrap().unwrap();
    drop(broker.transactional_producer("id"));
    assert!(matches!(sink.publish(&batch(1)).await, Err(SinkError::Aborted(_))));
    sink.publish(&batch(1)).await.unwrap();
    assert_eq!(committed(&broker), Some(1));
    drop(broker.transactional_producer("id"));
    assert!(matches!(consumer.commit(&[at(1, 2)]).await, Err(CommitError::Transient(_))));
    consumer.commit(&[at(1, 2)]).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, SourceEvent::Record(_)), "found {event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_stays_open_too_long_is_aborted_and_its_producer_fenced() {
    let broker = Broker::builder().transaction_timeout(10 * SECOND).build();
    broker.create_topic("results", 1);
    let producer = broker.transactional_producer("id");
    producer.begin().await.unwrap();
    producer.send(&[result()]).await.unwrap();
    broker.produce(result()).unwrap();
    let consumer = broker.consumer("readers", ["results"]).build();
    let mut events = consumer.events();
    let start = Instant::now();
    events.next().await.unwrap().unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert!(matches!(event, SourceEvent::Record(record) if record.offset == 1));
    assert_eq!(start.elapsed(), 10 * SECOND);
    assert!(matches!(producer.commit().await, Err(TransactionError::Fenced(_))));
}

#[tokio::test(start_paused = true)]
async fn a_zombies_transaction_is_fenced() {
    let broker = broker();
    let (consumer, sink) = broker.exactly_once("group", ["jobs"], "zombie");
    assigned(&consumer).await;
    broker.suspend(consumer.member());
    let batch = batch(1);
    let mut publish = sink.publish(&batch);
    assert!(timeout(SECOND, &mut publish).await.is_err(), "a stopped process publishes nothing");
    let (other, _sink) = broker.exactly_once("group", ["jobs"], "other");
    assigned(&other).await;
    broker.wake(consumer.member());
    let refused = publish.await;
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    assert!(results(&broker, Isolation::ReadCommitted).is_empty());
    assert_eq!(committed(&broker), None);
}

#[tokio::test(start_paused = true)]
async fn a_yielding_broker_can_be_crashed_between_the_steps_of_a_transaction() {
    let mut seen = Vec::new();
    for polls in 1.. {
        let broker = {
            let yielding = Broker::builder().yielding().build();
            yielding.create_topic("jobs", 1);
            yielding.create_topic("results", 1);
            yielding
        };
        let (consumer, sink) = broker.exactly_once("group", ["jobs"], "id");
        assigned(&consumer).await;
        let batch = batch(1);
        let mut publish = sink.publish(&batch);
        let completed = (0..polls).any(|_| (&mut publish).now_or_never().is_some());
        drop(publish);
        let uncommitted = results(&broker, Isolation::ReadUncommitted).len();
        seen.push((uncommitted, committed(&broker)));
        if completed {
            break;
        }
    }
    seen.dedup();
    assert_eq!(seen, [(0, None), (1, None), (1, Some(1))]);
}
