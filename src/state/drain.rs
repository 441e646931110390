//! The end of a drain, as the jobs of its partition learn of it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether the time is over in which the jobs of a partition that drains may execute. It comes once
/// at most.
#[derive(Debug, Default)]
pub(crate) struct DrainEnd {
    has_come: AtomicBool,
    comes: Notify,
}

impl DrainEnd {
    /// The time is over; jobs that wait for that go on in the order in which they came.
    pub(crate) fn come(&self) {
        self.has_come.store(true, Ordering::Relaxed);
        self.comes.notify_waiters();
    }

    pub(crate) fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }

    /// Completes when the time is over. Cancelled, nothing has changed.
    pub(crate) async fn comes(&self) {
        if !self.has_come() {
            self.comes.notified().await;
        }
    }
}
