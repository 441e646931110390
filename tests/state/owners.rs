//! Each owner of a partition goes on with the state that the last owner has left.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join;
use jobstream::topology::{RunError, Worker};
use jobstream_testkit::broker::Isolation;
use tokio::time::sleep;

use crate::counting::{Counter, KEYS, counting, counts, produce_some, stored};
use crate::support::stateful::{STATE, broker, moved, pair, run_to_the_end, suspended};
use crate::support::{self, CrashAt, GROUP, JOBS, RESULTS, Task, produce, values};

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
    let broker = broker(4);
    moved(&counting(Counter::default()), &broker, 40, |turn| {
        for key in KEYS {
            produce(&broker, Some(key), &Task::new(turn).takes(Duration::from_millis(20)));
        }
    })
    .await;
    assert!(counts(&broker).await.values().eq(&[40, 40, 40]), "{:?}", counts(&broker).await);
}

#[tokio::test(start_paused = true)]
async fn a_zombies_changes_are_fenced() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0).takes(Duration::from_secs(100)));
    let topology = counting(Counter { persists: true, ..Counter::default() });
    let (zombie, member) = pair(&broker, "zombie");
    let (after, during) = (Duration::from_secs(1), Duration::from_secs(200));
    let sleeps = suspended(&broker, member, after, during);
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

#[tokio::test(start_paused = true)]
async fn in_memory_the_state_lives_as_long_as_the_assignment() {
    let broker = support::broker(1);
    let topology = counting(Counter { persists: true, ..Counter::default() });
    let topology = topology.with_state_in_memory();
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
async fn between_ends_that_do_not_keep_its_state_a_topology_does_not_begin() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0));
    let store = || Some(Box::new(broker.store(STATE)) as _);
    let paired = |store| {
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "pair");
        Worker { source: Box::new(source), sink: Box::new(sink), store }
    };
    let unfenced = |store| {
        let source = broker.consumer(GROUP, [JOBS]).build();
        Worker { source: Box::new(source), sink: Box::new(broker.producer()), store }
    };
    let topology = counting(Counter::default());
    for (topology, worker, found) in [
        (topology.clone(), paired(None), "found no store"),
        (topology.clone(), unfenced(store()), "so fences nobody"),
        (topology.clone().with_unfenced_state(), unfenced(None), "found no store"),
        (topology.with_state_in_memory(), paired(store()), "found a store"),
    ] {
        let error = topology.run_worker(&worker, pending()).await.unwrap_err();
        assert!(matches!(error, RunError::State { .. }), "{error}");
        assert!(error.to_string().contains(found), "{error}");
    }
    assert!(values(&broker, RESULTS, Isolation::ReadUncommitted).is_empty());
}
