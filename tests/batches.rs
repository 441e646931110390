//! Jobs that are executed together: batches keep their limits, and each job is one by itself.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::{Ledger, LedgerLimits, Recorded};
use jobstream::sinks::{
    Ambiguous, BatchJob, BatchJobSink, BatchLimits, Batches, Effect, JobError, JobSink,
};
use jobstream::topology::{Executed, Retry, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use proptest::prelude::*;
use support::{
    CrashAt, DEAD_LETTERS, GROUP, JOBS, RESULTS, Task, broker, limits, produce, results,
    run_to_the_end, stateful, values,
};
use tokio::time::{Instant, sleep};

/// Executes batches as their tasks say, and notes them.
#[derive(Default)]
struct Post {
    batches: Mutex<Vec<(Instant, Vec<u64>)>>,
    under_way: Mutex<BTreeSet<bytes::Bytes>>,
    attempts: Mutex<BTreeMap<u64, u32>>,
    /// How many outcomes of a batch are left out.
    missing: usize,
}

#[async_trait]
impl BatchJobSink<Task, u64> for Post {
    async fn execute(&self, jobs: &[BatchJob<Task>]) -> Vec<Result<u64, JobError>> {
        let ids = jobs.iter().map(|job| job.input.id).collect();
        self.batches.lock().unwrap().push((Instant::now(), ids));
        for key in jobs.iter().filter_map(|job| job.record.key.clone()) {
            assert!(self.under_way.lock().unwrap().insert(key), "two jobs of one key at once");
        }
        let takes_ms = jobs.iter().map(|job| job.input.takes_ms).max();
        sleep(Duration::from_millis(takes_ms.unwrap_or_default())).await;
        for key in jobs.iter().filter_map(|job| job.record.key.as_ref()) {
            self.under_way.lock().unwrap().remove(key);
        }
        let outcome = |BatchJob { input: task, .. }: &BatchJob<Task>| {
            let mut attempts = self.attempts.lock().unwrap();
            let attempt = attempts.entry(task.id).or_default();
            *attempt += 1;
            if *attempt <= task.failures { Err(JobError::transient("busy")) } else { Ok(task.id) }
        };
        jobs.iter().map(outcome).skip(self.missing).collect()
    }
}

impl Post {
    fn sizes(&self) -> Vec<usize> {
        self.batches.lock().unwrap().iter().map(|(_, ids)| ids.len()).collect()
    }
}

fn topology(post: &Arc<Post>, batch_limits: BatchLimits) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(Arc::new(Batches::new(post.clone(), batch_limits)))
        .retry(Retry::new().attempts(Some(5)).first_delay(Duration::from_secs(1)))
        .encode(support::result)
        .with_limits(limits())
}

fn in_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

