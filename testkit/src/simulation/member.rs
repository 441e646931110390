//! A member, as the one who builds its topology sees it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, JobErrorKind, JobSink, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::Event;

use super::history::{Place, What, Who};
use super::world::World;

/// One life of a member, in a world with an outside of type `O`.
///
/// What is made in it (a connection pool, say) is gone when it crashes; the outside stays.
pub struct Member<O = ()> {
    pub(super) who: Who,
    pub(super) world: World,
    pub(super) outside: Arc<O>,
}

impl<O> Member<O> {
    /// Which member, and which of its lives.
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

    /// The same for a job sink with keyed state.
    pub fn watched_with_state<In: Sync, Out: Send>(
        &self,
        sink: impl StatefulJobSink<In, Out> + 'static,
    ) -> Arc<dyn StatefulJobSink<In, Out>> {
        Arc::new(Watched { sink, who: self.who, world: self.world.clone() })
    }

    /// The job sink, with its executions noted in the history: begun, ended, dropped. Each yields
    /// once before it begins and once after it has ended. The invariants need it.
    pub fn watched<In: Sync, Out: Send>(
        &self,
        sink: impl JobSink<In, Out> + 'static,
    ) -> Arc<dyn JobSink<In, Out>> {
        Arc::new(Watched { sink, who: self.who, world: self.world.clone() })
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

/// An execution under way, until it is told how it ended or dropped.
struct Execution<'a> {
    world: &'a World,
    who: Who,
    place: Place,
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
            self.world.note(Some(self.who), What::Cancelled(self.place.clone()));
        }
    }
}

impl<S: Send + Sync> Watched<S> {
    async fn watch<Out: Send>(
        &self,
        record: &ConsumerRecord,
        execute: impl Future<Output = Result<Out, JobError>> + Send,
    ) -> Result<Out, JobError> {
        let (who, world) = (self.who, &self.world);
        world
            .effect("execute", async {
                let place = Place::from(record);
                world.note(Some(who), What::Began(place.clone()));
                let execution = Execution { world, who, place, ended: false };
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
        self.watch(record, self.sink.execute(input, record)).await
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
        self.watch(record, self.sink.execute(input, record, state)).await
    }

    async fn ready(&self) {
        self.sink.ready().await;
    }
}

/// What a run tells, as the history keeps it.
pub(super) fn told(event: &Event<'_>) -> Option<What> {
    Some(match event {
        Event::Assigned(assignment) => {
            What::Assigned(assignment.partition.clone(), assignment.generation)
        }
        Event::Revoked(partition) => What::Revoked((*partition).clone()),
        Event::Lost(partition) => What::Lost((*partition).clone()),
        Event::Released(partition) => What::Released((*partition).clone()),
        Event::CutOff { partition, unfinished } => What::CutOff((*partition).clone(), *unfinished),
        Event::Fetched(record) => What::Fetched(Place::from(*record)),
        Event::AlreadyFinished(record) => What::AlreadyFinished(Place::from(*record)),
        Event::Finished { record, fate } => What::Finished(Place::from(*record), *fate),
        Event::Published { batch, .. } => What::Published(batch.outputs.len()),
        Event::PublishFailed(error) => What::PublishFailed(error.to_string()),
        Event::CommitFailed(error) => What::CommitFailed(error.to_string()),
        Event::CloseFailed(problem) => What::CloseFailed((*problem).to_owned()),
        _ => return None,
    })
}
