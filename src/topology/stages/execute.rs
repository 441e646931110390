//! Execution: a job's attempts, from the first to the one that settles it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt as _, pending};
use futures::poll;
use tokio::select;
use tokio::time::{Instant, timeout};

use super::super::observe::Event;
use super::Context;
use super::retry::{Retry, jitter};
use crate::record::ConsumerRecord;
use crate::sinks::{
    Ambiguous, Effect, JobError, JobErrorKind, JobSink, StatefulJobSink, execute_within,
};
use crate::state::{Changes, State};

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
pub(in crate::topology) struct Execution<In, Out, X> {
    executor: X,
    retry: Retry,
    executes: PhantomData<fn(In) -> Out>,
}

/// A job sink, whatever its jobs are given of the keyed state.
pub(in crate::topology) trait Executor<In, Out>: Send + Sync {
    /// What each of its jobs is given.
    type State: JobState;

    fn execute<'a>(
        &'a self,
        input: &'a In,
        record: &'a ConsumerRecord,
        state: &'a Self::State,
        limit: Option<Duration>,
    ) -> BoxFuture<'a, Result<Out, JobError>>;

    /// See [`StatefulJobSink::withdraws`].
    fn withdraws(&self) -> bool;

    fn ready(&self) -> BoxFuture<'_, ()>;
}

impl<In: Sync, Out> Executor<In, Out> for Arc<dyn JobSink<In, Out>> {
    type State = ();

    fn execute<'a>(
        &'a self,
        input: &'a In,
        record: &'a ConsumerRecord,
        (): &'a (),
        limit: Option<Duration>,
    ) -> BoxFuture<'a, Result<Out, JobError>> {
        if limit.is_none() {
            return (**self).execute(input, record);
        }
        Box::pin(async move {
            let effect = Effect::new();
            execute_within(&**self, input, record, &effect, limit).await
        })
    }

    fn withdraws(&self) -> bool {
        false
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        (**self).ready()
    }
}

impl<In: Sync, Out> Executor<In, Out> for Arc<dyn StatefulJobSink<In, Out>> {
    type State = Box<State>;

    fn execute<'a>(
        &'a self,
        input: &'a In,
        record: &'a ConsumerRecord,
        state: &'a Box<State>,
        limit: Option<Duration>,
    ) -> BoxFuture<'a, Result<Out, JobError>> {
        let execution = (**self).execute(input, record, state);
        let Some(limit) = limit.filter(|_| !self.keeps_time()) else { return execution };
        let late = move |_| {
            Err(JobError::ambiguous(format!("the attempt has not ended within {limit:?}")))
        };
        timeout(limit, execution).map(move |ended| ended.unwrap_or_else(late)).boxed()
    }

    fn withdraws(&self) -> bool {
        (**self).withdraws()
    }

    fn ready(&self) -> BoxFuture<'_, ()> {
        (**self).ready()
    }
}

/// Where the jobs of a run get their state.
pub(in crate::topology) trait States {
    /// The state for the job of a record.
    fn state_for(&self, record: &ConsumerRecord) -> Box<State>;
}

/// What a job is given of the keyed state: all of its part, or nothing.
pub(in crate::topology) trait JobState: Send + Sync {
    /// Whether it is anything.
    const IS_STATE: bool;

    /// The state for the job of a record, whose attempts may take so long.
    fn of(states: &dyn States, record: &ConsumerRecord, timeout: Option<Duration>) -> Self;

    /// Whether the time of a drain is over: no further attempt begins.
    fn has_drain_ended(&self) -> bool;

    /// Completes when that is so.
    fn drain_ends(&self) -> impl Future<Output = ()> + Send;

    /// Drops the changes that are not durable.
    fn forget(&self);

    /// The changes that are not durable, to be published with the record's outputs.
    fn into_changes(self) -> Option<Box<Changes>>;
}

impl JobState for () {
    const IS_STATE: bool = false;

    fn of(_: &dyn States, _: &ConsumerRecord, _: Option<Duration>) -> Self {}

    fn has_drain_ended(&self) -> bool {
        false
    }

    async fn drain_ends(&self) {
        pending::<()>().await;
    }

    fn forget(&self) {}

    fn into_changes(self) -> Option<Box<Changes>> {
        None
    }
}

impl JobState for Box<State> {
    const IS_STATE: bool = true;

    fn of(states: &dyn States, record: &ConsumerRecord, timeout: Option<Duration>) -> Self {
        let mut state = states.state_for(record);
        state.limit_attempts(timeout);
        state
    }

    fn has_drain_ended(&self) -> bool {
        State::has_drain_ended(self)
    }

    async fn drain_ends(&self) {
        State::drain_ends(self).await;
    }

    fn forget(&self) {
        State::forget(self);
    }

    fn into_changes(self) -> Option<Box<Changes>> {
        State::into_changes(*self)
    }
}

/// A job on its way through its attempts.
pub(in crate::topology) struct Job<In, St> {
    pub(in crate::topology) record: ConsumerRecord,
    pub(in crate::topology) input: In,
    pub(in crate::topology) state: St,
    spent: Spent,
}

impl<In, St> Job<In, St> {
    pub(in crate::topology) fn new(record: ConsumerRecord, input: In, state: St) -> Self {
        Self { record, input, state, spent: Spent::default() }
    }
}

