//! The moment from which an execution can't be taken back.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether an execution has begun to have its effect: from then on, nobody can say of a job whose
/// execution is dropped whether it was executed.
///
/// Whoever executes a job by [`JobSink::execute_with_effect`] hands one in and reads it once the
/// execution was dropped; the job sink marks on it how far it is. Mark and effect lie in one poll, so
/// who has found no mark, and drops the future, knows that nothing was done.
///
/// [`JobSink::execute_with_effect`]: super::JobSink::execute_with_effect
#[derive(Debug, Default)]
pub struct Effect {
    has_begun: AtomicBool,
}

impl Effect {
    /// Of an execution that has had no effect yet.
    pub const fn new() -> Self {
        Self { has_begun: AtomicBool::new(false) }
    }

    /// The effect begins now: to be called before the first step that may bring it about.
    pub fn begin(&self) {
        self.has_begun.store(true, Ordering::Relaxed);
    }

    /// It is certain that the effect was not had, and another try follows within the execution.
    pub fn take_back(&self) {
        self.has_begun.store(false, Ordering::Relaxed);
    }

    /// Whether the effect was had, or may have been.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Relaxed)
    }
}
