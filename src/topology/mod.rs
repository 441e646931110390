//! The topology: a job executor, written once.
//!
//! ```text
//!             records ────────────────────────────────────────────────▶
//!  Source ──▶ decode ──▶ stages ──▶ execute ──▶ stages ──▶ encode ──▶ Sink
//!    ▲          │          │          │           │                     │
//!    │          ▼          ▼          ▼           ▼                     │
//!    │     dead letter  skipped  retry · order  skipped                 │
//!    └──────────────── commit the finished frontier ◀───────────────────┘
//! ```
//!
//! Records go right; the only thing that ever goes left is a position. A [`Topology`] holds stages
//! only; [`Topology::run`] takes the ends, so that one topology serves tests, benchmarks and
//! production alike.
//!
//! Failure is data: only a broken source or sink stops a run.

mod builder;
mod error;
mod limits;
mod observe;
mod punctuator;
mod run;
mod stages;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use builder::{Builder, Decoding, Executes};
pub use error::RunError;
pub use limits::{KeyLimits, Limits};
pub use observe::{Event, Fate, Observer, RunId};
pub use punctuator::{Punctuation, Punctuator};
pub use run::Drained;
pub use stages::{
    Encode, Executed, Filter, Flow, Identity, Map, Propagator, Retry, Stage, StageKind, TOO_LARGE,
    TOO_MANY_HEADERS, Then, UNDECODABLE, UNENCODABLE,
};
pub use workers::Worker;

use crate::record::Topic;
pub use crate::sinks::Ambiguous;
use crate::sinks::{Commits, Sink};
use crate::sources::Source;
use crate::state::Store;
use punctuator::Schedule;
use run::Driver;
use stages::{Context, Pipeline, Propagation};

/// A job executor: stages from decode to encode, to be run between any source and any sink.
///
/// Cloning it is cheap; every worker runs the same stages and the same job sink.
#[derive(Clone)]
pub struct Topology {
    pipeline: Arc<dyn Pipeline>,
    context: Context,
    limits: Limits,
    schedule: Option<Schedule>,
    kept: Kept,
}

/// How keyed state is kept, if a topology has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// In a store, whose changes a member that has lost its partitions can't publish any more.
    Fenced,
    /// In a store.
    Unfenced,
    /// As long as the assignment.
    InMemory,
}

impl Topology {
    /// Begins a topology whose dead letters go to the given topic.
    pub fn builder(dead_letters: impl Into<Topic>) -> Builder {
        Builder::new(dead_letters.into())
    }

    fn new(pipeline: Arc<dyn Pipeline>) -> Self {
        let (context, limits) = (Context::default(), Limits::default());
        Self { pipeline, context, limits, schedule: None, kept: Kept::Fenced }
    }

    /// The same topology with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The same topology with one observer more.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.context.observers.push(observer);
        self
    }

    /// The same topology with a punctuator, in the place of the one that it had: it is called for
    /// every assigned partition, at this interval.
    ///
    /// # Panics
    /// If the interval is zero.
    #[must_use]
    pub fn with_punctuator(mut self, every: Duration, punctuator: Arc<dyn Punctuator>) -> Self {
        assert!(!every.is_zero(), "there is time between two punctuations");
        self.schedule = Some(Schedule { every, punctuator });
        self
    }

    /// The same topology, whose keyed state is in memory only and lives as long as the assignment.
    /// It is run without a store, between any source and any sink.
    #[must_use]
    pub const fn with_state_in_memory(mut self) -> Self {
        self.kept = Kept::InMemory;
        self
    }

    /// The same topology, which may be run with a sink that leaves positions to the source. Nobody
    /// keeps a member that has lost its partitions from changing their state then: jobs may be
    /// repeated that it has noted, and notes of others may be overwritten.
    #[must_use]
    pub const fn with_unfenced_state(mut self) -> Self {
        self.kept = Kept::Unfenced;
        self
    }

    /// The same topology with this propagator, instead of the one that it had.
    #[must_use]
    pub fn with_propagator(mut self, propagator: Arc<dyn Propagator>) -> Self {
        self.context.propagation = Propagation::by(propagator);
        self
    }

    /// The same topology, whose dead letters name this group in `dead-letter-group`: where two
    /// executors read one topic, each finds its own.
    #[must_use]
    pub fn with_group(mut self, group: impl Into<Arc<str>>) -> Self {
        self.context.group = Some(group.into());
        self
    }

    /// The same topology with another seed for the jitter of its waits. With equal seeds, clocks,
    /// sources and sinks, two runs do the same.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.context.seed = seed;
        self
    }

    /// Its stages, in data order, for a picture of it.
    pub fn stages(&self) -> Vec<StageKind> {
        self.pipeline.stages()
    }

    /// Runs until `shutdown` completes, or the source ends, or something breaks. There is no store:
    /// a topology with keyed state is one [in memory](Self::with_state_in_memory).
    ///
    /// On shutdown nothing more is taken in; what is in flight may finish for
    /// [`Limits::shutdown_timeout`] and is published and committed; then source and sink are
    /// closed. What the deadline cuts off is left unfinished, and what is finished above it stays
    /// in the position.
    ///
    /// Everything runs on the caller's task.
    ///
    /// # Cancellation
    /// Dropping the future stops everything at once, as a crash would: what was not committed is
    /// delivered again.
    ///
    /// # Errors
    /// If source or sink break, or [don't keep](RunError::State) the state. A dead letter, a failed job or a passing fault is no error.
    pub async fn run(
        &self,
        source: &dyn Source,
        sink: &dyn Sink,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<Drained, RunError> {
        self.check_state(sink, None)?;
        Driver::new(self, source, sink, None).run(shutdown).await
    }

    /// Runs one worker, with its store, as [`run`](Self::run) does. Before the first record of a
    /// partition its part of the state is restored; a topology without state has no use for a
    /// store.
    ///
    /// # Cancellation
    /// See [`run`](Self::run).
    ///
    /// # Errors
    /// If source, sink or store break, or [don't keep](RunError::State) the state.
    pub async fn run_worker(
        &self,
        worker: &Worker,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<Drained, RunError> {
        let Worker { source, sink, store } = worker;
        self.check_state(&**sink, store.as_deref())?;
        Driver::new(self, &**source, &**sink, store.as_deref()).run(shutdown).await
    }

    /// Whether the ends keep the state as the topology is built to keep it.
    fn check_state(&self, sink: &dyn Sink, store: Option<&dyn Store>) -> Result<(), RunError> {
        if !self.pipeline.is_stateful() {
            return Ok(());
        }
        let (found, expected) = match (self.kept, store, sink.commits()) {
            (Kept::InMemory, None, _)
            | (Kept::Unfenced, Some(_), _)
            | (Kept::Fenced, Some(_), Commits::WithBatches) => return Ok(()),
            (Kept::InMemory, Some(_), _) => {
                ("a store", "none, since it is built by `with_state_in_memory`")
            }
            (_, None, _) => ("no store", "a worker with one, or `with_state_in_memory`"),
            (Kept::Fenced, Some(_), Commits::BySource { .. }) => (
                "a sink that leaves positions to the source, and so fences nobody",
                "an exactly-once pair, or `with_unfenced_state`",
            ),
        };
        Err(RunError::State { found, expected })
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topology")
            .field("limits", &self.limits)
            .field("observers", &self.context.observers)
            .field("propagation", &self.context.propagation)
            .field("group", &self.context.group)
            .field("seed", &self.context.seed)
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}
