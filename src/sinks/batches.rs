//! Jobs that are executed together: one call for many, each with an outcome of its own.
//!
//! ```text
//!  job ─▶ gathering ─┬─ as many as a batch has ─┬─▶ execute ─▶ outcome of each job
//!  job ─▶            └─ or a time has passed  ──┘
//! ```
//!
//! # Why it is so
//!
//! The topology knows jobs, and not batches: order per key, limits, retries, drains and the ledger
//! are those of each job. So batches are made by a job sink around the one that executes them. The
//! futures of a batch's jobs share one future that executes it; whichever is polled drives it, and it
//! goes on as long as one of them is there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{BoxFuture, FutureExt as _, Shared};
use tokio::select;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Effect, JobError, JobSink, end_at_the_limit, is_open};
use crate::record::ConsumerRecord;

/// Executes many jobs at once: rows of one insert, messages of one request.
///
/// `execute` is called for several batches at once. No batch has two jobs with the same key, and no
/// other batch meanwhile has a job with a key of this one.
#[async_trait]
pub trait BatchJobSink<In: Sync, Out>: Send + Sync {
    /// Executes jobs once, and answers with the outcome of each, in their order. Each job is retried
    /// by itself, depending on its error's kind. Where outcomes are missing, or are too many, those
    /// of the whole batch are ambiguous.
    ///
    /// # Cancellation
    /// The future is dropped when no job of the batch is left, see
    /// [`JobSink::execute`]. A job that was cut off by itself stays in the batch that has begun, and
    /// its outcome counts no more.
    async fn execute(&self, jobs: &[BatchJob<In>]) -> Vec<Result<Out, JobError>>;

    /// See [`JobSink::timed_out`].
    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        end_at_the_limit(effect, limit)
    }

    /// See [`JobSink::ready`].
    fn ready<'s, 'f>(&'s self) -> BoxFuture<'f, ()>
    where
        Self: 'f,
        's: 'f,
    {
        is_open()
    }
}

/// A job of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchJob<In> {
    /// What is executed.
    pub input: In,
    /// The record that it was decoded from.
    pub record: ConsumerRecord,
}

/// When a batch is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchLimits {
    /// Jobs in a batch, at most; at least 1.
    pub jobs: usize,
    /// How long the first job of a batch waits for others, at most.
    pub wait: Duration,
}

impl BatchLimits {
    /// Up to 100 jobs, which wait for up to 10 ms.
    pub const fn new() -> Self {
        Self { jobs: 100, wait: Duration::from_millis(10) }
    }

    /// Sets [`jobs`](Self#structfield.jobs).
    #[must_use]
    pub const fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs;
        self
    }

    /// Sets [`wait`](Self#structfield.wait).
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }
}

