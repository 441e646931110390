//! Keyed state: it tells of exactly the records that are finished, whatever happens.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::{BoxFuture, join};
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, ProducerRecord, TopicPartition};
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::{PersistError, State, Store as _};
use jobstream::topology::{Event, Limits, RunError, Topology, Worker};
use jobstream_testkit::broker::{Broker, Fault, Isolation, MemberId, Operation, TopicOptions};
use support::{
    CrashAt, DEAD_LETTERS, GROUP, JOBS, RESULTS, Task, Told, Yielding, limits, produce, values,
};
use tokio::time::sleep;

const STATE: &str = "state";
const KEYS: [&str; 3] = ["a", "b", "c"];

fn broker(partitions: i32) -> Broker {
    let broker = support::broker(partitions);
    broker.create_topic(STATE, partitions);
    broker
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

/// Counts the jobs of each key; the result is the count. Fails as often as the task says, after it
/// has counted.
#[derive(Debug, Default)]
struct Counter {
    persists: bool,
    attempts: Mutex<BTreeMap<u64, u32>>,
}

#[async_trait]
impl StatefulJobSink<Task, u64> for Counter {
    async fn execute(
        &self,
        task: &Task,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        let key = record.key.as_deref().unwrap_or_default();
        let count = state.get(key).map_or(0, |count| number(&count)) + 1;
        sleep(Duration::from_millis(task.takes_ms)).await;
        state.put(key, &count.to_be_bytes());
        let attempt = *self
            .attempts
            .lock()
            .unwrap()
            .entry(task.id)
            .and_modify(|attempts| *attempts += 1)
            .or_insert(1);
        if attempt <= task.failures {
            return Err(JobError::transient("it is to fail"));
        }
        if self.persists {
            state.persist().await.map_err(|error| JobError::permanent(error.to_string()))?;
        }
        Ok(count)
    }
}

fn counting(sink: impl StatefulJobSink<Task, u64> + 'static) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(Arc::new(sink))
        .encode(support::result)
        .with_limits(limits())
}

/// An exactly-once pair and its store, every effect of which yields.
fn pair(broker: &Broker, id: &str) -> (Worker, MemberId) {
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], id);
    let member = source.member();
    let store = Some(Box::new(broker.store(STATE)) as _);
    (Worker { source: Box::new(Yielding(source)), sink: Box::new(Yielding(sink)), store }, member)
}

async fn run_to_the_end(topology: &Topology, broker: &Broker) {
    let (worker, _) = pair(broker, "last");
    let drained = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS)).await.unwrap();
    assert_eq!(drained.unfinished, 0);
}

/// What the topic tells, of all parts.
async fn counts(broker: &Broker) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for TopicPartition { partition, .. } in broker.partitions(STATE) {
        for entry in broker.store(STATE).restore(partition).await.unwrap() {
            let key = String::from_utf8(entry.key.to_vec()).unwrap();
            let before = counts.insert(key, number(&entry.value));
            assert_eq!(before, None, "a key is in two parts");
        }
    }
    counts
}

/// Tasks on three keys; some are slow, one fails at first. Gives how many each key has.
fn produce_some(broker: &Broker) -> BTreeMap<String, u64> {
    let mut produced = BTreeMap::new();
    for id in 0..12 {
        let key = KEYS[id as usize % KEYS.len()];
        let task = Task::new(id).takes(Duration::from_millis(id % 4 * 300));
        produce(broker, Some(key), &task.fails(u32::from(id == 4)));
        *produced.entry(key.to_owned()).or_default() += 1;
    }
    produced
}

