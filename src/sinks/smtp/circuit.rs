//! The circuit: open while the server is away.
//!
//! A server that is away is not a job's fault. Jobs wait without spending attempts and the topology
//! takes in no more of them, so that a long outage fails nothing and fills nothing.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::conversation::after;
use super::observer::{CircuitChange, Event, Observer};

/// Opens on the server's fault, and closes when a probe succeeds. While it is open nothing is sent,
/// and the next probe waits for a back-off that doubles with each failure.
///
/// A probe ends before the first recipient. So a circuit that a mail has opened closes *on trial*:
/// until the server answers a mail, the fault is not over, and none of that is reported.
pub(super) struct Circuit {
    backoff_min: Duration,
    backoff_max: Duration,
    state: Mutex<State>,
    observer: Arc<dyn Observer>,
    has_opened: Notify,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open {
        fault: Fault,
        probe_at: Instant,
    },
    OnTrial(Fault),
}

struct Fault {
    reason: String,
    met: Met,
    backoff: Duration,
}

/// Where a server's fault was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// Before any mail.
    Connecting,
    /// In the midst of a mail.
    Sending,
}

impl Circuit {
    pub(super) fn new(
        backoff_min: Duration,
        backoff_max: Duration,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let (state, has_opened) = Default::default();
        Self { backoff_min, backoff_max, state, observer, has_opened }
    }

    /// Why it is open, if it is.
    pub(super) fn reason(&self) -> Option<String> {
        match &*self.state() {
            State::Open { fault, .. } => Some(fault.reason.clone()),
            _ => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.probe_at().is_some()
    }

    /// Completes when it is open.
    pub(super) async fn opened(&self) {
        loop {
            let mut has_opened = pin!(self.has_opened.notified());
            has_opened.as_mut().enable();
            if self.is_open() {
                return;
            }
            has_opened.await;
        }
    }

    /// When the next probe is due, if it is open.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match *self.state() {
            State::Open { probe_at, .. } => Some(probe_at),
            _ => None,
        }
    }

    /// Whether it is open for a fault that was met in the midst of a mail.
    pub(super) fn was_met_sending(&self) -> bool {
        matches!(&*self.state(), State::Open { fault, .. } if fault.met == Met::Sending)
    }

    /// A send has met the server's fault. If the circuit is open already, that is known.
    pub(super) fn open(&self, reason: &str, met: Met) {
        let mut state = self.state();
        let (fault, change) = match std::mem::take(&mut *state) {
            open @ State::Open { .. } => {
                *state = open;
                return;
            }
            State::Closed => {
                let fault = Fault { reason: reason.to_owned(), met, backoff: self.backoff_min };
                (fault, Some(CircuitChange::Opened { reason: reason.to_owned() }))
            }
            State::OnTrial(mut fault) => {
                fault.met = met;
                let change = self.still_open(&mut fault, reason);
                (fault, change)
            }
        };
        let probe_at = after(fault.backoff);
        *state = State::Open { fault, probe_at };
        drop(state);
        self.has_opened.notify_waiters();
        self.report(change);
    }

    /// A probe has failed.
    pub(super) fn stay_open(&self, reason: &str) {
        let mut state = self.state();
        let State::Open { fault, probe_at } = &mut *state else { return };
        let change = self.still_open(fault, reason);
        *probe_at = after(fault.backoff);
        drop(state);
        self.report(change);
    }

    /// The fault is not over; something to report if the reason is another one.
    fn still_open(&self, fault: &mut Fault, reason: &str) -> Option<CircuitChange> {
        fault.backoff = (fault.backoff * 2).min(self.backoff_max);
        if fault.reason == reason {
            return None;
        }
        reason.clone_into(&mut fault.reason);
        Some(CircuitChange::StillOpen { reason: reason.to_owned() })
    }

    /// A probe has succeeded.
    pub(super) fn close(&self) {
        let mut state = self.state();
        match std::mem::take(&mut *state) {
            State::Open { fault, .. } if fault.met == Met::Sending => {
                *state = State::OnTrial(fault);
            }
            State::Open { .. } => {
                drop(state);
                self.report(Some(CircuitChange::Closed));
            }
            other => *state = other,
        }
    }

    /// The server has answered a mail for itself, whatever it said.
    pub(super) fn answered(&self) {
        let mut state = self.state();
        if matches!(*state, State::OnTrial(_)) {
            *state = State::Closed;
            drop(state);
            self.report(Some(CircuitChange::Closed));
        }
    }

    fn report(&self, change: Option<CircuitChange>) {
        if let Some(change) = change {
            self.observer.on(&Event::CircuitChanged(&change));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
