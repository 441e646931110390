//! Attempts: how many, how far apart, and what does not count.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, JobErrorKind, JobSink};
use jobstream::topology::{Ambiguous, Event, Fate, Retry, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use mockall::mock;
use proptest::prelude::*;
use support::{RESULTS, Task, broker, produce, run_to_the_end, topology, values};
use tokio::time::Instant;

mock! {
    JobSink {}

    #[async_trait]
    impl JobSink<Task, u64> for JobSink {
        async fn execute(&self, input: &Task, record: &ConsumerRecord) -> Result<u64, JobError>;
        async fn ready(&self);
    }
}

const RETRY: Retry = Retry::new()
    .attempts(Some(5))
    .deadline(Duration::from_secs(3600))
    .first_delay(Duration::from_secs(1))
    .max_delay(Duration::from_secs(10))
    .ambiguous(Ambiguous::Resend);

fn with_retry(sink: Arc<dyn JobSink<Task, u64>>, retry: Retry) -> Topology {
    Topology::builder(support::DEAD_LETTERS)
        .decode(jobstream::codec::Json::<Task>::new())
        .execute(sink)
        .retry(retry)
        .encode(support::result)
}

fn mock_ready() -> MockJobSink {
    let mut sink = MockJobSink::new();
    sink.expect_ready().returning(|| ());
    sink
}

async fn run_one(topology: &Topology) -> Vec<String> {
    let broker = broker(1);
    produce(&broker, None, &Task::new(1));
    run_to_the_end(topology, &broker).await;
    results(&broker)
}

fn results(broker: &Broker) -> Vec<String> {
    values(broker, RESULTS, Isolation::ReadCommitted)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_succeeds_is_executed_once() {
    let mut sink = mock_ready();
    sink.expect_execute().times(1).returning(|task, _| Ok(task.id));
    assert_eq!(run_one(&topology(Arc::new(sink))).await, ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_ends_the_job_at_its_first_attempt() {
    let mut sink = mock_ready();
    sink.expect_execute().times(1).returning(|_, _| Err(JobError::permanent("no such user")));
    assert_eq!(run_one(&topology(Arc::new(sink))).await, ["1 failed after 1: no such user"]);
}

#[tokio::test(start_paused = true)]
async fn a_transient_error_is_tried_again_until_the_attempts_are_used_up() {
    let mut sink = mock_ready();
    sink.expect_execute().times(5).returning(|_, _| Err(JobError::transient("busy")));
    assert_eq!(run_one(&with_retry(Arc::new(sink), RETRY)).await, ["1 failed after 5: busy"]);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_deadline() {
    let mut sink = mock_ready();
    sink.expect_execute().times(3).returning(|_, _| Err(JobError::transient("busy")));
    // Waits of 0.5 to 1 s and 1 to 2 s fit into 3.5 s, a third one of 2 to 4 s does not: the first
    // two take 1.5 s at least.
    let retry = RETRY.deadline(Duration::from_millis(3_499));
    assert_eq!(run_one(&with_retry(Arc::new(sink), retry)).await, ["1 failed after 3: busy"]);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_outcome_is_resent_or_parked_by_policy() {
    let mut resend = mock_ready();
    let mut outcomes = vec![Ok(1), Err(JobError::ambiguous("lost after the dot"))];
    resend.expect_execute().times(2).returning(move |_, _| outcomes.pop().unwrap());
    assert_eq!(run_one(&with_retry(Arc::new(resend), RETRY)).await, ["1"]);

    let mut park = mock_ready();
    park.expect_execute().times(1).returning(|_, _| Err(JobError::ambiguous("lost")));
    let retry = RETRY.ambiguous(Ambiguous::Park);
    let fates = Arc::new(Mutex::new(Vec::new()));
    let seen = fates.clone();
    let topology =
        with_retry(Arc::new(park), retry).with_observer(Arc::new(move |e: &Event<'_>| {
            if let Event::Finished { fate, .. } = e {
                seen.lock().unwrap().push(*fate);
            }
        }));
    assert_eq!(run_one(&topology).await, ["1 failed after 1: lost"]);
    assert_eq!(*fates.lock().unwrap(), [Fate::Failed(JobErrorKind::Ambiguous)]);
}

/// A job sink that ends its executions in this order.
fn in_order(outcomes: Vec<Result<u64, JobError>>) -> MockJobSink {
    let mut sink = mock_ready();
    let times = outcomes.len();
    let outcomes = Mutex::new(outcomes.into_iter());
    let next = move |_: &Task, _: &ConsumerRecord| outcomes.lock().unwrap().next().unwrap();
    sink.expect_execute().times(times).returning(next);
    sink
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_sink_costs_no_attempt() {
    let mut outcomes = vec![Err(JobError::unavailable("away")); 4];
    outcomes.extend(vec![Err(JobError::transient("busy")); 5]);
    let sink = Arc::new(in_order(outcomes));
    assert_eq!(run_one(&with_retry(sink, RETRY)).await, ["1 failed after 5: busy"]);
}

#[tokio::test(start_paused = true)]
async fn time_in_which_the_sink_is_unavailable_does_not_count_towards_the_deadline() {
    let away = || Err(JobError::unavailable("away"));
    let busy = || Err(JobError::transient("busy"));
    // The four waits for the sink take 7.5 s at least.
    let outcomes = vec![busy(), away(), away(), away(), away(), busy(), Ok(1)];
    let retry = RETRY.deadline(Duration::from_millis(3_499));
    assert_eq!(run_one(&with_retry(Arc::new(in_order(outcomes)), retry)).await, ["1"]);
}

/// Away for an hour, then back.
struct Away {
    since: Instant,
    executions: Mutex<u32>,
}

#[async_trait]
impl JobSink<Task, u64> for Away {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        *self.executions.lock().unwrap() += 1;
        if self.since.elapsed() < Duration::from_secs(3600) {
            return Err(JobError::unavailable("the server is away"));
        }
        Ok(task.id)
    }

    async fn ready(&self) {
        if *self.executions.lock().unwrap() > 0 {
            tokio::time::sleep_until(self.since + Duration::from_secs(3600)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_job_sink_is_away_intake_pauses_and_no_job_fails_for_it() {
    let broker = broker(1);
    for id in 0..1_000 {
        produce(&broker, None, &Task::new(id));
    }
    let away = Away { since: Instant::now(), executions: Mutex::default() };
    let sink = Arc::new(away);
    let fetched = Arc::new(Mutex::new((0, 0)));
    let seen = fetched.clone();
    let back = sink.since + Duration::from_secs(3600);
    let observer = Arc::new(move |event: &Event<'_>| {
        let mut seen = seen.lock().unwrap();
        match event {
            Event::Fetched(_) if Instant::now() < back => seen.0 += 1,
            Event::Intake { open: false } if Instant::now() < back => seen.1 += 1,
            _ => {}
        }
    });
    let retry = RETRY.deadline(Duration::from_secs(1)).attempts(Some(1));
    let topology = with_retry(sink.clone(), retry).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    let ids: Vec<_> = support::results(&broker).into_keys().collect();
    assert_eq!(ids, (0..1_000).collect::<Vec<_>>());
    let (fetched, paused) = *fetched.lock().unwrap();
    assert!(fetched <= 512, "found {fetched} records taken in, expected those of one turn at most");
    assert_eq!(paused, 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_waits_of_a_job_are_a_function_of_the_seed(seed in any::<u64>()) {
        let waits = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let waits = Arc::new(Mutex::new(Vec::new()));
                let seen = waits.clone();
                let observer = Arc::new(move |event: &Event<'_>| {
                    if let Event::Retried { delay, .. } = event {
                        seen.lock().unwrap().push(*delay);
                    }
                });
                let mut sink = mock_ready();
                sink.expect_execute().returning(|_, _| Err(JobError::transient("busy")));
                let topology = with_retry(Arc::new(sink), RETRY);
                run_one(&topology.with_seed(seed).with_observer(observer)).await;
                Arc::into_inner(waits).map(|waits| waits.into_inner().unwrap())
            })
        };
        let first = waits().expect("the run has ended");
        let again = waits();
        prop_assert_eq!(Some(&first), again.as_ref());
        for (wait, full) in first.iter().zip([1.0, 2.0, 4.0, 8.0]) {
            let seconds = wait.as_secs_f64();
            prop_assert!(seconds > full / 2.0 - 1e-6 && seconds <= full, "{seconds} of {full}");
        }
    }
}
