//! How many connections are open, and how many sends wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::observer::Observer;

/// The two numbers; the observer is notified when they change.
pub(super) struct Gauge {
    open: AtomicUsize,
    waiting: AtomicUsize,
    observer: Arc<dyn Observer>,
}

/// Counts as an open connection while it lives.
pub(super) struct OpenConnection(Arc<Gauge>);

/// Counts as a waiting send while it lives.
pub(super) struct Waiting<'a>(&'a Gauge);

impl Gauge {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), waiting: AtomicUsize::new(0), observer })
    }

    pub(super) fn open(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Relaxed);
        self.tell();
        OpenConnection(Arc::clone(self))
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        self.tell();
        Waiting(self)
    }

    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    fn tell(&self) {
        self.observer.connections(self.open.load(Relaxed), self.waiting.load(Relaxed));
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
        self.0.tell();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.tell();
    }
}
