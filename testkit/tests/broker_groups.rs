//! Groups of the in-memory broker: rebalances while records are in flight, crashes, zombies.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sources::{Assignment, CommitError, Source as _, SourceError, SourceEvent};
use jobstream_testkit::broker::{Broker, Consumer, Fault, Operation, Protocol};
use tokio::time::{Instant, timeout};

type Events<'a> = BoxStream<'a, Result<SourceEvent, SourceError>>;

const SECOND: Duration = Duration::from_secs(1);

async fn next(events: &mut Events<'_>) -> SourceEvent {
    timeout(3600 * SECOND, events.next()).await.unwrap().unwrap().unwrap()
}

async fn silent(events: &mut Events<'_>) -> bool {
    timeout(SECOND, events.next()).await.is_err()
}

fn partitions(numbers: &[i32]) -> Vec<TopicPartition> {
    numbers.iter().map(|&number| TopicPartition::new("jobs", number)).collect()
}

fn assigned(event: SourceEvent) -> Vec<(i32, u64)> {
    let SourceEvent::Assigned(assignments) = event else { panic!("found {event:?}") };
    assignments.iter().map(|a: &Assignment| (a.partition.partition, a.generation)).collect()
}

fn offset(event: &SourceEvent) -> i64 {
    let SourceEvent::Record(record) = event else { panic!("found {event:?}") };
    record.offset
}

fn at(partition: i32, generation: u64, frontier: i64) -> PartitionPosition {
    let partition = TopicPartition::new("jobs", partition);
    PartitionPosition { partition, generation, position: Position::at(frontier) }
}

fn broker(partitions: i32, records: i32) -> Broker {
    let broker = Broker::new();
    broker.create_topic("jobs", partitions);
    for number in 0..records {
        let mut record = ProducerRecord::to("jobs").value(number.to_string());
        record.partition = Some(number % partitions);
        broker.produce(record).unwrap();
    }
    broker
}

fn member(broker: &Broker) -> Consumer {
    broker.consumer("group", ["jobs"]).build()
}

#[tokio::test(start_paused = true)]
async fn a_moved_partition_is_assigned_after_its_release_at_what_was_committed() {
    let broker = broker(2, 4);
    let (a, b) = (member(&broker), member(&broker));
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1), (1, 1)]);
    assert_eq!(offset(&next(&mut from_a).await), 0);

    assert!(silent(&mut from_b).await, "b waits for a's release");
    assert_eq!(next(&mut from_a).await, SourceEvent::Revoked(partitions(&[1])));
    a.commit(&[at(1, 1, 1)]).await.unwrap();
    a.release(&partitions(&[1])).await.unwrap();
    let SourceEvent::Assigned(assignments) = next(&mut from_b).await else { panic!() };
    assert_eq!(assignments[0].position, Some(Position::at(1)));
    assert_eq!(offset(&next(&mut from_b).await), 1);
    assert!(matches!(a.commit(&[at(1, 1, 2)]).await, Err(CommitError::Fenced(_))));
    assert_eq!(offset(&next(&mut from_a).await), 1, "a kept partition reads on");
}

