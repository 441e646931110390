//! A crash at any point of the run loop: nothing is lost, and no commit passes what is unfinished.

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use jobstream::topology::Event;
use jobstream_testkit::broker::{Broker, Consumer, Isolation};
use proptest::prelude::*;
use support::{
    CommitWatch, CrashAt, Diary, GROUP, JOBS, Task, Yielding, broker, limits, produce, results,
    run_to_the_end, topology, values,
};

const TASKS: u64 = 12;

/// Tasks on few keys and partitions, some slow, some that fail at first.
fn produce_some(broker: &Broker) {
    for id in 0..TASKS {
        let key = ["a", "b", "c"].get(id as usize % 4).copied();
        let task =
            Task::new(id).takes(Duration::from_millis(id % 3 * 400)).fails(u32::from(id == 4));
        produce(broker, key, &task);
    }
}

/// Runs until the crash at the given poll; says whether the run ended before.
async fn run_until_crash(broker: &Broker, diary: &Arc<Diary>, poll: usize) -> bool {
    let watch = Arc::new(CommitWatch::default());
    let observer = Arc::new(move |event: &Event<'_>| watch.on(event));
    let topology = topology(diary.clone()).with_limits(limits()).with_observer(observer);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let member = source.member();
    let (source, sink) = (Yielding(source), Yielding(broker.producer()));
    let run = topology.run(&source, &sink, broker.caught_up(GROUP, JOBS));
    let ended = CrashAt::new(poll, run).await;
    broker.expire(member);
    ended.is_some()
}

#[tokio::test(start_paused = true)]
async fn every_record_has_its_result_after_a_crash_at_any_point() {
    let mut poll = 0;
    loop {
        let broker = broker(2);
        produce_some(&broker);
        let diary = Diary::new();
        let ended = run_until_crash(&broker, &diary, poll).await;
        run_to_the_end(&topology(diary.clone()).with_limits(limits()), &broker).await;
        let results = results(&broker);
        assert_eq!(results.len() as u64, TASKS, "crash at poll {poll}: {results:?}");
        if ended {
            assert!(results.values().all(|count| *count == 1), "{results:?}");
            assert_eq!(diary.ended().len() as u64, TASKS);
            break;
        }
        poll += 1;
    }
    assert!(poll > 20, "found {poll} polls, expected one at every effect at least");
}

#[tokio::test(start_paused = true)]
async fn in_exactly_once_mode_a_crash_at_any_point_leaves_one_result_a_record() {
    let mut poll = 0;
    loop {
        let broker = broker(2);
        produce_some(&broker);
        let topology = topology(Diary::new()).with_limits(limits());
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "first");
        let member = source.member();
        let (source, sink) = (Yielding(source), Yielding(sink));
        let run = topology.run(&source, &sink, broker.caught_up(GROUP, JOBS));
        let ended = CrashAt::new(poll, run).await.is_some();
        broker.expire(member);
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "first");
        topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
        let results = results(&broker);
        assert_eq!(results.len() as u64, TASKS, "crash at poll {poll}: {results:?}");
        assert!(results.values().all(|count| *count == 1), "crash at poll {poll}: {results:?}");
        if ended {
            break;
        }
        poll += 1;
    }
    assert!(poll > 20, "found {poll} polls, expected one at every effect at least");
}

async fn crash_often(polls: &[usize], tasks: &[(u8, u8)]) -> (Broker, Arc<Diary>) {
    let (broker, diary) = (broker(3), Diary::new());
    for (id, (key, takes)) in tasks.iter().enumerate() {
        let task = Task::new(id as u64).takes(Duration::from_millis(u64::from(*takes)));
        produce(&broker, Some(&key.to_string()), &task);
    }
    for poll in polls {
        let neighbour = broker.consumer(GROUP, [JOBS]).build();
        let one = run_until_crash(&broker, &diary, *poll);
        let other = run_as(&broker, &diary, &neighbour, poll / 2);
        join(one, other).await;
        broker.expire(neighbour.member());
    }
    run_to_the_end(&topology(diary.clone()).with_limits(limits()), &broker).await;
    (broker, diary)
}

async fn run_as(broker: &Broker, diary: &Arc<Diary>, source: &Consumer, poll: usize) {
    let topology = topology(diary.clone()).with_limits(limits());
    let sink = broker.producer();
    let run = topology.run(source, &sink, broker.caught_up(GROUP, JOBS));
    CrashAt::new(poll, run).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_crashes_and_whoever_takes_over_every_record_has_its_result(
        polls in prop::collection::vec(0_usize..120, 0..6),
        tasks in prop::collection::vec((0_u8..5, 0_u8..200), 1..30),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (broker, _) = runtime.block_on(crash_often(&polls, &tasks));
        prop_assert_eq!(results(&broker).len(), tasks.len());
        prop_assert!(values(&broker, support::DEAD_LETTERS, Isolation::ReadCommitted).is_empty());
    }
}
