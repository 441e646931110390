//! A part is there before the first record that it belongs to, and no longer than the last.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use futures::future::join;
use jobstream::record::{ProducerRecord, Topic, TopicPartition};
use jobstream::state::{Entry, Store, StoreError};
use jobstream::topology::{Event, RunError, Worker};
use jobstream_testkit::broker::{Broker, BrokerStore, Fault, Isolation, MemberId, Operation};
use tokio::time::sleep;

use crate::counting::{Counter, KEYS, counting, counts, produce_some};
use crate::support::stateful::{STATE, broker, pair, run_to_the_end};
use crate::support::{self, GROUP, JOBS, Notes, RESULTS, Task, produce, values};

/// What publishes that so many jobs of the key `a` are counted.
fn count_of_a(count: u64) -> ProducerRecord {
    let change = ProducerRecord::to(STATE).key("a").value(count.to_be_bytes().to_vec());
    ProducerRecord { partition: Some(0), ..change }
}

#[tokio::test(start_paused = true)]
async fn a_part_is_restored_before_its_first_job() {
    let broker = broker(1);
    for count in [3, 7] {
        broker.produce(count_of_a(count)).unwrap();
    }
    produce(&broker, Some("a"), &Task::new(0));
    broker.hold(Operation::Restore);
    let notes = Arc::new(Notes::default());
    let observer = notes.clone();
    let observer = Arc::new(move |event: &Event<'_>| match event {
        Event::Restored { partition, entries, took } => {
            observer.note(format!("restored {partition}: {entries} in {took:?}"));
        }
        Event::Fetched(_) => observer.note("fetched".to_owned()),
        _ => {}
    });
    let topology = counting(Counter::default()).with_observer(observer);
    let (worker, _) = pair(&broker, "first");
    let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
    let release = async {
        sleep(Duration::from_secs(3)).await;
        assert!(notes.all().is_empty(), "{:?}", notes.all());
        broker.release(Operation::Restore);
    };
    join(run.map(Result::unwrap), release).await;
    assert_eq!(notes.all(), ["restored 0: 1 in 3s", "fetched"]);
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["8"]);
}

#[tokio::test(start_paused = true)]
async fn a_restore_waits_until_an_open_transaction_times_out() {
    let broker = broker(1);
    let open = broker.transactional_producer("crashed");
    open.begin().await.unwrap();
    open.send(&[count_of_a(7)]).await.unwrap();
    produce(&broker, Some("a"), &Task::new(0));
    let began = tokio::time::Instant::now();
    run_to_the_end(&counting(Counter::default()), &broker).await;
    assert!(began.elapsed() >= Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["1"]);
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
async fn a_store_that_is_broken_for_good_ends_the_run() {
    let broker = broker(1);
    broker.fail(Operation::Restore, 1, Fault::Broken);
    let (worker, _) = pair(&broker, "first");
    let never = std::future::pending();
    let error = counting(Counter::default()).run_worker(&worker, never).await.unwrap_err();
    assert!(matches!(error, RunError::Store(_)), "{error}");
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
    // Without yields, the first member has both partitions before the second one joins.
    let broker = support::broker(1);
    broker.create_topic(STATE, 1);
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

/// A store that takes its time after it has read.
struct Slow(BrokerStore);

#[async_trait]
impl Store for Slow {
    fn topic(&self) -> &Topic {
        self.0.topic()
    }

    async fn restore(&self, partition: i32) -> Result<Vec<Entry>, StoreError> {
        let entries = self.0.restore(partition).await;
        sleep(Duration::from_secs(3)).await;
        entries
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_begins_anew_when_another_partition_that_shares_the_part_comes() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0));
    let (worker, _) = pair_of_two_topics(&broker, "first");
    let worker = Worker { store: Some(Box::new(Slow(broker.store(STATE)))), ..worker };
    let topology = counting(Counter::default());
    let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
    let other_owner = async {
        sleep(Duration::from_secs(1)).await;
        broker.produce(count_of_a(7)).unwrap();
        sleep(Duration::from_secs(1)).await;
        broker.create_topic(MORE_JOBS, 1);
    };
    join(run.map(Result::unwrap), other_owner).await;
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), ["8"]);
}