#[tokio::test(start_paused = true)]
async fn an_eager_rebalance_asks_everything_back_and_assigns_after_the_last_release() {
    let broker = broker(2, 0);
    let eager = || broker.consumer("group", ["jobs"]).protocol(Protocol::Eager).build();
    let (a, b) = (eager(), eager());
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1), (1, 1)]);
    assert!(silent(&mut from_b).await);
    assert_eq!(next(&mut from_a).await, SourceEvent::Revoked(partitions(&[0, 1])));
    a.release(&partitions(&[0])).await.unwrap();
    assert!(silent(&mut from_a).await && silent(&mut from_b).await, "one is not released yet");
    a.release(&partitions(&[1])).await.unwrap();
    assert_eq!(assigned(next(&mut from_a).await), [(0, 2)]);
    assert_eq!(assigned(next(&mut from_b).await), [(1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_member_is_replaced_when_its_session_times_out() {
    let broker = broker(1, 1);
    let (a, b) = (member(&broker), member(&broker));
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1)]);
    assert!(silent(&mut from_b).await);
    let crashed = Instant::now();
    broker.crash(a.member());
    assert!(silent(&mut from_a).await, "the dead see nothing");
    assert!(timeout(SECOND, a.commit(&[at(0, 1, 1)])).await.is_err());
    assert_eq!(assigned(next(&mut from_b).await), [(0, 1)]);
    assert_eq!(crashed.elapsed().as_secs(), 45);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_consumer_has_crashed_and_a_closed_one_has_left() {
    let broker = broker(1, 0);
    let a = member(&broker);
    assert_eq!(assigned(next(&mut a.events()).await), [(0, 1)]);
    drop(a);
    let b = member(&broker);
    let start = Instant::now();
    let mut from_b = b.events();
    assert_eq!(assigned(next(&mut from_b).await), [(0, 1)]);
    assert_eq!(start.elapsed().as_secs(), 45);
    b.close().await.unwrap();
    assert!(from_b.next().await.is_none());
    let c = member(&broker);
    assert_eq!(assigned(next(&mut c.events()).await), [(0, 1)]);
    assert_eq!(start.elapsed().as_secs(), 45);
}

#[tokio::test(start_paused = true)]
async fn a_zombie_that_wakes_has_lost_its_partitions_and_joins_again() {
    let broker = broker(1, 1);
    let (a, b) = (member(&broker), member(&broker));
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1)]);
    broker.suspend(a.member());
    assert_eq!(assigned(next(&mut from_b).await), [(0, 1)]);
    assert!(timeout(SECOND, a.commit(&[at(0, 1, 1)])).await.is_err());
    broker.wake(a.member());
    assert!(matches!(a.commit(&[at(0, 1, 1)]).await, Err(CommitError::Fenced(_))));
    assert_eq!(next(&mut from_a).await, SourceEvent::Lost(partitions(&[0])));
    b.close().await.unwrap();
    assert_eq!(assigned(next(&mut from_a).await), [(0, 2)]);
    assert!(matches!(a.commit(&[at(0, 1, 1)]).await, Err(CommitError::Fenced(_))));
    a.commit(&[at(0, 2, 1)]).await.unwrap();
    assert!(broker.has_caught_up("group", "jobs"));
}

