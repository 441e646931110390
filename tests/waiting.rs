//! Jobs that wait for another attempt: they keep their key and their place in flight, and nothing
//! else.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join;
use jobstream::codec::Json;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Event, Retry, Topology};
use jobstream_testkit::broker::Isolation;
use proptest::prelude::*;
use support::{
    DEAD_LETTERS, Diary, DiaryEntry, GROUP, JOBS, RESULTS, Task, broker, frontiers, limits,
    produce, results, run_to_the_end, topology, values,
};
use tokio::time::{Instant, sleep, timeout};

fn produce_all(
    broker: &jobstream_testkit::broker::Broker,
    key: Option<&str>,
    tasks: impl Iterator<Item = Task>,
) {
    for task in tasks {
        produce(broker, key, &task);
    }
}

fn with_retry(sink: Arc<dyn JobSink<Task, u64>>, retry: Retry) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(sink)
        .retry(retry)
        .encode(support::result)
}

#[tokio::test(start_paused = true)]
async fn as_many_may_wait_as_may_be_in_flight_and_the_others_go_on() {
    let (broker, diary) = (broker(3), Diary::new());
    let (waiting, others) = (0..50, 50..300);
    produce_all(&broker, None, waiting.clone().map(|id| Task::new(id).fails(1)));
    let quick = |id| Task::new(id).takes(Duration::from_millis(1));
    produce_all(&broker, None, others.clone().map(quick));
    let limits = limits().executing_records(5).in_flight_records(60);
    // The others take 50 ms, a wait 500 at least.
    run_to_the_end(&topology(diary.clone()).with_limits(limits), &broker).await;
    let ended = diary.ended();
    assert_eq!(ended.len(), 300);
    let (first, last) = ended.split_at(250);
    assert!(first.iter().all(|id| others.contains(id)), "{first:?}");
    assert!(last.iter().all(|id| waiting.contains(id)), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn who_is_in_line_behind_one_that_waits_takes_no_place_either() {
    let (broker, diary) = (broker(1), Diary::new());
    produce(&broker, Some("a"), &Task::new(0).fails(1));
    produce_all(&broker, Some("a"), (1..20).map(Task::new));
    let quick = |id| Task::new(id).takes(Duration::from_millis(1));
    produce_all(&broker, None, (20..120).map(quick));
    produce_all(&broker, Some("a"), (120..140).map(Task::new));
    let limits = limits().executing_records(5);
    run_to_the_end(&topology(diary.clone()).with_limits(limits), &broker).await;
    let behind = (0..20).chain(120..140);
    assert_eq!(diary.ended(), (20..120).chain(behind).collect::<Vec<_>>());
}

struct Greylisted(AtomicU32);

#[async_trait]
impl JobSink<Task, u64> for Greylisted {
    async fn execute(&self, _: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(JobError::transient("come back later"))
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_may_be_in_flight() {
    let broker = broker(3);
    produce_all(&broker, None, (0..200).map(Task::new));
    let fetched = Arc::new(AtomicUsize::new(0));
    let seen = fetched.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if matches!(event, Event::Fetched(_)) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let limits = limits().executing_records(5).in_flight_records(60);
    let topology = with_retry(Arc::new(Greylisted(AtomicU32::new(0))), Retry::default());
    let topology = topology.with_limits(limits).with_observer(observer);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let producer = broker.producer();
    let run = topology.run(&source, &producer, std::future::pending());
    assert!(timeout(Duration::from_secs(3_000), run).await.is_err(), "expected no end");
    assert_eq!(fetched.load(Ordering::Relaxed), 60);
}

/// Refuses for now until half an hour after the first attempt.
struct HalfAnHour {
    since: std::sync::OnceLock<Instant>,
    attempts: AtomicU32,
}

#[async_trait]
impl JobSink<Task, u64> for HalfAnHour {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        let since = self.since.get_or_init(Instant::now);
        if since.elapsed() < Duration::from_secs(1_800) {
            return Err(JobError::transient("greylisted"));
        }
        Ok(task.id)
    }
}

#[tokio::test(start_paused = true)]
async fn the_defaults_survive_greylisting_of_half_an_hour() {
    let broker = broker(1);
    produce(&broker, None, &Task::new(1));
    let sink = HalfAnHour { since: std::sync::OnceLock::new(), attempts: AtomicU32::new(0) };
    let sink = Arc::new(sink);
    run_to_the_end(&with_retry(sink.clone(), Retry::default()), &broker).await;
    assert_eq!(results(&broker), BTreeMap::from([(1, 1)]));
    let attempts = sink.attempts.load(Ordering::Relaxed);
    assert!(attempts <= 24, "found {attempts} attempts");
}

#[tokio::test(start_paused = true)]
async fn without_a_number_of_attempts_the_deadline_alone_ends_a_job() {
    let broker = broker(1);
    produce(&broker, None, &Task::new(1));
    let sink = Arc::new(Greylisted(AtomicU32::new(0)));
    let (began, retry) = (Instant::now(), Retry::default());
    run_to_the_end(&with_retry(sink.clone(), retry), &broker).await;
    let found = values(&broker, RESULTS, Isolation::ReadCommitted);
    let attempts = sink.0.load(Ordering::Relaxed);
    assert_eq!(found, [format!("1 failed after {attempts}: come back later")]);
    let least = retry.deadline - retry.max_delay;
    assert!(began.elapsed() <= retry.deadline + Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(began.elapsed() >= least, "{:?}", began.elapsed());
}

/// The most attempts at once, and the order of the first ones of each key.
async fn played(tasks: &[(u8, u8, u8)], executing: usize) -> (usize, BTreeMap<String, Vec<u64>>) {
    let (broker, diary) = (broker(3), Diary::new());
    for (id, (key, takes, failures)) in tasks.iter().enumerate() {
        let task = Task::new(id as u64).takes(Duration::from_millis(u64::from(*takes)));
        produce(&broker, Some(&key.to_string()), &task.fails(u32::from(*failures)));
    }
    let limits = limits().executing_records(executing);
    run_to_the_end(&topology(diary.clone()).with_limits(limits), &broker).await;
    assert!(results(&broker).values().all(|times| *times == 1));
    let mut order: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for entry in diary.entries() {
        let DiaryEntry::Began { id, key: Some(key), .. } = entry else { continue };
        let ids = order.entry(String::from_utf8_lossy(&key).into_owned()).or_default();
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }
    (diary.most_concurrent(), order)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Also of those that come back at once there are never more than the limit, and a key's next
    /// job never begins between two attempts of the one before.
    #[test]
    fn what_comes_back_from_its_wait_keeps_the_limit_and_the_order(
        tasks in prop::collection::vec((0_u8..12, 0_u8..50, 0_u8..4), 1..60),
        executing in 1_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let (most, order) = runtime.block_on(played(&tasks, executing));
        prop_assert!(most <= executing, "{most} at once");
        for (key, ids) in order {
            prop_assert!(ids.is_sorted_by(|one, other| one < other), "key {key}: {ids:?}");
        }
    }
}

/// One partition with a job that waits for minutes, one with its key behind it, and one that is
/// under way.
fn with_a_long_wait() -> (jobstream_testkit::broker::Broker, Topology, Arc<Diary>) {
    let (broker, diary) = (broker(1), Diary::new());
    produce(&broker, Some("a"), &Task::new(0).fails(1));
    produce(&broker, Some("a"), &Task::new(1));
    produce(&broker, Some("b"), &Task::new(2).takes(Duration::from_secs(5)));
    let wait = Duration::from_secs(300);
    let retry = Retry::new().first_delay(wait).max_delay(wait);
    let topology = with_retry(diary.clone(), retry).with_limits(limits());
    (broker, topology, diary)
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_no_attempt_that_would_begin_after_its_deadline() {
    let (broker, topology, diary) = with_a_long_wait();
    let source = broker.consumer(GROUP, [JOBS]).build();
    let producer = broker.producer();
    let began = Instant::now();
    let drained = topology.run(&source, &producer, sleep(Duration::from_secs(1))).await.unwrap();
    assert_eq!(drained.unfinished, 2);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert_eq!((diary.began(), diary.ended()), (vec![0, 2], vec![2]));
    assert_eq!(frontiers(&broker)[&0], 0);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(diary.began(), [0, 2, 0, 1], "in the order of the key, and nothing again");
    assert!(results(&broker).values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_waits_for_no_attempt_that_would_begin_after_its_deadline() {
    let (broker, topology, diary) = with_a_long_wait();
    let partition = broker.partitions(JOBS)[0].clone();
    let (first, producer) = (broker.consumer(GROUP, [JOBS]).build(), broker.producer());
    let end = || broker.caught_up(GROUP, JOBS);
    let second = async {
        sleep(Duration::from_secs(1)).await;
        let second = broker.consumer(GROUP, [JOBS]).build();
        let member = second.member();
        let hand_over = async {
            sleep(Duration::from_secs(1)).await;
            broker.reassign(GROUP, &partition, member);
        };
        join(topology.run(&second, &producer, end()), hand_over).await.0
    };
    let began = Instant::now();
    let (one, other) = join(topology.run(&first, &producer, end()), second).await;
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert_eq!((one.unwrap().unfinished, other.unwrap().unfinished), (2, 0));
    assert_eq!(diary.ended().iter().filter(|id| **id == 2).count(), 1);
    assert!(results(&broker).values().all(|times| *times == 1));
}
