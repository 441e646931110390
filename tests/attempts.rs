//! An attempt: how long it may take, how early it may begin, and the gate before it.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{Effect, JobError, JobErrorKind, JobSink, NOT_BEFORE_LIMIT};
use jobstream::topology::{Ambiguous, Event, Fate, Retry, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use proptest::prelude::*;
use support::{DEAD_LETTERS, Diary, Never, RESULTS, Task, broker, limits, produce, values};
use tokio::time::{Instant, sleep, sleep_until};

const LIMIT: Duration = Duration::from_secs(2);

fn topology(sink: Arc<dyn JobSink<Task, u64>>, retry: Retry) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(sink)
        .retry(retry)
        .encode(support::result)
}

fn retry() -> Retry {
    Retry::new().attempts(Some(3)).first_delay(Duration::from_secs(1))
}

fn in_paused_time<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// The results of jobs without a key, sorted.
async fn run(topology: &Topology, tasks: impl IntoIterator<Item = Task>) -> Vec<String> {
    let broker = broker(1);
    for task in tasks {
        produce(&broker, None, &task);
    }
    ran(topology, &broker).await
}

async fn ran(topology: &Topology, broker: &Broker) -> Vec<String> {
    support::run_to_the_end(topology, broker).await;
    let mut results = values(broker, RESULTS, Isolation::ReadCommitted);
    results.sort_unstable();
    results
}

/// The longest attempt, in virtual time.
fn longest() -> (Arc<Mutex<Duration>>, Arc<impl Fn(&Event<'_>) + Send + Sync>) {
    let longest = Arc::new(Mutex::new(Duration::ZERO));
    let seen = longest.clone();
    let observer = move |event: &Event<'_>| {
        if let Event::Executed { took, .. } = event {
            let mut longest = seen.lock().unwrap();
            *longest = longest.max(*took);
        }
    };
    (longest, Arc::new(observer))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_attempt_takes_longer_than_its_limit_and_each_job_meets_its_fate(
        seconds in prop::collection::vec(0_u64..5, 1..30),
    ) {
        let (longest, observer) = longest();
        let tasks = seconds.iter().enumerate();
        let tasks = tasks.map(|(id, s)| Task::new(id as u64).takes(Duration::from_secs(*s)));
        let topology = topology(Diary::new(), retry().attempt_timeout(Some(LIMIT)));
        let topology = topology.with_observer(observer);
        let mut results = in_paused_time(run(&topology, tasks));
        let ended = results.extract_if(.., |result| result.parse::<usize>().is_ok());
        for id in ended {
            prop_assert!(seconds[id.parse::<usize>().unwrap()] <= 2, "{id} has ended");
        }
        let cut_off = seconds.iter().filter(|seconds| **seconds > 2).count();
        prop_assert_eq!(results.len(), cut_off);
        let text = "failed after 3: the attempt has not ended within 2s";
        prop_assert!(results.iter().all(|result| result.ends_with(text)), "{:?}", results);
        prop_assert!(*longest.lock().unwrap() <= LIMIT);
    }

    /// The wait that a receiver has asked for is kept, whatever the back-off, and the deadline cuts it
    /// off at once.
    #[test]
    fn no_attempt_begins_before_the_time_that_the_receiver_has_asked_for(
        wait_s in 0_u64..20,
        deadline_s in 0_u64..20,
    ) {
        let sink = Arc::new(Busy { wait: Duration::from_secs(wait_s), begins: Mutex::default() });
        let retry = retry().deadline(Duration::from_secs(deadline_s));
        let results = in_paused_time(run(&topology(sink.clone(), retry), [Task::new(0)]));
        let begins = sink.begins.lock().unwrap();
        prop_assert!(results[0].ends_with("busy"), "{:?}", results);
        for pair in begins.windows(2) {
            prop_assert!(pair[1] - pair[0] >= Duration::from_secs(wait_s));
        }
        prop_assert!(begins[begins.len() - 1] - begins[0] <= Duration::from_secs(deadline_s));
        prop_assert!(begins.len() == 1 || wait_s <= deadline_s);
        // Two waits of which neither is longer than 2 s.
        prop_assert!(begins.len() == 3 || deadline_s < 2 * wait_s.max(2));
    }

    /// Of jobs that wait for their first attempt, for their key or for the next attempt.
    #[test]
    fn no_attempt_begins_while_the_gate_is_shut(
        jobs in prop::collection::vec((prop::option::of(0_u8..6), 0_u32..3, 1_u64..40), 1..150),
        executing in 1_usize..20,
    ) {
        let sink = Arc::new(Gated::new(7));
        let topology = topology(sink.clone(), retry()).with_limits(limits().executing_records(executing));
        let (broker, jobs_count) = (broker(3), jobs.len());
        for (id, (key, failures, takes_ms)) in jobs.into_iter().enumerate() {
            let task = Task::new(id as u64).fails(failures).takes(Duration::from_millis(takes_ms));
            produce(&broker, key.map(|key| key.to_string()).as_deref(), &task);
        }
        let results = in_paused_time(ran(&topology, &broker));
        prop_assert_eq!(results.len(), jobs_count);
        prop_assert!(results.iter().all(|result| !result.contains("failed")), "{:?}", results);
        prop_assert_eq!(sink.begun_while_shut.load(Ordering::Relaxed), 0);
    }
}

