//! A topic that has more partitions than the state has parts: those wait, and the others go on.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use jobstream::record::ProducerRecord;
use jobstream::topology::Event;
use jobstream_testkit::broker::{Broker, Isolation};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::counting::{Counter, counting};
use crate::support::stateful::{STATE, broker, pair};
use crate::support::{GROUP, JOBS, Notes, RESULTS, Task, values};

fn produce_to(broker: &Broker, partition: i32, key: &'static str, id: u64) {
    let value = serde_json::to_vec(&Task::new(id)).unwrap();
    let job = ProducerRecord::to(JOBS).key(key).value(value);
    broker.produce(ProducerRecord { partition: Some(partition), ..job }).unwrap();
}

fn results(broker: &Broker) -> usize {
    values(broker, RESULTS, Isolation::ReadCommitted).len()
}

/// What is reported about the parts.
fn notes() -> (Arc<Notes>, Arc<dyn jobstream::topology::Observer>) {
    let notes = Arc::new(Notes::default());
    let observer = notes.clone();
    let observer = Arc::new(move |event: &Event<'_>| match event {
        Event::PartMissing { partition, .. } => observer.note(format!("{partition} missing")),
        Event::Restored { partition, .. } => observer.note(format!("{partition} restored")),
        _ => {}
    });
    (notes, observer)
}

#[tokio::test(start_paused = true)]
async fn a_partition_whose_part_is_missing_waits_until_it_is_there_and_the_others_go_on() {
    let broker = broker(2);
    let (notes, observer) = notes();
    let topology = counting(Counter::default()).with_observer(observer);
    let (worker, _) = pair(&broker, "first");
    let grown = Notify::new();
    let run = topology.run_worker(&worker, async {
        grown.notified().await;
        broker.caught_up(GROUP, JOBS).await;
    });
    (0..2).for_each(|partition| produce_to(&broker, partition, "a", 0));
    let growth = async {
        sleep(Duration::from_secs(1)).await;
        broker.grow_topic(JOBS, 4);
        (0..4).for_each(|partition| produce_to(&broker, partition, "b", 1));
        sleep(Duration::from_secs(600)).await;
        assert_eq!(results(&broker), 4, "of the partitions with a part");
        for number in [2, 3] {
            assert!(notes.all().contains(&format!("{number} missing")), "{:?}", notes.all());
        }
        produce_to(&broker, 1, "c", 2);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(results(&broker), 5);
        broker.grow_topic(STATE, 4);
        grown.notify_one();
    };
    let (drained, ()) = join(run, growth).await;
    assert_eq!(drained.unwrap().unfinished, 0);
    assert_eq!(results(&broker), 7);
    for number in 0..4 {
        assert!(notes.all().contains(&format!("{number} restored")), "{:?}", notes.all());
    }
}

#[tokio::test(start_paused = true)]
async fn more_missing_parts_than_are_restored_at_once_keep_no_other_one_waiting() {
    let broker = crate::support::broker(20);
    broker.create_topic(STATE, 1);
    let (notes, observer) = notes();
    let topology = counting(Counter::default()).with_observer(observer);
    let (worker, _) = pair(&broker, "first");
    (0..20).for_each(|partition| produce_to(&broker, partition, "a", 0));
    let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
    let growth = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(results(&broker), 1);
        for number in 1..20 {
            assert!(notes.all().contains(&format!("{number} missing")), "{number}");
        }
        broker.grow_topic(STATE, 20);
    };
    let both = join(run, growth);
    let (drained, ()) = timeout(Duration::from_secs(120), both).await.unwrap();
    assert_eq!(drained.unwrap().unfinished, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_part_that_is_missing() {
    let broker = broker(1);
    broker.grow_topic(JOBS, 2);
    (0..2).for_each(|partition| produce_to(&broker, partition, "a", 0));
    let (worker, _) = pair(&broker, "first");
    let topology = counting(Counter::default());
    let run = topology.run_worker(&worker, sleep(Duration::from_secs(30)));
    let drained = timeout(Duration::from_secs(32), run).await.unwrap().unwrap();
    assert_eq!((drained.unfinished, results(&broker)), (0, 1));
}