const WAIT: Duration = Duration::from_millis(20);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_job_of_a_batch_has_an_outcome_of_its_own_and_batches_keep_their_limits(
        tasks in prop::collection::vec((prop::option::of(0_u8..8), 0_u64..30, 0_u32..3), 1..80),
        most in 1_usize..12,
    ) {
        let (broker, post) = (broker(3), Arc::new(Post::default()));
        for (id, (key, takes_ms, failures)) in tasks.iter().enumerate() {
            let task = Task::new(id as u64).takes(Duration::from_millis(*takes_ms)).fails(*failures);
            produce(&broker, key.map(|key| key.to_string()).as_deref(), &task);
        }
        in_paused_time(run_to_the_end(&topology(&post, BatchLimits::new().jobs(most).wait(WAIT)), &broker));
        let results = results(&broker);
        prop_assert!(results.values().all(|times| *times == 1) && results.len() == tasks.len());
        prop_assert!(post.sizes().into_iter().all(|size| (1..=most).contains(&size)));
        let attempts = post.attempts.lock().unwrap();
        for (id, (_, _, failures)) in tasks.iter().enumerate() {
            prop_assert_eq!(attempts[&(id as u64)], failures + 1, "a job is retried by itself");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each group fills and waits by itself, and nothing of it is left behind.
    #[test]
    fn a_batch_has_jobs_of_one_group(
        tasks in prop::collection::vec((0_u64..5, 0_u64..30), 1..80),
        most in 1_usize..12,
    ) {
        let (broker, post) = (broker(1), Arc::new(Post::default()));
        for (id, (group, takes_ms)) in (0..).zip(&tasks) {
            let task = Task::new(id * 5 + group).takes(Duration::from_millis(*takes_ms));
            produce(&broker, None, &task);
        }
        let batch_limits = BatchLimits::new().jobs(most).wait(WAIT);
        let batches = Batches::new(post.clone(), batch_limits).grouped_by(|task: &Task| (task.id % 5).to_string());
        let topology = Topology::builder(DEAD_LETTERS)
            .decode(Json::<Task>::new())
            .execute(Arc::new(batches))
            .encode(support::result)
            .with_limits(limits().executing_records(100));
        in_paused_time(run_to_the_end(&topology, &broker));
        prop_assert_eq!(results(&broker).len(), tasks.len());
        let mut groups = [0; 5].map(|_: u64| 0);
        for (_, ids) in post.batches.lock().unwrap().iter() {
            prop_assert!(ids.len() <= most && ids.iter().all(|id| id % 5 == ids[0] % 5), "{ids:?}");
            groups[ids[0] as usize % 5] += 1;
        }
        for (group, batches) in (0..).zip(groups) {
            let jobs = tasks.iter().filter(|(of, _)| *of == group).count();
            prop_assert_eq!(batches, jobs.div_ceil(most), "group {}: {} jobs", group, jobs);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_begins_when_it_is_full_or_its_first_job_has_waited() {
    let (broker, post) = (broker(1), Arc::new(Post::default()));
    (0..25).for_each(|id| _ = produce(&broker, None, &Task::new(id)));
    let began = Instant::now();
    run_to_the_end(&topology(&post, BatchLimits::new().jobs(10).wait(WAIT)), &broker).await;
    assert_eq!(post.sizes(), [10, 10, 5]);
    let waited: Vec<_> = post.batches.lock().unwrap().iter().map(|(at, _)| *at - began).collect();
    assert_eq!(waited[0], waited[1]);
    assert!(waited[2] >= waited[0] + WAIT, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn where_an_outcome_is_missing_the_whole_batch_is_ambiguous() {
    let (broker, post) = (broker(1), Arc::new(Post { missing: 1, ..Post::default() }));
    (0..3).for_each(|id| _ = produce(&broker, None, &Task::new(id)));
    let batch_limits = BatchLimits::new().jobs(3);
    let topology = Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(Arc::new(Batches::new(post.clone(), batch_limits)))
        .retry(Retry::new().ambiguous(Ambiguous::Park))
        .encode(support::result);
    run_to_the_end(&topology, &broker).await;
    let results = values(&broker, RESULTS, Isolation::ReadCommitted);
    let text = "failed after 1: found 2 outcomes of a batch, expected 3";
    assert!(results.len() == 3 && results.iter().all(|it| it.ends_with(text)), "{results:?}");
}

fn record() -> ConsumerRecord {
    let partition = jobstream::record::TopicPartition::new(JOBS, 0);
    ConsumerRecord::new(partition, 0, 1)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_cut_off_before_its_batch_begins_is_in_none() {
    let post = Arc::new(Post::default());
    let batches = Batches::new(post.clone(), BatchLimits::new().jobs(3).wait(WAIT));
    let (record, effects) = (record(), [Effect::new(), Effect::new()]);
    let tasks = [Task::new(0), Task::new(1)];
    let mut first = batches.execute_with_effect(&tasks[0], &record, &effects[0]);
    let mut second = batches.execute_with_effect(&tasks[1], &record, &effects[1]);
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    assert!(!effects.iter().any(Effect::has_begun));
    drop(first);
    assert_eq!(second.await, Ok(1));
    assert!(!effects[0].has_begun() && effects[1].has_begun());
    assert_eq!(post.batches.lock().unwrap()[0].1, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_on_without_a_job_that_is_cut_off_and_ends_with_its_last_one() {
    let post = Arc::new(Post::default());
    let batches = Batches::new(post.clone(), BatchLimits::new().jobs(2).wait(WAIT));
    let (record, effect) = (record(), Effect::new());
    let tasks = [0, 1].map(|id| Task::new(id).takes(Duration::from_secs(1)));
    let begin = || async {
        let mut first = batches.execute_with_effect(&tasks[0], &record, &effect);
        let mut second = batches.execute_with_effect(&tasks[1], &record, &effect);
        while !effect.has_begun() {
            assert!(futures::poll!(&mut first).is_pending());
            assert!(futures::poll!(&mut second).is_pending());
        }
        (first, second)
    };
    let (first, second) = begin().await;
    drop(first);
    assert_eq!(second.await, Ok(1));
    effect.take_back();
    drop(begin().await);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(post.attempts.lock().unwrap()[&1], 1, "the second batch was dropped");
}

/// A topology that executes in batches within a ledger.
fn with_ledger(post: &Arc<Post>) -> Topology {
    let batches = Batches::new(post.clone(), BatchLimits::new().jobs(4).wait(WAIT));
    let key = |_: &ConsumerRecord, task: &Task| u128::from(task.id).to_be_bytes();
    let clock = Arc::new(|| SystemTime::UNIX_EPOCH);
    let limits_of_ledger = LedgerLimits::new().in_doubt_max(6);
    let ledger = Ledger::new(Arc::new(batches), key, clock, Ambiguous::Park, limits_of_ledger);
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(Arc::new(ledger))
        .ordered_by(|task: &Task| &task.id)
        .retry(Retry::new().first_delay(Duration::from_secs(1)).ambiguous(Ambiguous::Park))
        .encode(|record: &ConsumerRecord, executed: Executed<Task, Recorded<u64>>| {
            let Executed { input, outcome, attempts } = executed;
            let outcome = outcome.map(|_| input.id);
            support::result(record, Executed { input, outcome, attempts })
        })
        .with_limits(limits())
}

fn produce_some(broker: &Broker) {
    for id in 0..12 {
        produce(broker, Some(&id.to_string()), &Task::new(id).fails(u32::from(id % 5 == 0)));
    }
}

#[tokio::test(start_paused = true)]
async fn within_a_ledger_a_crash_at_any_point_executes_no_job_of_a_batch_twice() {
    let mut poll = 0;
    loop {
        let (broker, post) = (stateful::broker(2), Arc::new(Post::default()));
        produce_some(&broker);
        let (worker, member) = stateful::pair(&broker, "first");
        let topology = with_ledger(&post);
        let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
        let ended = CrashAt::new(poll, run).await.is_some();
        broker.expire(member);
        post.under_way.lock().unwrap().clear();
        stateful::run_to_the_end(&with_ledger(&post), &broker).await;
        assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted).len(), 12, "poll {poll}");
        for (id, attempts) in post.attempts.lock().unwrap().iter() {
            assert!(*attempts <= 1 + u32::from(id % 5 == 0), "poll {poll}: {id}: {attempts}");
        }
        if ended {
            assert!(post.sizes().into_iter().any(|size| size > 1), "{:?}", post.sizes());
            break;
        }
        poll += 1;
    }
    assert!(poll > 20, "{poll} polls");
}