/// What is spent of a job's attempts.
#[derive(Default)]
struct Spent {
    failures: u32,
    outages: u32,
    since: Option<Instant>,
    outage: Duration,
    /// Since when the job sink is unavailable for it.
    away_since: Option<Instant>,
}

impl Spent {
    /// The job sink is there again: the time in which it was not does not count.
    fn end_outage(&mut self) {
        if let Some(since) = self.away_since.take() {
            self.outage += since.elapsed();
        }
    }
}

/// What an attempt has come to.
pub(in crate::topology) enum Attempted<Out> {
    /// The job is settled: its outcome, and the number of attempts.
    Settled(Result<Out, JobError>, u32),
    /// Another attempt may follow.
    Waits(Wait),
}

/// A wait for the next attempt of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::topology) struct Wait {
    pub(in crate::topology) delay: Duration,
    /// Whether it ends sooner if the job sink, which was unavailable, is there again sooner.
    pub(in crate::topology) for_sink: bool,
}

impl Wait {
    const NONE: Self = Self { delay: Duration::ZERO, for_sink: false };
}

impl<In: Send + Sync, Out: Send, X: Executor<In, Out>> Execution<In, Out, X> {
    pub(in crate::topology) const fn new(executor: X, retry: Retry) -> Self {
        Self { executor, retry, executes: PhantomData }
    }

    /// See [`JobSink::ready`].
    pub(in crate::topology) fn ready(&self) -> BoxFuture<'_, ()> {
        self.executor.ready()
    }

    /// See [`StatefulJobSink::withdraws`].
    pub(in crate::topology) fn withdraws(&self) -> bool {
        self.executor.withdraws()
    }

    /// The time limit of an attempt.
    pub(in crate::topology) const fn attempt_timeout(&self) -> Option<Duration> {
        self.retry.attempt_timeout
    }

    /// Makes the next attempt of a job, once the gate is open.
    pub(in crate::topology) async fn run(
        &self,
        context: &Context,
        job: &mut Job<In, X::State>,
    ) -> Attempted<Out> {
        let mut ready = self.executor.ready();
        if poll!(&mut ready).is_pending() && !wait_at_the_gate(ready, job).await {
            return Attempted::Waits(Wait::NONE);
        }
        job.spent.end_outage();
        let attempt = job.spent.failures + 1;
        let error = match self.attempt(context, job, attempt).await {
            Ok(out) => return Attempted::Settled(Ok(out), attempt),
            Err(error) => error,
        };
        match self.wait_after(context, job, &error) {
            Some(wait) => {
                job.state.forget();
                Attempted::Waits(wait)
            }
            None => Attempted::Settled(Err(error), attempt),
        }
    }

    async fn attempt(
        &self,
        context: &Context,
        job: &Job<In, X::State>,
        attempt: u32,
    ) -> Result<Out, JobError> {
        let Job { record, input, state, .. } = job;
        let limit = self.retry.attempt_timeout;
        let execution = self.executor.execute(input, record, state, limit);
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

    /// How long a job waits for another attempt after one that has failed, if one may follow.
    fn wait_after(
        &self,
        context: &Context,
        job: &mut Job<In, X::State>,
        error: &JobError,
    ) -> Option<Wait> {
        match error.kind() {
            _ if error.is_settled() => None,
            JobErrorKind::Permanent => None,
            JobErrorKind::Ambiguous if self.retry.ambiguous == Ambiguous::Park => None,
            // It is cut off as one that would wait until after the drain.
            JobErrorKind::Unavailable if job.state.has_drain_ended() => Some(Wait::NONE),
            JobErrorKind::Unavailable => Some(self.suspend(context, job, error)),
            JobErrorKind::Transient | JobErrorKind::Ambiguous => {
                self.back_off(context, job, error).map(|delay| Wait { delay, for_sink: false })
            }
        }
    }

    fn suspend(&self, context: &Context, job: &mut Job<In, X::State>, error: &JobError) -> Wait {
        let Job { record, spent, .. } = job;
        spent.outages += 1;
        spent.away_since = Some(Instant::now());
        context.observers.emit(&Event::Suspended { record, error });
        let delay = self.retry.delay(spent.outages, jitter(context.seed, record, spent.outages));
        match error.earliest() {
            None => Wait { delay, for_sink: true },
            Some(at) => Wait { delay: delay.max(at.min(self.retry.deadline)), for_sink: false },
        }
    }

    fn back_off(
        &self,
        context: &Context,
        job: &mut Job<In, X::State>,
        error: &JobError,
    ) -> Option<Duration> {
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
        let delay = delay.max(error.earliest().unwrap_or_default());
        let counted = (now - since).saturating_sub(spent.outage);
        if self.retry.is_exhausted_by(attempt)
            || counted.saturating_add(delay) > self.retry.deadline
        {
            return None;
        }
        context.observers.emit(&Event::Retried { record, attempt, delay, error });
        Some(delay)
    }
}

/// Completes when the gate is open, or with false at the end of a drain.
async fn wait_at_the_gate<In, St: JobState>(
    ready: BoxFuture<'_, ()>,
    job: &mut Job<In, St>,
) -> bool {
    job.spent.away_since.get_or_insert_with(Instant::now);
    select! {
        biased;
        () = job.state.drain_ends() => false,
        () = ready => true,
    }
}