/// Refuses every attempt, and asks for a pause.
struct Busy {
    wait: Duration,
    begins: Mutex<Vec<Instant>>,
}

#[async_trait]
impl JobSink<Task, u64> for Busy {
    async fn execute(&self, _: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        self.begins.lock().unwrap().push(Instant::now());
        Err(JobError::transient("busy").not_before(self.wait))
    }
}

/// Its gate shuts for 10 s with each of so many attempts.
struct Gated {
    every: usize,
    attempts: AtomicUsize,
    failures: Mutex<BTreeMap<u64, u32>>,
    shut_until: Mutex<Option<Instant>>,
    begun_while_shut: AtomicUsize,
}

impl Gated {
    fn new(every: usize) -> Self {
        Self {
            every,
            attempts: AtomicUsize::new(0),
            failures: Mutex::default(),
            shut_until: Mutex::new(None),
            begun_while_shut: AtomicUsize::new(0),
        }
    }

    fn shut_until(&self) -> Option<Instant> {
        self.shut_until.lock().unwrap().filter(|until| *until > Instant::now())
    }
}

#[async_trait]
impl JobSink<Task, u64> for Gated {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        let is_shut = self.shut_until().is_some();
        self.begun_while_shut.fetch_add(usize::from(is_shut), Ordering::Relaxed);
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(task.takes_ms)).await;
        if attempt.is_multiple_of(self.every) {
            *self.shut_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(10));
            return Err(JobError::unavailable("429"));
        }
        let mut failures = self.failures.lock().unwrap();
        let failed = failures.entry(task.id).or_default();
        *failed += 1;
        if *failed <= task.failures { Err(JobError::transient("503")) } else { Ok(task.id) }
    }

    async fn ready(&self) {
        while let Some(until) = self.shut_until() {
            sleep_until(until).await;
        }
    }
}

/// The first one shuts the gate for 10 s, and 500 jobs wait: for a place, for their key, for their
/// next attempt.
#[tokio::test(start_paused = true)]
async fn after_one_refusal_that_shuts_the_gate_no_job_that_waits_inside_goes_out() {
    let sink = Arc::new(Gated::new(usize::MAX));
    let broker = broker(1);
    for id in 0..500 {
        produce(&broker, None, &Task::new(id).takes(Duration::from_millis(10)));
    }
    let limits = limits().executing_records(32);
    let results = ran(&topology(sink.clone(), retry()).with_limits(limits), &broker).await;
    assert_eq!(results.len(), 500);
    assert_eq!(sink.begun_while_shut.load(Ordering::Relaxed), 0);
    assert_eq!(sink.attempts.load(Ordering::Relaxed), 501);
}

/// Never answers; its effect begins or not.
struct Hanging {
    acts: bool,
    says: Option<JobErrorKind>,
}

#[async_trait]
impl JobSink<Task, u64> for Hanging {
    async fn execute(&self, task: &Task, record: &ConsumerRecord) -> Result<u64, JobError> {
        Never.execute(task, record).await
    }

    async fn execute_with_effect(
        &self,
        task: &Task,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<u64, JobError> {
        if self.acts {
            effect.begin();
        }
        self.execute(task, record).await
    }

    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        match self.says {
            Some(kind) => JobError::new(kind, "as the job sink says"),
            None => Never.timed_out(effect, limit),
        }
    }
}

/// The fate of a job, and its attempts.
async fn fate(sink: impl JobSink<Task, u64> + 'static, ambiguous: Ambiguous) -> (Fate, u32) {
    let fates = Arc::new(Mutex::new(Vec::new()));
    let seen = fates.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::Finished { fate, attempts, .. } = event {
            seen.lock().unwrap().push((*fate, *attempts));
        }
    });
    let retry = retry().attempt_timeout(Some(LIMIT)).ambiguous(ambiguous);
    run(&topology(Arc::new(sink), retry).with_observer(observer), [Task::new(0)]).await;
    let fates = fates.lock().unwrap();
    assert_eq!(fates.len(), 1);
    fates[0]
}

