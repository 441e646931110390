//! Order: jobs with one key are executed one at a time, in order; all others run beside them.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use jobstream::codec::Json;
use jobstream::position::Position;
use jobstream::record::TopicPartition;
use jobstream::topology::Topology;
use jobstream_testkit::broker::Operation;
use proptest::prelude::*;
use support::{
    Diary, DiaryEntry, GROUP, JOBS, Task, broker, frontiers, limits, produce, results,
    run_to_the_end, topology,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn concurrency_exceeds_the_number_of_partitions() {
    let (broker, diary) = (broker(1), Diary::new());
    for id in 0..100 {
        produce(&broker, Some(&id.to_string()), &Task::new(id).takes(Duration::from_secs(1)));
    }
    let started = Instant::now();
    run_to_the_end(&topology(diary.clone()), &broker).await;
    assert_eq!(diary.most_concurrent(), 100);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_waits_for_its_retry_holds_only_its_own_key() {
    let (broker, diary) = (broker(1), Diary::new());
    produce(&broker, Some("a"), &Task::new(0).fails(4));
    produce(&broker, Some("a"), &Task::new(1));
    produce(&broker, Some("b"), &Task::new(2));
    produce(&broker, None, &Task::new(3));
    run_to_the_end(&topology(diary.clone()), &broker).await;
    assert_eq!(diary.ended(), [2, 3, 0, 1]);
    assert_eq!(diary.began(), [0, 2, 3, 0, 0, 0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_next_job_of_a_key_begins_when_the_output_before_it_is_acknowledged() {
    let (broker, diary) = (broker(1), Diary::new());
    for id in 0..3 {
        produce(&broker, Some("a"), &Task::new(id));
    }
    broker.hold(Operation::Publish);
    let release = async {
        sleep(Duration::from_secs(60)).await;
        assert_eq!(diary.began(), [0]);
        broker.release(Operation::Publish);
    };
    let topology = topology(diary.clone());
    tokio::join!(run_to_the_end(&topology, &broker), release);
    assert_eq!(diary.ended(), [0, 1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_ones_own_orders_jobs_that_have_no_record_key() {
    let (broker, diary) = (broker(3), Diary::new());
    for id in 0..20 {
        produce(&broker, None, &Task::new(id % 2).takes(Duration::from_millis(10)));
    }
    let topology = Topology::builder(support::DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(diary.clone())
        .ordered_by(|task: &Task| &task.id)
        .encode(support::result);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(diary.most_concurrent(), 2);
    assert_eq!(diary.ended().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn one_slow_job_delays_nobody_until_its_partitions_window_is_full() {
    let (broker, diary) = (broker(2), Diary::new());
    let window = u64::try_from(Position::WINDOW_OFFSETS).unwrap();
    let slow = Task::new(0).takes(Duration::from_secs(100_000));
    let stuck = produce(&broker, Some("a"), &slow);
    let other = 1 - stuck.0;
    let mut id = 1;
    for partition in [stuck.0, other] {
        for _ in 0..window + 100 {
            let value = serde_json::to_vec(&Task::new(id)).unwrap();
            let mut record = jobstream::record::ProducerRecord::to(JOBS).value(value);
            record.partition = Some(partition);
            broker.produce(record).unwrap();
            id += 1;
        }
    }
    let stop = Notify::new();
    let topology = topology(diary.clone())
        .with_limits(limits().in_flight_records(1_000).shutdown_timeout(Duration::from_secs(1)));
    let look = async {
        sleep(Duration::from_secs(1_000)).await;
        let ended = u64::try_from(diary.ended().len()).unwrap();
        assert_eq!(ended, (window - 1) + (window + 100));
        let committed = frontiers(&broker);
        assert_eq!(committed.get(&stuck.0), Some(&stuck.1));
        assert_eq!(committed.get(&other), Some(&i64::try_from(window + 100).unwrap()));
        stop.notify_one();
    };
    let source = broker.consumer(GROUP, [JOBS]).build();
    let producer = broker.producer();
    let run = topology.run(&source, &producer, stop.notified());
    let (drained, ()) = tokio::join!(run, look);
    assert_eq!(drained.unwrap().unfinished, 1);
    let done = diary.ended().len();
    run_to_the_end(&support::topology(Diary::new()), &broker).await;
    let results = results(&broker);
    assert_eq!(results.len() as u64, id);
    assert!(results.values().all(|count| *count == 1), "what was finished above is repeated");
    assert!(done < id as usize);
}

/// Per key and partition, the order in which first executions began is the order of offsets.
fn check_order(entries: &[DiaryEntry]) {
    let mut last: BTreeMap<(Bytes, i32), i64> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries {
        let DiaryEntry::Began { key: Some(key), partition, offset, .. } = entry else { continue };
        if seen.insert((*partition, *offset)) {
            let last = last.entry((key.clone(), *partition)).or_insert(-1);
            assert!(offset > last, "{key:?}: {offset} was first executed after {last}");
            *last = *offset;
        }
    }
}

async fn run_with_rebalances(tasks: &[(u8, u8, u8)], moves: &[(u8, u8, u16)]) -> Vec<DiaryEntry> {
    let (broker, diary) = (broker(4), Diary::new());
    for (id, (key, takes, failures)) in tasks.iter().enumerate() {
        let takes = Duration::from_millis(u64::from(*takes) * 10);
        let task = Task::new(id as u64).takes(takes).fails(u32::from(*failures));
        produce(&broker, Some(&key.to_string()), &task);
    }
    let limits = limits().drain_timeout(Duration::from_secs(1_000));
    let topology = topology(diary.clone()).with_limits(limits);
    let sources: Vec<_> = (0..3).map(|_| broker.consumer(GROUP, [JOBS]).build()).collect();
    let producer = broker.producer();
    let runs =
        sources.iter().map(|source| topology.run(source, &producer, broker.caught_up(GROUP, JOBS)));
    let rebalances = async {
        for (partition, to, after) in moves {
            sleep(Duration::from_millis(u64::from(*after))).await;
            let partition = TopicPartition::new(JOBS, i32::from(*partition));
            broker.reassign(GROUP, &partition, sources[usize::from(*to)].member());
        }
    };
    let (ends, ()) = tokio::join!(join_all(runs), rebalances);
    for end in ends {
        assert_eq!(end.unwrap().unfinished, 0);
    }
    let results = results(&broker);
    assert_eq!(results.len(), tasks.len());
    assert!(results.values().all(|count| *count == 1), "a hand-over repeats nothing: {results:?}");
    assert_eq!(diary.ended().len(), tasks.len());
    diary.entries()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_per_key_holds_under_retries_and_rebalances_and_a_hand_over_repeats_nothing(
        tasks in prop::collection::vec((0_u8..6, 0_u8..40, 0_u8..3), 1..60),
        moves in prop::collection::vec((0_u8..4, 0_u8..3, 0_u16..400), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        check_order(&runtime.block_on(run_with_rebalances(&tasks, &moves)));
    }
}

#[test]
fn the_order_check_itself_notices_a_swap() {
    let began = |offset| DiaryEntry::Began { id: 0, key: Some(Bytes::new()), partition: 0, offset };
    check_order(&[began(1), began(2), began(1)]);
    let swapped = std::panic::catch_unwind(|| check_order(&[began(2), began(1)]));
    assert!(swapped.is_err());
}
