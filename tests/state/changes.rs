//! What jobs change: with their outputs, or before.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::join;
use jobstream::state::{PersistError, Store as _};
use jobstream::topology::Worker;
use jobstream_testkit::broker::{Fault, Isolation, Operation, TopicOptions};
use tokio::time::sleep;

use crate::counting::{Counter, counting, counts, doing, produce_some, stored};
use crate::support::stateful::{STATE, broker, pair, run_to_the_end};
use crate::support::{self, DEAD_LETTERS, GROUP, JOBS, RESULTS, Task, limits, produce, values};

#[tokio::test(start_paused = true)]
async fn of_a_jobs_attempts_the_last_one_changes_the_state_also_if_it_fails() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0).fails(3));
    produce(&broker, Some("b"), &Task::new(1).fails(1_000));
    run_to_the_end(&counting(Counter::default()), &broker).await;
    let once = [("a".to_owned(), 1), ("b".to_owned(), 1)];
    assert_eq!(counts(&broker).await, BTreeMap::from(once));
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
async fn a_change_that_is_too_large_is_dropped_and_reported_to_its_job() {
    for exactly_once in [true, false] {
        let broker = support::broker(1);
        broker.create_topic(STATE, TopicOptions::partitions(1).max_message_bytes(1_000));
        produce(&broker, Some("a"), &Task::new(0));
        let reported = Arc::new(Mutex::new(None));
        let result = reported.clone();
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
        let topology = if exactly_once { topology } else { topology.with_unfenced_state() };
        topology.run_worker(&worker, broker.caught_up(GROUP, JOBS)).await.unwrap();
        let expected = PersistError::TooLarge { keys: vec![b"large"[..].into()] };
        assert_eq!(reported.lock().unwrap().take(), Some(expected));
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
async fn a_job_that_a_drain_cuts_off_takes_its_persist_with_it() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(0));
    produce(&broker, Some("b"), &Task::new(1).takes(Duration::from_millis(500)));
    broker.hold(Operation::Publish);
    let short = Duration::from_secs(1);
    let topology = counting(Counter { persists: true, ..Counter::default() })
        .with_limits(limits().shutdown_timeout(short).close_timeout(2 * short));
    let (worker, _) = pair(&broker, "first");
    let release = async {
        sleep(Duration::from_millis(3_500)).await;
        broker.release(Operation::Publish);
    };
    let run = topology.run_worker(&worker, sleep(2 * short));
    let (drained, ()) = join(run, release).await;
    assert_eq!(drained.unwrap().unfinished, 2);
    assert_eq!(stored(&broker), 1, "the one was being published, the other waited for its turn");
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
