//! A crash at any point of the run loop: nothing is lost, and no commit passes what is unfinished.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::topology::Event;
use jobstream_testkit::broker::{Broker, Consumer, Isolation};
use jobstream_testkit::simulation::{Delivery, History, Member, Search, What};
use proptest::prelude::*;
use support::{
    CommitWatch, CrashAt, DEAD_LETTERS, Diary, GROUP, JOBS, RESULTS, Task, limits, produce, record,
    results, run_to_the_end, topology, values, yielding_broker,
};

const TASKS: u64 = 12;

/// Tasks on few keys and partitions, some slow, some that fail at first.
fn tasks() -> Vec<ProducerRecord> {
    let task = |id: u64| {
        let key = ["a", "b", "c"].get(id as usize % 4).copied();
        let takes = Duration::from_millis(id % 3 * 400);
        record(key, &Task::new(id).takes(takes).fails(u32::from(id == 4)))
    };
    (0..TASKS).map(task).collect()
}

/// The number of a task is its identity, and the value of its result.
fn number(record: &ConsumerRecord) -> Option<Bytes> {
    let value = record.value.clone()?;
    let task = serde_json::from_slice::<Task>(&value);
    Some(task.map_or(value, |task| task.id.to_string().into()))
}

/// Crashes the only member at each of its polls, one crash in each run.
fn crash_everywhere(delivery: Delivery) {
    let search = Search::new(|member: &Member| topology(member.watched(Diary::default())))
        .workload(JOBS, 2, |_| tasks())
        .outputs(RESULTS, 3)
        .outputs(DEAD_LETTERS, 1)
        .identified_by(number)
        .members(1)
        .delivery(delivery)
        .limits(limits())
        .invariant("without a crash, each task has one result", is_done_once)
        .invariant("no task is a dead letter", has_no_dead_letter);
    let report = search.every_crash().unwrap_or_else(|broken| panic!("{broken}"));
    for effect in ["publish", if delivery == Delivery::ExactlyOnce { "end" } else { "commit" }] {
        assert!(report.least_crashes(effect) > 0, "no crash before or after {effect}:\n{report}");
    }
}

fn is_done_once(history: &History, (): &()) -> Result<(), String> {
    let crashed = history.entries.iter().any(|entry| entry.what == What::Crashed);
    let results = history.outputs[RESULTS].len() as u64;
    if crashed || results == TASKS { Ok(()) } else { Err(format!("found {results} results")) }
}

fn has_no_dead_letter(history: &History, (): &()) -> Result<(), String> {
    match history.outputs[DEAD_LETTERS].len() {
        0 => Ok(()),
        letters => Err(format!("found {letters} dead letters")),
    }
}

#[test]
fn every_record_has_its_result_after_a_crash_at_any_point() {
    crash_everywhere(Delivery::AtLeastOnce);
}

#[test]
fn in_exactly_once_mode_a_crash_at_any_point_leaves_one_result_a_record() {
    crash_everywhere(Delivery::ExactlyOnce);
}

/// Runs a member until it crashes at the given poll, or has caught up.
async fn run_until_crash(broker: &Broker, diary: &Arc<Diary>, poll: usize) {
    let watch = Arc::new(CommitWatch::default());
    let observer = Arc::new(move |event: &Event<'_>| watch.on(event));
    let topology = topology(diary.clone()).with_limits(limits()).with_observer(observer);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let sink = broker.producer();
    let run = topology.run(&source, &sink, broker.caught_up(GROUP, JOBS));
    CrashAt::new(poll, run).await;
    broker.expire(source.member());
}

async fn crash_often(polls: &[usize], tasks: &[(u8, u8)]) -> (Broker, Arc<Diary>) {
    let (broker, diary) = (yielding_broker(3), Diary::new());
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
    fn every_record_has_its_result_whichever_members_crash(
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
        prop_assert!(values(&broker, DEAD_LETTERS, Isolation::ReadCommitted).is_empty());
    }
}
