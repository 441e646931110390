//! Execution: a job's attempts, from the first to the one that settles it.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, pending};
use tokio::select;
use tokio::time::{Instant, sleep};

use super::super::observe::Event;
use super::Context;
use super::retry::{Retry, jitter};
use crate::record::ConsumerRecord;
use crate::sinks::{Ambiguous, JobError, JobErrorKind, JobSink, StatefulJobSink};
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
    ) -> BoxFuture<'a, Result<Out, JobError>> {
        (**self).execute(input, record)
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
    ) -> BoxFuture<'a, Result<Out, JobError>> {
        (**self).execute(input, record, state)
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

    fn of(states: &dyn States, record: &ConsumerRecord) -> Self;

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

    fn of(_: &dyn States, _: &ConsumerRecord) -> Self {}

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

    fn of(states: &dyn States, record: &ConsumerRecord) -> Self {
        states.state_for(record)
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
}

/// What attempts have come to.
pub(in crate::topology) enum Attempted<Out> {
    /// The job is settled: its outcome, and the number of attempts.
    Settled(Result<Out, JobError>, u32),
    /// Another attempt may follow after this time.
    Waits(Duration),
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

    /// Executes a job until it is settled, or is to wait for another attempt.
    pub(in crate::topology) async fn run(
        &self,
        context: &Context,
        job: &mut Job<In, X::State>,
    ) -> Attempted<Out> {
        loop {
            let attempt = job.spent.failures + 1;
            let error = match self.attempt(context, job, attempt).await {
                Ok(out) => return Attempted::Settled(Ok(out), attempt),
                Err(error) => error,
            };
            // In a box, since few jobs fail and each is as large as what it could wait for.
            match Box::pin(self.follow(context, job, &error)).await {
                Next::Now => job.state.forget(),
                Next::After(delay) => {
                    job.state.forget();
                    return Attempted::Waits(delay);
                }
                Next::Nothing => return Attempted::Settled(Err(error), attempt),
            }
        }
    }

    async fn attempt(
        &self,
        context: &Context,
        job: &Job<In, X::State>,
        attempt: u32,
    ) -> Result<Out, JobError> {
        let Job { record, input, state, .. } = job;
        let execution = self.executor.execute(input, record, state);
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
    async fn follow(
        &self,
        context: &Context,
        job: &mut Job<In, X::State>,
        error: &JobError,
    ) -> Next {
        match error.kind() {
            _ if error.is_settled() => Next::Nothing,
            JobErrorKind::Permanent => Next::Nothing,
            JobErrorKind::Ambiguous if self.retry.ambiguous == Ambiguous::Park => Next::Nothing,
            // It is cut off as one that would wait until after the drain.
            JobErrorKind::Unavailable if job.state.has_drain_ended() => Next::After(Duration::ZERO),
            JobErrorKind::Unavailable => self.wait_for_the_sink(context, job, error).await,
            JobErrorKind::Transient | JobErrorKind::Ambiguous => self.back_off(context, job, error),
        }
    }

    async fn wait_for_the_sink(
        &self,
        context: &Context,
        job: &mut Job<In, X::State>,
        error: &JobError,
    ) -> Next {
        let Job { record, spent, state, .. } = job;
        let started = Instant::now();
        spent.outages += 1;
        context.observers.emit(&Event::Suspended { record, error });
        let delay = self.retry.delay(spent.outages, jitter(context.seed, record, spent.outages));
        let wait = async {
            sleep(delay).await;
            self.executor.ready().await;
        };
        select! {
            biased;
            () = state.drain_ends() => return Next::After(Duration::ZERO),
            () = wait => {}
        }
        spent.outage += started.elapsed();
        Next::Now
    }

    fn back_off(&self, context: &Context, job: &mut Job<In, X::State>, error: &JobError) -> Next {
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
