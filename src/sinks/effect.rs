//! How far an execution is: whether its time counts, and whether it can be taken back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How far an execution is. Once it has begun to have its effect, nobody can say of a job whose
/// execution is dropped whether it was executed.
///
/// Whoever executes a job by [`JobSink::execute_with_effect`] hands one in and reads it once the
/// execution was dropped; the job sink marks on it how far it is. Mark and effect lie in one poll, so
/// who has found no mark, and drops the future, knows that nothing was done. A clone is the same
/// effect.
///
/// [`JobSink::execute_with_effect`]: super::JobSink::execute_with_effect
#[derive(Clone, Debug, Default)]
pub struct Effect(Arc<State>);

#[derive(Debug, Default)]
struct State {
    has_begun: AtomicBool,
    waits: AtomicBool,
}

impl Effect {
    /// Of an execution that has had no effect yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The effect begins now: to be called before the first step that may bring it about.
    pub fn begin(&self) {
        self.0.has_begun.store(true, Ordering::Relaxed);
    }

    /// It is certain that the effect was not had, and another try follows within the execution.
    pub fn take_back(&self) {
        self.0.has_begun.store(false, Ordering::Relaxed);
    }

    /// Whether the effect was had, or may have been.
    pub fn has_begun(&self) -> bool {
        self.0.has_begun.load(Ordering::Relaxed)
    }

    /// Waits within an execution for what is not its own: its turn, or a connection to a receiver that
    /// may be away. That time does not count towards the attempt's
    /// [time limit](crate::topology::Retry::attempt_timeout), so the job sink has to bound the wait
    /// itself.
    ///
    /// # Cancellation
    /// Dropped, the wait is not over: the execution is to be dropped, too.
    pub async fn wait_for<T>(&self, what: impl Future<Output = T>) -> T {
        self.0.waits.store(true, Ordering::Relaxed);
        let there = what.await;
        self.0.waits.store(false, Ordering::Relaxed);
        there
    }

    /// Whether the execution waits for what is not its own.
    pub(super) fn waits(&self) -> bool {
        self.0.waits.load(Ordering::Relaxed)
    }
}