impl Default for BatchLimits {
    /// See [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}

/// A job sink that executes jobs in batches.
///
/// Only jobs that may execute at once come together, so a batch is never larger than
/// [`Limits::executing_records`](crate::topology::Limits::executing_records); with a
/// [ledger](super::ledger) around it, never larger than
/// [`in_doubt_max`](super::ledger::LedgerLimits::in_doubt_max). The effect of its jobs begins with the
/// batch: one that is cut off before is in no batch, and was certainly not executed.
///
/// The [time limit](crate::topology::Retry::attempt_timeout) of an attempt includes the wait for
/// others.
pub struct Batches<In, Out> {
    sink: Arc<dyn BatchJobSink<In, Out>>,
    limits: BatchLimits,
    group_of: Box<dyn Fn(&In) -> String + Send + Sync>,
    open: Open<In, Out>,
}

/// The batch of each group that jobs can join.
type Open<In, Out> = Arc<Mutex<BTreeMap<String, Gathering<In, Out>>>>;

/// A batch that has not begun, and what executes it.
struct Gathering<In, Out> {
    batch: Arc<Batch<In, Out>>,
    run: Run,
}

type Run = Shared<BoxFuture<'static, ()>>;

struct Batch<In, Out> {
    /// The jobs, in the order in which they came; none once the batch has begun.
    jobs: Mutex<Option<BTreeMap<usize, Joined<In, Out>>>>,
    is_full: Notify,
}

/// A job that has joined a batch.
struct Joined<In, Out> {
    job: BatchJob<In>,
    effect: Effect,
    outcome: Outcome<Out>,
}

/// Where the outcome of a job is put.
type Outcome<Out> = Arc<Mutex<Option<Result<Out, JobError>>>>;

/// A place in a batch: dropped before the batch begins, the job is taken out.
struct Place<In, Out> {
    batch: Arc<Batch<In, Out>>,
    number: usize,
    outcome: Outcome<Out>,
    run: Run,
    group: String,
    open: Open<In, Out>,
}

impl<In, Out> Drop for Place<In, Out> {
    fn drop(&mut self) {
        let is_over = locked(&self.batch.jobs).as_mut().is_none_or(|jobs| {
            jobs.remove(&self.number);
            jobs.is_empty()
        });
        let mut open = locked(&self.open);
        let is_it = |open: &Gathering<_, _>| Arc::ptr_eq(&open.batch, &self.batch);
        if is_over && open.get(&self.group).is_some_and(is_it) {
            open.remove(&self.group);
        }
    }
}

impl<In, Out> Batches<In, Out>
where
    In: Clone + Send + Sync + 'static,
    Out: Send + 'static,
{
    /// Batches for this job sink.
    pub fn new(sink: Arc<dyn BatchJobSink<In, Out>>, limits: BatchLimits) -> Self {
        Self { sink, limits, group_of: Box::new(|_| String::new()), open: Open::default() }
    }

    /// Executes together only jobs of the same group: rows of one table, messages to one address. A
    /// batch of one group waits for none of another.
    #[must_use]
    pub fn grouped_by(mut self, group_of: impl Fn(&In) -> String + Send + Sync + 'static) -> Self {
        self.group_of = Box::new(group_of);
        self
    }

    /// Adds a job to the open batch of its group.
    fn join(&self, input: &In, record: &ConsumerRecord, effect: &Effect) -> Place<In, Out> {
        let job = BatchJob { input: input.clone(), record: record.clone() };
        let outcome = Outcome::default();
        let joined = Joined { job, effect: effect.clone(), outcome: outcome.clone() };
        let group = (self.group_of)(input);
        let mut all = locked(&self.open);
        let mut open = all.remove(&group).unwrap_or_else(|| self.begin());
        let mut joined = Some(joined);
        let number = loop {
            match open.batch.add(&mut joined, self.limits) {
                Some(number) => break number,
                None => open = self.begin(),
            }
        };
        let Gathering { batch, run } = open;
        all.insert(group.clone(), Gathering { batch: batch.clone(), run: run.clone() });
        Place { batch, number, outcome, run, group, open: self.open.clone() }
    }

    fn begin(&self) -> Gathering<In, Out> {
        let jobs = Mutex::new(Some(BTreeMap::new()));
        let batch = Arc::new(Batch { jobs, is_full: Notify::new() });
        let run = run(batch.clone(), self.sink.clone(), self.limits.wait);
        Gathering { batch, run: run.boxed().shared() }
    }
}

impl<In, Out> Batch<In, Out> {
    /// Takes in a job, and gives its number; none if the batch has begun or is full.
    fn add(&self, joined: &mut Option<Joined<In, Out>>, limits: BatchLimits) -> Option<usize> {
        let mut jobs = locked(&self.jobs);
        let jobs = jobs.as_mut().filter(|jobs| jobs.len() < limits.jobs.max(1))?;
        let number = jobs.last_key_value().map_or(0, |(last, _)| last + 1);
        jobs.insert(number, joined.take()?);
        if jobs.len() >= limits.jobs.max(1) {
            self.is_full.notify_one();
        }
        Some(number)
    }
}

/// Executes a batch once it is full, or has waited.
async fn run<In: Sync, Out>(
    batch: Arc<Batch<In, Out>>,
    sink: Arc<dyn BatchJobSink<In, Out>>,
    wait: Duration,
) {
    select! {
        biased;
        () = batch.is_full.notified() => {}
        () = sleep(wait) => {}
    }
    let joined = locked(&batch.jobs).take().unwrap_or_default();
    let (mut jobs, mut ends) = (Vec::new(), Vec::new());
    for Joined { job, effect, outcome } in joined.into_values() {
        effect.begin();
        jobs.push(job);
        ends.push(outcome);
    }
    if jobs.is_empty() {
        return;
    }
    let outcomes = sink.execute(&jobs).await;
    let (found, expected) = (outcomes.len(), jobs.len());
    if found != expected {
        let reason = format!("found {found} outcomes of a batch, expected {expected}");
        let unknown = || Err(JobError::ambiguous(reason.clone()));
        ends.iter().for_each(|end| *locked(end) = Some(unknown()));
        return;
    }
    for (end, outcome) in ends.iter().zip(outcomes) {
        *locked(end) = Some(outcome);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl<In, Out> JobSink<In, Out> for Batches<In, Out>
where
    In: Clone + Send + Sync + 'static,
    Out: Send + 'static,
{
    async fn execute(&self, input: &In, record: &ConsumerRecord) -> Result<Out, JobError> {
        self.execute_with_effect(input, record, &Effect::new()).await
    }

    /// The effect begins with the batch.
    async fn execute_with_effect(
        &self,
        input: &In,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<Out, JobError> {
        let place = self.join(input, record, effect);
        place.run.clone().await;
        let outcome = locked(&place.outcome).take();
        outcome.unwrap_or_else(|| Err(JobError::ambiguous("the batch has ended without outcomes")))
    }

    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        self.sink.timed_out(effect, limit)
    }

    async fn ready(&self) {
        self.sink.ready().await;
    }
}

impl<In, Out> fmt::Debug for Batches<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("limits", &self.limits).finish_non_exhaustive()
    }
}