#[tokio::test(start_paused = true)]
async fn a_zombie_that_has_not_learnt_reads_on_and_commits_nothing() {
    let broker = broker(1, 4);
    let (a, b) = (member(&broker), member(&broker));
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1)]);
    assert_eq!(offset(&next(&mut from_a).await), 0);
    broker.hide_loss(a.member());
    broker.suspend(a.member());
    assert_eq!(assigned(next(&mut from_b).await), [(0, 1)]);
    broker.wake(a.member());
    for expected in 1..4 {
        assert_eq!(offset(&next(&mut from_a).await), expected);
    }
    assert!(silent(&mut from_a).await, "it neither loses anything nor joins again");
    assert!(matches!(a.commit(&[at(0, 1, 4)]).await, Err(CommitError::Fenced(_))));
    b.commit(&[at(0, 1, 1)]).await.unwrap();
    broker.reveal_loss(a.member());
    assert_eq!(next(&mut from_a).await, SourceEvent::Lost(partitions(&[0])));
    b.close().await.unwrap();
    assert_eq!(assigned(next(&mut from_a).await), [(0, 2)]);
    assert_eq!(offset(&next(&mut from_a).await), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_hidden_from_a_member_that_owned_nothing_keeps_it_from_no_group() {
    let broker = broker(1, 1);
    let (a, b) = (member(&broker), member(&broker));
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1)]);
    assert!(silent(&mut from_b).await);
    broker.hide_loss(b.member());
    broker.expire(b.member());
    assert_eq!(broker.members("group"), [a.member()]);
    assert!(silent(&mut from_b).await);
    assert_eq!(broker.members("group"), [a.member()]);
    broker.reveal_loss(b.member());
    assert!(silent(&mut from_b).await);
    assert_eq!(broker.members("group"), [a.member(), b.member()]);
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_of_the_process_costs_no_assignment() {
    let broker = broker(1, 1);
    let a = member(&broker);
    let mut events = a.events();
    assert_eq!(assigned(next(&mut events).await), [(0, 1)]);
    broker.suspend(a.member());
    tokio::time::advance(44 * SECOND).await;
    broker.wake(a.member());
    tokio::time::advance(44 * SECOND).await;
    assert_eq!(offset(&next(&mut events).await), 0);
    a.commit(&[at(0, 1, 1)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_holds_everything_and_times_nobody_out() {
    let broker = broker(1, 1);
    let a = member(&broker);
    let mut events = a.events();
    assert_eq!(assigned(next(&mut events).await), [(0, 1)]);
    broker.suspend(a.member());
    broker.stop();
    tokio::time::advance(3600 * SECOND).await;
    broker.wake(a.member());
    assert!(silent(&mut events).await);
    assert!(timeout(SECOND, a.commit(&[at(0, 1, 1)])).await.is_err());
    broker.start();
    assert_eq!(offset(&next(&mut events).await), 0);
    a.commit(&[at(0, 1, 1)]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn operations_fail_as_often_as_was_said_and_are_held_until_released() {
    let broker = broker(1, 1);
    broker.fail(Operation::Join, 2, Fault::Transient);
    broker.fail(Operation::Fetch, 1, Fault::Transient);
    broker.fail(Operation::Commit, 1, Fault::Transient);
    broker.fail(Operation::Commit, 1, Fault::Fenced);
    let a = member(&broker);
    let mut events = a.events();
    let start = Instant::now();
    assert_eq!(assigned(next(&mut events).await), [(0, 1)]);
    assert_eq!(start.elapsed().as_millis(), 200);
    assert_eq!(offset(&next(&mut events).await), 0);
    assert_eq!(start.elapsed().as_millis(), 300);
    let positions = [at(0, 1, 1)];
    assert!(matches!(a.commit(&positions).await, Err(CommitError::Transient(_))));
    assert!(matches!(a.commit(&positions).await, Err(CommitError::Fenced(_))));
    broker.hold(Operation::Commit);
    let mut held = a.commit(&positions);
    assert!(timeout(SECOND, &mut held).await.is_err());
    assert!(broker.committed("group").is_empty(), "a held commit has no effect");
    broker.release(Operation::Commit);
    held.await.unwrap();
    broker.fail(Operation::Fetch, 1, Fault::Broken);
    broker.produce(ProducerRecord::to("jobs")).unwrap();
    assert!(events.next().await.unwrap().is_err());
    assert!(events.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn partitions_take_turns() {
    let broker = broker(2, 8);
    let a = broker.consumer("group", ["jobs"]).max_poll_records(2).build();
    let mut events = a.events();
    assert_eq!(assigned(next(&mut events).await), [(0, 1), (1, 1)]);
    let mut order = Vec::new();
    for _ in 0..8 {
        let SourceEvent::Record(record) = next(&mut events).await else { panic!() };
        order.push(record.partition.partition);
    }
    assert_eq!(order, [0, 0, 1, 1, 0, 0, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_stream_is_woken_by_what_happens() {
    let broker = broker(1, 0);
    let a = member(&broker);
    let waiting = tokio::spawn(async move { a.events().skip(1).next().await });
    tokio::task::yield_now().await;
    let start = Instant::now();
    broker.produce(ProducerRecord::to("jobs")).unwrap();
    let record = timeout(SECOND, waiting).await.unwrap().unwrap().unwrap().unwrap();
    assert_eq!((offset(&record), start.elapsed()), (0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_created_later_is_assigned_then() {
    let broker = Broker::new();
    let a = member(&broker);
    let mut events = a.events();
    assert!(silent(&mut events).await);
    broker.create_topic("jobs", 2);
    assert_eq!(assigned(next(&mut events).await), [(0, 1), (1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_partition_moves_on_demand() {
    let broker = broker(2, 0);
    let (a, b) = (member(&broker), member(&broker));
    let (mut from_a, mut from_b) = (a.events(), b.events());
    assert_eq!(assigned(next(&mut from_a).await), [(0, 1), (1, 1)]);
    assert!(silent(&mut from_b).await);
    assert_eq!(next(&mut from_a).await, SourceEvent::Revoked(partitions(&[1])));
    a.release(&partitions(&[1])).await.unwrap();
    assert_eq!(assigned(next(&mut from_b).await), [(1, 1)]);
    broker.reassign("group", &TopicPartition::new("jobs", 1), a.member());
    assert_eq!(next(&mut from_b).await, SourceEvent::Revoked(partitions(&[1])));
    b.release(&partitions(&[1])).await.unwrap();
    assert_eq!(assigned(next(&mut from_a).await), [(1, 2)]);
}
