//! The count of connections.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections there are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Open now. A connection is open from the moment at which the server takes it up until it
    /// notices that the client has closed it, or closes it itself.
    pub open: u64,
    /// The most that were ever open at once.
    pub peak: u64,
    /// All that there ever were: the number of the last one.
    pub total: u64,
}

/// The counter behind [`Connections`].
#[derive(Clone, Debug, Default)]
pub(super) struct ConnectionCount {
    shared: Arc<Mutex<Connections>>,
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    count: ConnectionCount,
    pub(super) number: u64,
    /// How many are open, this one included.
    pub(super) open: u64,
}

impl ConnectionCount {
    pub(super) fn open(&self) -> OpenConnection {
        let mut shared = self.lock();
        shared.total += 1;
        shared.open += 1;
        shared.peak = shared.peak.max(shared.open);
        OpenConnection { count: self.clone(), number: shared.total, open: shared.open }
    }

    pub(super) fn get(&self) -> Connections {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.count.lock().open -= 1;
    }
}
