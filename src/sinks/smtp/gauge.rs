//! How many connections are open, and how many sends wait for one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::observer::{Event, Observer};

/// The numbers; the observer is notified when one of the first two changes.
pub(super) struct Gauge {
    open: AtomicUsize,
    waiting: AtomicUsize,
    /// Those of the open connections on which mails can be sent.
    established: AtomicUsize,
    /// Openings that have come to nothing for long.
    stuck: AtomicUsize,
    observer: Arc<dyn Observer>,
}

/// Counts as an open connection while it lives.
pub(super) struct OpenConnection {
    gauge: Arc<Gauge>,
    is_established: bool,
}

/// Counts as a waiting send while it lives.
pub(super) struct Waiting<'a>(&'a Gauge);

/// Counts as an opening that has come to nothing for long, while it lives.
pub(super) struct Stuck<'a>(&'a Gauge);

impl Gauge {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Arc<Self> {
        let (open, waiting, established, stuck) = Default::default();
        Arc::new(Self { open, waiting, established, stuck, observer })
    }

    pub(super) fn open(self: &Arc<Self>) -> OpenConnection {
        self.open.fetch_add(1, Relaxed);
        self.report();
        OpenConnection { gauge: Arc::clone(self), is_established: false }
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        self.report();
        Waiting(self)
    }

    pub(super) fn is_stuck(&self) -> Stuck<'_> {
        self.stuck.fetch_add(1, Relaxed);
        Stuck(self)
    }

    pub(super) fn stuck(&self) -> usize {
        self.stuck.load(Relaxed)
    }

    /// Whether a send waits for a connection.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.load(Relaxed) > 0
    }

    pub(super) fn open_connections(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Whether there is a connection on which mails can be sent.
    pub(super) fn has_established(&self) -> bool {
        self.established.load(Relaxed) > 0
    }

    /// So many connections are left out.
    pub(super) fn left_out(&self, connections: usize) {
        self.observer.on(&Event::LeftOut { connections });
    }

    fn report(&self) {
        let (open, waiting) = (self.open.load(Relaxed), self.waiting.load(Relaxed));
        self.observer.on(&Event::Connections { open, waiting });
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
        self.gauge.report();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
        self.0.report();
    }
}

impl Drop for Stuck<'_> {
    fn drop(&mut self) {
        self.0.stuck.fetch_sub(1, Relaxed);
    }
}
