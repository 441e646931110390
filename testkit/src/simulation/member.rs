//! A member, as the function that builds its topology sees it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{Effect as JobEffect, JobError, JobErrorKind, JobSink, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::Event;

use super::history::{Place, What, Who};
use super::world::{EXECUTE, World};

/// One life of a member, in a world with an outside of type `O`.
///
/// What the topology makes (a connection pool, for instance) is lost in a crash; the outside stays.
pub struct Member<O = ()> {
    who: Who,
    world: World,
    outside: Arc<O>,
    /// Whether a watched job sink notes its executions itself.
    is_watched: Cell<bool>,
}

impl<O> Member<O> {
    pub(super) const fn new(who: Who, world: World, outside: Arc<O>) -> Self {
        Self { who, world, outside, is_watched: Cell::new(false) }
    }

    pub(super) const fn is_watched(&self) -> bool {
        self.is_watched.get()
    }

    /// The member, and its life.
    pub const fn who(&self) -> Who {
        self.who
    }

    /// The world it lives in.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// What its jobs have an effect on.
    pub const fn outside(&self) -> &Arc<O> {
        &self.outside
    }

    /// The same as [`watched`](Self::watched) for a job sink with keyed state.
    pub fn watched_with_state<In: Sync, Out: Send>(
        &self,
        sink: impl StatefulJobSink<In, Out> + 'static,
    ) -> Arc<dyn StatefulJobSink<In, Out>> {
        Arc::new(self.watch(sink))
    }

    /// The job sink, with its executions noted in the history: begun, ended, dropped. Each
    /// execution is an effect, `execute`, that yields once before it begins and once after it has
    /// ended. If no job sink is watched, the topology's events are noted: begun and ended.
    pub fn watched<In: Sync, Out: Send>(
        &self,
        sink: impl JobSink<In, Out> + 'static,
    ) -> Arc<dyn JobSink<In, Out>> {
        Arc::new(self.watch(sink))
    }
}

impl<O> Member<O> {
    fn watch<S>(&self, sink: S) -> Watched<S> {
        self.is_watched.set(true);
        Watched { sink, who: self.who, world: self.world.clone() }
    }
}

impl<O> fmt::Debug for Member<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("who", &self.who).finish_non_exhaustive()
    }
}

struct Watched<S> {
    sink: S,
    who: Who,
    world: World,
}

/// An execution under way. Notes its end, or that it was dropped.
struct Execution<'a> {
    world: &'a World,
    who: Who,
    place: Place,
    /// None if it can't be taken back from its begin on.
    effect: Option<&'a JobEffect>,
    ended: bool,
}

impl Execution<'_> {
    fn end(mut self, error: Option<JobErrorKind>) {
        self.ended = true;
        self.world.note(Some(self.who), What::Executed(self.place.clone(), error));
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let place = self.place.clone();
            let what = match self.effect.is_none_or(JobEffect::has_begun) {
                true => What::Cancelled(place),
                false => What::Withdrawn(place),
            };
            self.world.note(Some(self.who), what);
        }
    }
}

impl<S: Send + Sync> Watched<S> {
    async fn watch<Out: Send>(
        &self,
        record: &ConsumerRecord,
        effect: Option<&JobEffect>,
        execute: impl Future<Output = Result<Out, JobError>> + Send,
    ) -> Result<Out, JobError> {
        let (who, world) = (self.who, &self.world);
        world
            .effect(EXECUTE, async {
                let place = Place::from(record);
                world.note(Some(who), What::Began(place.clone()));
                let execution = Execution { world, who, place, effect, ended: false };
                let outcome = execute.await;
                execution.end(outcome.as_ref().err().map(JobError::kind));
                outcome
            })
            .await
    }
}

#[async_trait]
impl<In: Sync, Out: Send, S: JobSink<In, Out>> JobSink<In, Out> for Watched<S> {
    async fn execute(&self, input: &In, record: &ConsumerRecord) -> Result<Out, JobError> {
        self.watch(record, None, self.sink.execute(input, record)).await
    }

    async fn execute_with_effect(
        &self,
        input: &In,
        record: &ConsumerRecord,
        effect: &JobEffect,
    ) -> Result<Out, JobError> {
        let execute = self.sink.execute_with_effect(input, record, effect);
        self.watch(record, Some(effect), execute).await
    }

    fn timed_out(&self, effect: &JobEffect, limit: Duration) -> JobError {
        self.sink.timed_out(effect, limit)
    }

    async fn ready(&self) {
        self.sink.ready().await;
    }
}

#[async_trait]
impl<In: Sync, Out: Send, S: StatefulJobSink<In, Out>> StatefulJobSink<In, Out> for Watched<S> {
    async fn execute(
        &self,
        input: &In,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<Out, JobError> {
        self.watch(record, None, self.sink.execute(input, record, state)).await
    }

    fn withdraws(&self) -> bool {
        self.sink.withdraws()
    }

    fn keeps_time(&self) -> bool {
        self.sink.keeps_time()
    }

    async fn ready(&self) {
        self.sink.ready().await;
    }
}

/// What the history keeps of an event of a run. A watched job sink notes its executions itself.
pub(super) fn noted(event: &Event<'_>, is_watched: bool) -> Option<What> {
    Some(match event {
        Event::Executing { .. } | Event::Executed { .. } if is_watched => return None,
        Event::Executing { record, .. } => What::Began(Place::from(*record)),
        Event::Executed { record, error, .. } => {
            What::Executed(Place::from(*record), error.map(JobError::kind))
        }
        Event::Truncated { partition, from, to, .. } => {
            What::Truncated { partition: (*partition).clone(), from: *from, to: *to }
        }
        Event::Reset { partition, reset } => What::Reset((*partition).clone(), *reset),
        Event::Assigned(assignment) => {
            What::Assigned(assignment.partition.clone(), assignment.generation)
        }
        Event::Revoked(partition) => What::Revoked((*partition).clone()),
        Event::Lost(partition) => What::Lost((*partition).clone()),
        Event::Released(partition) => What::Released((*partition).clone()),
        Event::CutOff { partition, unfinished } => What::CutOff((*partition).clone(), *unfinished),
        Event::Fetched(record) => What::Fetched(Place::from(*record)),
        Event::AlreadyFinished(record) => What::AlreadyFinished(Place::from(*record)),
        Event::Retried { record, delay, .. } => What::Waits(Place::from(*record), *delay),
        Event::Finished { record, fate, .. } => What::Finished(Place::from(*record), *fate),
        Event::Published { batch, .. } => What::Published(batch.outputs.len()),
        Event::PublishFailed(error) => What::PublishFailed(error.to_string()),
        Event::CommitFailed(error) => What::CommitFailed(error.to_string()),
        Event::CloseFailed(problem) => What::CloseFailed((*problem).to_owned()),
        _ => return None,
    })
}
