//! A wake-up for the thread that polls.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Raised when there is something to do. Raising it while nobody waits is not lost.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn raise(&self) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *raised, true) {
            self.changed.notify_one();
        }
    }

    /// Waits until it is raised, but not longer than `limit`, and lowers it.
    pub(super) fn wait(&self, limit: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(raised, limit, |raised| !*raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
