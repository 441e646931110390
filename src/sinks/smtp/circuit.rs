//! The circuit: open while the server is away.
//!
//! A server that is away is not a job's fault. Jobs wait without spending attempts and the topology
//! takes in no more of them, so that a long outage fails nothing and fills nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::conversation::after;
use super::observer::{CircuitChange, Observer};

/// Opens on the server's fault, and closes when a probe succeeds. While it is open nothing is sent,
/// and the next probe waits for a back-off that doubles with each failure.
pub(super) struct Circuit {
    backoff_min: Duration,
    backoff_max: Duration,
    open: Mutex<Option<Open>>,
    observer: Arc<dyn Observer>,
    /// Held during a probe.
    pub(super) probe: tokio::sync::Mutex<()>,
}

struct Open {
    reason: String,
    backoff: Duration,
    probe_at: Instant,
}

impl Circuit {
    pub(super) fn new(
        backoff_min: Duration,
        backoff_max: Duration,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let probe = tokio::sync::Mutex::new(());
        Self { backoff_min, backoff_max, open: Mutex::new(None), observer, probe }
    }

    /// Why it is open, if it is.
    pub(super) fn reason(&self) -> Option<String> {
        self.state().as_ref().map(|open| open.reason.clone())
    }

    pub(super) fn is_open(&self) -> bool {
        self.state().is_some()
    }

    /// When the next probe is due, if it is open.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.state().as_ref().map(|open| open.probe_at)
    }

    /// A send has met the server's fault. If the circuit is open already, that is known.
    pub(super) fn open(&self, reason: &str) {
        let mut state = self.state();
        if state.is_none() {
            let (backoff, probe_at) = (self.backoff_min, after(self.backoff_min));
            *state = Some(Open { reason: reason.to_owned(), backoff, probe_at });
            drop(state);
            self.observer.circuit(&CircuitChange::Opened { reason: reason.to_owned() });
        }
    }

    /// A probe has failed.
    pub(super) fn stay_open(&self, reason: &str) {
        let mut state = self.state();
        let Some(open) = state.as_mut() else { return };
        open.backoff = (open.backoff * 2).min(self.backoff_max);
        open.probe_at = after(open.backoff);
        if open.reason != reason {
            reason.clone_into(&mut open.reason);
            drop(state);
            self.observer.circuit(&CircuitChange::StillOpen { reason: reason.to_owned() });
        }
    }

    /// A probe has succeeded.
    pub(super) fn close(&self) {
        let was_open = self.state().take().is_some();
        if was_open {
            self.observer.circuit(&CircuitChange::Closed);
        }
    }

    fn state(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