async fn crash_at_every_poll(persists: bool) {
    let mut poll = 0;
    loop {
        let broker = broker(2);
        let produced = produce_some(&broker);
        let topology = counting(Counter { persists, ..Counter::default() });
        let (worker, member) = pair(&broker, "first");
        let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
        let ended = CrashAt::new(poll, run).await.is_some();
        broker.expire(member);
        run_to_the_end(&topology, &broker).await;
        let found = counts(&broker).await;
        if persists {
            // What was persisted before the crash, and not finished, is counted again.
            let at_least = |(key, count): (&String, &u64)| found[key] >= *count;
            assert!(produced.iter().all(at_least), "crash at poll {poll}: {found:?}");
        } else {
            assert_eq!(found, produced, "crash at poll {poll}");
        }
        if ended {
            assert_eq!(found, produced, "without a crash");
            break;
        }
        poll += 1;
    }
    assert!(poll > 20, "found {poll} polls, expected one at every effect at least");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_point_the_state_tells_of_every_record_once() {
    crash_at_every_poll(false).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_point_nothing_that_was_persisted_is_lost() {
    crash_at_every_poll(true).await;
}

#[tokio::test(start_paused = true)]
async fn when_partitions_move_the_state_moves_with_them() {
    for moves in 0..12 {
        let broker = broker(4);
        let topology = counting(Counter::default());
        let (one, first) = pair(&broker, "one");
        let (other, second) = pair(&broker, "other");
        let both = join(
            topology.run_worker(&one, broker.caught_up(GROUP, JOBS)),
            topology.run_worker(&other, broker.caught_up(GROUP, JOBS)),
        );
        let produced = produce_some(&broker);
        let partitions = broker.partitions(JOBS);
        let shuffle = async {
            for turn in 0..moves {
                sleep(Duration::from_millis(70)).await;
                let to = if turn % 2 == 0 { first } else { second };
                broker.reassign(GROUP, &partitions[turn % partitions.len()], to);
            }
        };
        let ((one, other), ()) = join(both, shuffle).await;
        assert_eq!((one.unwrap().unfinished, other.unwrap().unfinished), (0, 0));
        assert_eq!(counts(&broker).await, produced, "{moves} moves");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_is_restored_before_its_first_job() {
    let broker = broker(1);
    for count in [3_u64, 7] {
        let mut change = ProducerRecord::to(STATE).key("a").value(count.to_be_bytes().to_vec());
        change.partition = Some(0);
        broker.produce(change).unwrap();
    }
    produce(&broker, Some("a"), &Task::new(0));
    broker.hold(Operation::Restore);
    let told = Arc::new(Told::default());
    let observer = told.clone();
    let observer = Arc::new(move |event: &Event<'_>| match event {
        Event::Restored { partition, entries, took } => {
            observer.tell(format!("restored {partition}: {entries} in {took:?}"));
        }
        Event::Fetched(_) => observer.tell("fetched".to_owned()),
        _ => {}
    });
    let topology = counting(Counter::default()).with_observer(observer);
    let (worker, _) = pair(&broker, "first");
    let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
    let release = async {
        sleep(Duration::from_secs(3)).await;
        assert!(told.all().is_empty(), "{:?}", told.all());
        broker.release(Operation::Restore);
    };
    join(run.map(Result::unwrap), release).await;
    assert_eq!(told.all(), ["restored 0: 1 in 3s", "fetched"]);
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["8"]);
}

#[tokio::test(start_paused = true)]
async fn a_restore_waits_until_an_open_transaction_times_out() {
    let broker = broker(1);
    let mut change = ProducerRecord::to(STATE).key("a").value(7_u64.to_be_bytes().to_vec());
    change.partition = Some(0);
    let open = broker.transactional_producer("crashed");
    open.begin().await.unwrap();
    open.send(&[change]).await.unwrap();
    produce(&broker, Some("a"), &Task::new(0));
    let began = tokio::time::Instant::now();
    run_to_the_end(&counting(Counter::default()), &broker).await;
    assert!(began.elapsed() >= Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_attempt_has_changed_is_dropped() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0).fails(3));
    produce(&broker, Some("b"), &Task::new(1).fails(1_000));
    run_to_the_end(&counting(Counter::default()), &broker).await;
    assert_eq!(counts(&broker).await, BTreeMap::from([("a".to_owned(), 1)]));
}

/// Does what a test says, given the task's number.
struct Does<F>(F);

type Doing<'a> = BoxFuture<'a, Result<u64, JobError>>;

#[async_trait]
impl<F: for<'a> Fn(u64, &'a State) -> Doing<'a> + Send + Sync> StatefulJobSink<Task, u64>
    for Does<F>
{
    async fn execute(
        &self,
        task: &Task,
        _: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        (self.0)(task.id, state).await
    }
}

fn doing(f: impl for<'a> Fn(u64, &'a State) -> Doing<'a> + Send + Sync + 'static) -> Topology {
    counting(Does(f))
}

