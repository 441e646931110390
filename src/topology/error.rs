//! What stops a run.

use crate::sinks::SinkError;
use crate::sources::{CommitError, SourceError};
use crate::state::StoreError;

/// A broken source, sink or store, or one that the topology must not be run with: the only things
/// that stop a run. What was in flight is left unfinished and is delivered again.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A topology with keyed state was to be run between ends that don't keep it as the topology is
    /// built to keep it. Nothing has begun.
    #[error("the topology has keyed state: found {found}, expected {expected}")]
    State {
        /// What the run was given.
        found: &'static str,
        /// What it is to be given, or how the topology is to be built.
        expected: &'static str,
    },
    /// The source is broken.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source can't commit any more.
    #[error(transparent)]
    Commit(CommitError),
    /// The sink is broken.
    #[error(transparent)]
    Sink(SinkError),
    /// The store is broken.
    #[error(transparent)]
    Store(StoreError),
}
