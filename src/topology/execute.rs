//! Execution: a job's attempts, from the first to the one that settles it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep};

use super::Context;
use super::event::Event;
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
pub(super) struct Execution<In, Out> {
    pub(super) executor: Executor<In, Out>,
    pub(super) retry: Retry,
}

/// A job sink, with state or without.
pub(super) enum Executor<In, Out> {
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

    pub(super) fn ready(&self) -> BoxFuture<'_, ()> {
        match self {
            Self::Stateless(sink) => sink.ready(),
            Self::Stateful(sink) => sink.ready(),
        }
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

impl<In: Send + Sync, Out: Send> Execution<In, Out> {
    /// Executes a job until it is settled; gives its outcome and the number of attempts.
    pub(super) async fn run(
        &self,
        context: &Context,
        record: &ConsumerRecord,
        input: &In,
        state: Option<&State>,
    ) -> (Result<Out, JobError>, u32) {
        let mut spent = Spent::default();
        loop {
            let attempt = spent.failures + 1;
            let outcome = self.attempt(context, record, input, state, attempt).await;
            let error = match outcome {
                Ok(out) => return (Ok(out), attempt),
                Err(error) => error,
            };
            // In a box, since few jobs wait and each is as large as what it could wait for.
            match Box::pin(self.wait(context, record, &error, &mut spent)).await {
                Wait::Over => state.into_iter().for_each(State::forget),
                Wait::Final => return (Err(error), attempt),
            }
        }
    }

    async fn attempt(
        &self,
        context: &Context,
        record: &ConsumerRecord,
        input: &In,
        state: Option<&State>,
        attempt: u32,
    ) -> Result<Out, JobError> {
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

    /// Waits until another attempt may begin, if one may.
    async fn wait(
        &self,
        context: &Context,
        record: &ConsumerRecord,
        error: &JobError,
        spent: &mut Spent,
    ) -> Wait {
        match error.kind() {
            _ if error.is_settled() => Wait::Final,
            JobErrorKind::Permanent => Wait::Final,
            JobErrorKind::Ambiguous if self.retry.ambiguous == Ambiguous::Park => Wait::Final,
            JobErrorKind::Unavailable => {
                self.wait_for_the_sink(context, record, error, spent).await;
                Wait::Over
            }
            JobErrorKind::Transient | JobErrorKind::Ambiguous => {
                self.back_off(context, record, error, spent).await
            }
        }
    }

    async fn wait_for_the_sink(
        &self,
        context: &Context,
        record: &ConsumerRecord,
        error: &JobError,
        spent: &mut Spent,
    ) {
        let started = Instant::now();
        spent.outages += 1;
        context.observers.emit(&Event::Suspended { record, error });
        sleep(self.retry.delay(spent.outages, jitter(context.seed, record, spent.outages))).await;
        self.executor.ready().await;
        spent.outage += started.elapsed();
    }

    async fn back_off(
        &self,
        context: &Context,
        record: &ConsumerRecord,
        error: &JobError,
        spent: &mut Spent,
    ) -> Wait {
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
        if attempt >= self.retry.attempts || counted + delay > self.retry.deadline {
            return Wait::Final;
        }
        context.observers.emit(&Event::Retried { record, attempt, delay, error });
        sleep(delay).await;
        Wait::Over
    }
}

enum Wait {
    Over,
    Final,
}