/// The records of the state's topic that a reader of committed transactions sees.
fn stored(broker: &Broker) -> usize {
    broker.records(STATE, Isolation::ReadCommitted).len()
}

#[tokio::test(start_paused = true)]
async fn what_was_persisted_is_durable_before_the_job_goes_on() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (looks, notes) = (broker.clone(), seen.clone());
    let topology = doing(move |_, state| {
        let (broker, seen) = (looks.clone(), notes.clone());
        async move {
            state.put(b"intent", b"1");
            state.persist().await.unwrap();
            let position = broker.committed(GROUP).values().map(|c| c.offset).collect::<Vec<_>>();
            seen.lock().unwrap().push((stored(&broker), position));
            state.put(b"outcome", b"2");
            assert_eq!(stored(&broker), 1, "what was not persisted goes with the outputs");
            Ok(0)
        }
        .boxed()
    });
    run_to_the_end(&topology, &broker).await;
    assert_eq!(*seen.lock().unwrap(), [(1, vec![0])], "with the position of an unfinished record");
    let records = broker.records(STATE, Isolation::ReadCommitted);
    let keys: Vec<_> = records.iter().map(|r| r.key.clone().unwrap()).collect();
    assert_eq!(keys, ["intent", "outcome"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_persisted_in_an_aborted_transaction_is_published_again() {
    for fault in [Fault::Aborted, Fault::Transient] {
        let broker = broker(2);
        let produced = produce_some(&broker);
        for operation in [Operation::Publish, Operation::Commit, Operation::EndTransaction] {
            broker.fail(operation, 2, fault);
        }
        let topology = counting(Counter { persists: true, ..Counter::default() });
        run_to_the_end(&topology, &broker).await;
        assert_eq!(counts(&broker).await, produced, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_zombies_changes_are_fenced() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0).takes(Duration::from_secs(100)));
    let topology = counting(Counter { persists: true, ..Counter::default() });
    let (zombie, member) = pair(&broker, "zombie");
    let sleeps = async {
        sleep(Duration::from_secs(1)).await;
        broker.suspend(member);
        sleep(Duration::from_secs(200)).await;
        broker.wake(member);
    };
    let (worker, _) = pair(&broker, "other");
    let other = async {
        sleep(Duration::from_secs(2)).await;
        topology.run_worker(&worker, broker.caught_up(GROUP, JOBS)).await.unwrap();
    };
    let end = async {
        broker.caught_up(GROUP, JOBS).await;
        sleep(Duration::from_secs(100)).await;
    };
    let run = topology.run_worker(&zombie, end);
    let (_, (_, ())) = join(run.map(Result::unwrap), join(other, sleeps)).await;
    assert_eq!(counts(&broker).await, BTreeMap::from([("a".to_owned(), 1)]));
    assert_eq!(stored(&broker), 1, "one of the two that have executed it has changed the state");
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["1"]);
}

const MORE_JOBS: &str = "more-jobs";

fn produce_to(broker: &Broker, topic: &str, key: &'static str, task: &Task) {
    let value = serde_json::to_vec(task).unwrap();
    broker.produce(ProducerRecord::to(topic).key(key).value(value)).unwrap();
}

/// A pair that consumes two topics.
fn pair_of_two_topics(broker: &Broker, id: &str) -> (Worker, MemberId) {
    let (source, sink) = broker.exactly_once(GROUP, [JOBS, MORE_JOBS], id);
    let member = source.member();
    let store = Some(Box::new(broker.store(STATE)) as _);
    (Worker { source: Box::new(source), sink: Box::new(sink), store }, member)
}

async fn both_caught_up(broker: &Broker) {
    join(broker.caught_up(GROUP, JOBS), broker.caught_up(GROUP, MORE_JOBS)).await;
}

#[tokio::test(start_paused = true)]
async fn topics_that_are_consumed_together_share_the_part_of_their_number() {
    let broker = broker(2);
    broker.create_topic(MORE_JOBS, 2);
    for id in 0..20 {
        let topic = if id % 2 == 0 { JOBS } else { MORE_JOBS };
        produce_to(&broker, topic, KEYS[id % 3], &Task::new(id as u64));
    }
    let (worker, _) = pair_of_two_topics(&broker, "first");
    counting(Counter::default()).run_worker(&worker, both_caught_up(&broker)).await.unwrap();
    let counts: Vec<_> = counts(&broker).await.into_values().collect();
    assert_eq!(counts, [7, 7, 6]);
}

#[tokio::test(start_paused = true)]
async fn partitions_that_share_a_part_are_released_together() {
    let broker = broker(1);
    broker.create_topic(MORE_JOBS, 1);
    produce_to(&broker, MORE_JOBS, "a", &Task::new(0).takes(Duration::from_secs(5)));
    let topology = counting(Counter::default());
    let (one, first) = pair_of_two_topics(&broker, "one");
    let (other, second) = pair_of_two_topics(&broker, "other");
    let partitions = [TopicPartition::new(JOBS, 0), TopicPartition::new(MORE_JOBS, 0)];
    let moves = async {
        sleep(Duration::from_secs(1)).await;
        partitions.iter().for_each(|partition| broker.reassign(GROUP, partition, first));
        sleep(Duration::from_secs(1)).await;
        partitions.iter().for_each(|partition| broker.reassign(GROUP, partition, second));
        produce_to(&broker, JOBS, "a", &Task::new(1));
        sleep(Duration::from_secs(1)).await;
        assert!(broker.assignment(GROUP).values().all(|owner| *owner == first));
        both_caught_up(&broker).await;
        assert!(broker.assignment(GROUP).values().all(|owner| *owner == second));
    };
    let ends = sleep(Duration::from_secs(60));
    let run = join(
        topology.run_worker(&one, ends),
        topology.run_worker(&other, sleep(Duration::from_secs(60))),
    );
    let ((one, other), ()) = join(run, moves).await;
    assert_eq!((one.unwrap().unfinished, other.unwrap().unfinished), (0, 0));
    assert_eq!(counts(&broker).await, BTreeMap::from([("a".to_owned(), 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_too_large_is_dropped_and_its_job_told() {
    for exactly_once in [true, false] {
        let broker = support::broker(1);
        broker.create_topic(STATE, TopicOptions::partitions(1).max_message_bytes(1_000));
        produce(&broker, Some("a"), &Task::new(0));
        let told = Arc::new(Mutex::new(None));
        let result = told.clone();
        let topology = doing(move |_, state| {
            let result = result.clone();
            async move {
                state.put(b"large", &[0; 2_000]);
                state.put(b"small", b"1");
                let error = state.persist().await.unwrap_err();
                *result.lock().unwrap() = Some(error);
                assert_eq!(state.get(b"large"), None);
                assert_eq!(state.get(b"small").as_deref(), Some(&b"1"[..]));
                Ok(0)
            }
            .boxed()
        });
        let store = Some(Box::new(broker.store(STATE)) as _);
        let worker = if exactly_once {
            let (source, sink) = broker.exactly_once(GROUP, [JOBS], "first");
            Worker { source: Box::new(source), sink: Box::new(sink), store }
        } else {
            let source = broker.consumer(GROUP, [JOBS]).build();
            Worker { source: Box::new(source), sink: Box::new(broker.producer()), store }
        };
        topology.run_worker(&worker, broker.caught_up(GROUP, JOBS)).await.unwrap();
        let expected = PersistError::TooLarge { keys: vec![b"large"[..].into()] };
        assert_eq!(told.lock().unwrap().take(), Some(expected));
        let entries = broker.store(STATE).restore(0).await.unwrap();
        let keys: Vec<_> = entries.iter().map(|entry| entry.key.to_vec()).collect();
        assert_eq!(keys, [b"small"], "exactly once: {exactly_once}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_change_is_too_large_is_a_dead_letter() {
    let broker = support::broker(1);
    broker.create_topic(STATE, TopicOptions::partitions(1).max_message_bytes(1_000));
    produce(&broker, Some("a"), &Task::new(0));
    produce(&broker, Some("a"), &Task::new(1));
    let topology = doing(|id, state| {
        let found = state.get(b"large").is_some();
        state.put(b"large", &vec![0; 2_000 - 1_990 * id as usize]);
        async move { Ok(u64::from(found)) }.boxed()
    });
    run_to_the_end(&topology, &broker).await;
    assert_eq!(broker.records(DEAD_LETTERS, Isolation::ReadCommitted).len(), 1);
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["0", "0"]);
    assert_eq!(stored(&broker), 1);
}

#[tokio::test(start_paused = true)]
async fn while_a_part_is_restored_its_partition_can_be_revoked_or_lost_and_the_run_stopped() {
    let broker = broker(2);
    let produced = produce_some(&broker);
    broker.hold(Operation::Restore);
    let topology = counting(Counter::default());
    let (one, first) = pair(&broker, "one");
    let (other, second) = pair(&broker, "other");
    let stop = sleep(Duration::from_secs(10));
    let changes = async {
        sleep(Duration::from_secs(1)).await;
        let partition = TopicPartition::new(JOBS, 0);
        let owner = broker.assignment(GROUP)[&partition];
        broker.reassign(GROUP, &partition, if owner == first { second } else { first });
        sleep(Duration::from_secs(1)).await;
        assert_ne!(broker.assignment(GROUP)[&partition], owner, "released though not restored");
        broker.expire(first);
        sleep(Duration::from_secs(1)).await;
    };
    let run = topology.run_worker(&one, stop);
    let neighbour = topology.run_worker(&other, sleep(Duration::from_secs(11)));
    let began = tokio::time::Instant::now();
    let ((drained, neighbour), ()) = join(join(run, neighbour), changes).await;
    assert_eq!((drained.unwrap().unfinished, neighbour.unwrap().unfinished), (0, 0));
    assert!(began.elapsed() < Duration::from_secs(12), "a drain waits for no restore");
    broker.release(Operation::Restore);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(counts(&broker).await, produced);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_a_drain_cuts_off_takes_its_persist_with_it() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0));
    broker.hold(Operation::Publish);
    let short = Duration::from_secs(1);
    let topology = counting(Counter { persists: true, ..Counter::default() }).with_limits(Limits {
        shutdown_timeout: short,
        close_timeout: 2 * short,
        ..limits()
    });
    let (worker, _) = pair(&broker, "first");
    let release = async {
        sleep(Duration::from_millis(3_500)).await;
        broker.release(Operation::Publish);
    };
    let run = topology.run_worker(&worker, sleep(2 * short));
    let (drained, ()) = join(run, release).await;
    assert_eq!(drained.unwrap().unfinished, 1);
    drop(worker);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_broken_for_good_ends_the_run() {
    let broker = broker(1);
    broker.fail(Operation::Restore, 1, Fault::Broken);
    let (worker, _) = pair(&broker, "first");
    let never = std::future::pending();
    let error = counting(Counter::default()).run_worker(&worker, never).await.unwrap_err();
    assert!(matches!(error, RunError::Store(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn without_a_store_the_state_lives_as_long_as_the_assignment() {
    let broker = support::broker(1);
    let topology = counting(Counter { persists: true, ..Counter::default() });
    for _ in 0..2 {
        produce(&broker, Some("a"), &Task::new(0));
        produce(&broker, Some("a"), &Task::new(1));
        let source = broker.consumer(GROUP, [JOBS]).build();
        let sink = broker.producer();
        topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
    }
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["1", "2", "1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_range_shows_the_part_under_what_the_attempt_has_changed() {
    let broker = broker(1);
    let topology = doing(|id, state| {
        let range = |from: Bound<&[u8]>, limit| {
            let entries = state.range((from, Bound::Unbounded), limit);
            entries.iter().map(|e| (e.key[0], e.value[0])).collect::<Vec<_>>()
        };
        if id == 0 {
            (1_u8..6).for_each(|key| state.put(&[key], &[key]));
        } else {
            assert_eq!((state.len(), state.partition(), state.frontier()), (5, 0, 1));
            state.remove(&[2]);
            state.put(&[3], &[30]);
            state.put(&[9], &[9]);
            assert_eq!(range(Bound::Unbounded, 3), [(1, 1), (3, 30), (4, 4)]);
            assert_eq!(range(Bound::Excluded(&[4]), 9), [(5, 5), (9, 9)]);
        }
        async { Ok(0) }.boxed()
    });
    for id in 0..2 {
        produce(&broker, Some("a"), &Task::new(id));
        run_to_the_end(&topology, &broker).await;
    }
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted).len(), 2);
}