#[tokio::test(start_paused = true)]
async fn the_end_of_an_attempt_at_its_limit_is_what_the_job_sink_says() {
    let of = |acts, says| Hanging { acts, says };
    let park = Ambiguous::Park;
    let failed = |kind, attempts| (Fate::Failed(kind), attempts);
    assert_eq!(fate(Never, park).await, failed(JobErrorKind::Ambiguous, 1));
    assert_eq!(fate(of(true, None), park).await, failed(JobErrorKind::Ambiguous, 1));
    assert_eq!(fate(of(false, None), park).await, failed(JobErrorKind::Transient, 3));
    let permanent = Some(JobErrorKind::Permanent);
    assert_eq!(fate(of(true, permanent), park).await, failed(JobErrorKind::Permanent, 1));
    assert_eq!(fate(Never, Ambiguous::Resend).await, failed(JobErrorKind::Ambiguous, 3));
}

/// Each attempt finds its receiver away for so long.
#[derive(Default)]
struct Away {
    wait: Duration,
    /// Each with how many other jobs were executed before.
    begins: Mutex<Vec<(Instant, usize)>>,
    others: AtomicUsize,
}

#[async_trait]
impl JobSink<Task, u64> for Away {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        if task.id > 0 {
            self.others.fetch_add(1, Ordering::Relaxed);
            return Ok(task.id);
        }
        let mut begins = self.begins.lock().unwrap();
        begins.push((Instant::now(), self.others.load(Ordering::Relaxed)));
        match begins.len() {
            4 => Ok(task.id),
            _ => Err(JobError::unavailable("away").not_before(self.wait)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_whose_receiver_is_away_waits_outside_of_the_places_of_the_others() {
    let sink = Arc::new(Away { wait: Duration::from_secs(60), ..Away::default() });
    let broker = broker(1);
    for id in 0..50 {
        produce(&broker, None, &Task::new(id));
    }
    let limits = limits().executing_records(1);
    let retry = retry().attempts(Some(1)).deadline(Duration::from_secs(90));
    let topology = topology(sink.clone(), retry).with_limits(limits);
    support::run_to_the_end(&topology, &broker).await;
    assert_eq!(support::results(&broker).len(), 50);
    let begins = sink.begins.lock().unwrap();
    assert!(begins.windows(2).all(|pair| pair[1].0 - pair[0].0 >= Duration::from_secs(60)));
    assert!(begins.iter().map(|(_, others)| *others).eq([0, 49, 49, 49]));
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_end_is_cut_at_its_limit_and_at_the_deadline_of_a_job() {
    let error = JobError::unavailable("away").not_before(Duration::MAX);
    assert_eq!(error.earliest(), Some(NOT_BEFORE_LIMIT));
    let busy = Arc::new(Busy { wait: Duration::MAX, begins: Mutex::default() });
    let forever = retry().deadline(Duration::MAX).attempts(Some(1));
    assert_eq!(run(&topology(busy, forever), [Task::new(0)]).await, ["0 failed after 1: busy"]);
    let sink = Arc::new(Away { wait: Duration::MAX, ..Away::default() });
    let retry = retry().deadline(Duration::from_secs(100));
    assert_eq!(run(&topology(sink.clone(), retry), [Task::new(0)]).await, ["0"]);
    let begins = sink.begins.lock().unwrap();
    assert!(begins.windows(2).all(|pair| pair[1].0 - pair[0].0 < Duration::from_secs(102)));
}

/// Until a time, each attempt finds its receiver away, and shuts the gate for a second.
struct Flapping {
    back_at: Instant,
    shut_until: Mutex<Instant>,
    /// When the attempts began that found it there.
    begins: Mutex<Vec<Instant>>,
}

#[async_trait]
impl JobSink<Task, u64> for Flapping {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        let now = Instant::now();
        if now < self.back_at {
            *self.shut_until.lock().unwrap() = now + Duration::from_secs(1);
            return Err(JobError::unavailable("away"));
        }
        self.begins.lock().unwrap().push(now);
        sleep(Duration::from_millis(10)).await;
        Ok(task.id)
    }

    async fn ready(&self) {
        let shut_until = *self.shut_until.lock().unwrap();
        if Instant::now() < shut_until {
            sleep_until(shut_until).await;
        }
    }
}

/// Their back-offs have grown to minutes by then.
#[tokio::test(start_paused = true)]
async fn jobs_whose_receiver_was_away_follow_the_first_that_gets_through_in_small_steps() {
    let now = Instant::now();
    let sink = Arc::new(Flapping {
        back_at: now + Duration::from_secs(3_000),
        shut_until: Mutex::new(now),
        begins: Mutex::default(),
    });
    let broker = broker(1);
    for id in 0..200 {
        produce(&broker, None, &Task::new(id));
    }
    let results = ran(&topology(sink.clone(), Retry::new()), &broker).await;
    assert_eq!(results.len(), 200);
    let begins = sink.begins.lock().unwrap();
    let waited = begins[199] - begins[0];
    assert!(waited < Duration::from_secs(1), "the last one {waited:?} after the first");
    let at_once = begins.chunk_by(|one, other| one == other).map(<[Instant]>::len).max();
    assert!(at_once < Some(150), "{at_once:?} at once");
}
