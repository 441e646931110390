//! Execution: a job's attempts, from the first to the one that settles it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::super::observe::Event;
use super::Context;
use super::retry::{Retry, jitter};
use crate::record::ConsumerRecord;
use crate::sinks::{Ambiguous, JobError, JobErrorKind, JobSink, StatefulJobSink};
use crate::state::State;

/// A job that has been executed, or finally was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed<In, Out> {
    /// The job.
    pub input: In,
    /// What the job sink made of it at last. An error's kind is what the last attempt ended with:
    /// [`Transient`](JobErrorKind::Transient) if the attempts or the time ran out.
    pub outcome: Result<Out, JobError>,
    /// Attempts made, the last included.
    pub attempts: u32,
}

/// A job sink and the limits of its attempts.
pub(in crate::topology) struct Execution<In, Out> {
    pub(in crate::topology) executor: Executor<In, Out>,
    pub(in crate::topology) retry: Retry,
}

/// A job sink, with state or without.
pub(in crate::topology) enum Executor<In, Out> {
    Stateless(Arc<dyn JobSink<In, Out>>),
    Stateful(Arc<dyn StatefulJobSink<In, Out>>),
}

impl<In: Sync, Out> Executor<In, Out> {
    fn execute<'a>(
        &'a self,
        input: &'a In,
        record: &'a ConsumerRecord,
        state: Option<&'a State>,
    ) -> BoxFuture<'a, Result<Out, JobError>> {
        match self {
            Self::Stateless(sink) => sink.execute(input, record),
            Self::Stateful(sink) => {
                sink.execute(input, record, state.expect("a job with state is given it"))
            }
        }
    }

    pub(in crate::topology) fn ready(&self) -> BoxFuture<'_, ()> {
        match self {
            Self::Stateless(sink) => sink.ready(),
            Self::Stateful(sink) => sink.ready(),
        }
    }
}

/// A job on its way through its attempts.
pub(in crate::topology) struct Job<In> {
    pub(in crate::topology) record: ConsumerRecord,
    pub(in crate::topology) input: In,
    /// There if the job sink has state.
    pub(in crate::topology) state: Option<Box<State>>,
    spent: Spent,
}

impl<In> Job<In> {
    pub(in crate::topology) fn new(
        record: ConsumerRecord,
        input: In,
        state: Option<Box<State>>,
    ) -> Self {
        Self { record, input, state, spent: Spent::default() }
    }

    fn forget_changes(&self) {
        self.state.iter().for_each(|state| state.forget());
    }
}

/// What is spent of a job's attempts.
#[derive(Default)]
struct Spent {
    failures: u32,
    outages: u32,
    since: Option<Instant>,
    outage: Duration,
}

/// What attempts have come to.
pub(in crate::topology) enum Attempted<Out> {
    /// The job is settled: its outcome, and the number of attempts.
    Settled(Result<Out, JobError>, u32),
    /// Another attempt may follow after this time.
    Waits(Duration),
}

impl<In: Send + Sync, Out: Send> Execution<In, Out> {
    /// Executes a job until it is settled, or is to wait for another attempt.
    pub(in crate::topology) async fn run(
        &self,
        context: &Context,
        job: &mut Job<In>,
    ) -> Attempted<Out> {
        loop {
            let attempt = job.spent.failures + 1;
            let error = match self.attempt(context, job, attempt).await {
                Ok(out) => return Attempted::Settled(Ok(out), attempt),
                Err(error) => error,
            };
            // In a box, since few jobs fail and each is as large as what it could wait for.
            match Box::pin(self.follow(context, job, &error)).await {
                Next::Now => job.forget_changes(),
                Next::After(delay) => {
                    job.forget_changes();
                    return Attempted::Waits(delay);
                }
                Next::Nothing => return Attempted::Settled(Err(error), attempt),
            }
        }
    }

    async fn attempt(
        &self,
        context: &Context,
        job: &Job<In>,
        attempt: u32,
    ) -> Result<Out, JobError> {
        let Job { record, input, state, .. } = job;
        let execution = self.executor.execute(input, record, state.as_deref());
        let execution = context.propagation.within(record, execution);
        if context.observers.is_empty() {
            return execution.await;
        }
        let started = Instant::now();
        context.observers.emit(&Event::Executing { record, attempt });
        let outcome = execution.await;
        let event = Event::Executed {
            record,
            attempt,
            error: outcome.as_ref().err(),
            took: started.elapsed(),
        };
        context.observers.emit(&event);
        outcome
    }

    /// What follows an attempt that has failed. It waits here for a job sink that is unavailable.
    async fn follow(&self, context: &Context, job: &mut Job<In>, error: &JobError) -> Next {
        match error.kind() {
            _ if error.is_settled() => Next::Nothing,
            JobErrorKind::Permanent => Next::Nothing,
            JobErrorKind::Ambiguous if self.retry.ambiguous == Ambiguous::Park => Next::Nothing,
            JobErrorKind::Unavailable => {
                self.wait_for_the_sink(context, job, error).await;
                Next::Now
            }
            JobErrorKind::Transient | JobErrorKind::Ambiguous => self.back_off(context, job, error),
        }
    }

    async fn wait_for_the_sink(&self, context: &Context, job: &mut Job<In>, error: &JobError) {
        let Job { record, spent, .. } = job;
        let started = Instant::now();
        spent.outages += 1;
        context.observers.emit(&Event::Suspended { record, error });
        sleep(self.retry.delay(spent.outages, jitter(context.seed, record, spent.outages))).await;
        self.executor.ready().await;
        spent.outage += started.elapsed();
    }

    fn back_off(&self, context: &Context, job: &mut Job<In>, error: &JobError) -> Next {
        let Job { record, spent, .. } = job;
        let now = Instant::now();
        let since = *spent.since.get_or_insert_with(|| {
            spent.outage = Duration::ZERO;
            now
        });
        spent.failures += 1;
        spent.outages = 0;
        let attempt = spent.failures;
        let delay = self.retry.delay(attempt, jitter(context.seed, record, attempt));
        let counted = (now - since).saturating_sub(spent.outage);
        if self.retry.is_exhausted_by(attempt) || counted + delay > self.retry.deadline {
            return Next::Nothing;
        }
        context.observers.emit(&Event::Retried { record, attempt, delay, error });
        Next::After(delay)
    }
}

/// What follows an attempt that has failed.
enum Next {
    /// Another attempt.
    Now,
    /// Another attempt, after this time.
    After(Duration),
    Nothing,
}
