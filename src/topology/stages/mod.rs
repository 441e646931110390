//! The stages of a topology in data order, and how a record passes through them.

mod dead_letter;
mod encode;
mod execute;
mod pipeline;
mod propagator;
mod retry;
mod stage;

use std::sync::Arc;

pub(super) use dead_letter::{DeadLetters, MOST_REFUSALS};
pub use dead_letter::{TOO_LARGE, TOO_MANY_HEADERS, UNDECODABLE, UNENCODABLE};
pub use encode::Encode;
pub use execute::Executed;
pub(super) use execute::{Execution, States, Wait};
pub(super) use pipeline::{
    Admitted, Executing, ExecutionEnd, Finished, Front, JobKeys, KeyHash, KeyOf, Limited, Pipeline,
    Straight, too_large,
};
pub(super) use propagator::Propagation;
pub use propagator::Propagator;
pub use retry::Retry;
pub use stage::{Filter, Flow, Identity, Map, Stage, StageKind, Then};

use super::observe::Observers;

/// What the stages of a run share.
#[derive(Clone, Default)]
pub(super) struct Context {
    pub(super) observers: Observers,
    pub(super) propagation: Propagation,
    /// The group that it runs in, if it was said.
    pub(super) group: Option<Arc<str>>,
    /// Seeds the jitter of the waits.
    pub(super) seed: u64,
}
