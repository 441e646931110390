//! How many connections are open, and how many sends wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::observer::Observer;

/// The numbers; the observer is notified when one of the first two changes.
pub(super) struct Gauge {
    open: AtomicUsize,
    waiting: AtomicUsize,
    /// Those of the open connections on which mails can be sent.
    established: AtomicUsize,
    observer: Arc<dyn Observer>,
}

/// Counts as an open connection while it lives.
pub(super) struct OpenConnection {
    gauge: Arc<Gauge>,
    is_established: bool,
}

/// Counts as a waiting send while it lives.
pub(super) struct Waiting<'a>(&'a Gauge);

impl Gauge {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Arc<Self> {
        let (open, waiting, established) = Default::default();
        Arc::new(Self { open, waiting, established, observer })
    }

    pub(super) fn open(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Relaxed);
        self.tell();
        OpenConnection { gauge: Arc::clone(self), is_established: false }
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        self.tell();
        Waiting(self)
    }

    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Whether there is a connection on which mails can be sent.
    pub(super) fn has_established(&self) -> bool {
        self.established.load(Relaxed) > 0
    }

    fn tell(&self) {
        self.observer.connections(self.open.load(Relaxed), self.waiting.load(Relaxed));
    }
}

impl OpenConnection {
    /// Mails can be sent on it from now on.
    pub(super) fn establish(&mut self) {
        if !std::mem::replace(&mut self.is_established, true) {
            self.gauge.established.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if self.is_established {
            self.gauge.established.fetch_sub(1, Relaxed);
        }
        self.gauge.open.fetch_sub(1, Relaxed);
        self.gauge.tell();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.tell();
    }
}
