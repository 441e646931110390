//! The lines of the mail servers: one a change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobstream::sinks::smtp::{CircuitChange, Event, MailConfig, Observer};
use jobstream_service::without_addresses;
use tracing::{info, warn};

/// Logs whether the mail servers are there, once for all sinks that find out.
pub(crate) struct MailLog {
    /// How many there are: where there are several, lines name the one that they are about.
    relays: usize,
    /// Why those that are away are, as it was last logged.
    away: Mutex<BTreeMap<String, String>>,
}

impl MailLog {
    pub(crate) fn of(config: &MailConfig) -> Arc<Self> {
        Arc::new(Self { relays: config.relays.len(), away: Mutex::default() })
    }

    /// What logs what a sink finds out about a relay.
    pub(crate) fn relay(self: &Arc<Self>, name: &str) -> Arc<RelayLog> {
        Arc::new(RelayLog { log: self.clone(), name: name.to_owned() })
    }

    /// A relay is away; the same reason is logged once.
    pub(crate) fn is_away(&self, relay: &str, reason: &str) {
        let reason = without_addresses(reason);
        let mut away = self.away();
        if away.get(relay) == Some(&reason) {
            return;
        }
        let line = reason.clone();
        away.insert(relay.to_owned(), reason);
        let are_all = away.len() == self.relays;
        drop(away);
        match (self.relays, are_all) {
            (1, _) => warn!("Mail server unavailable, waiting: {line}"),
            (_, true) => warn!("Mail server {relay} unavailable, as all are, waiting: {line}"),
            (_, false) => warn!("Mail server {relay} unavailable, another is used: {line}"),
        }
    }

    /// A relay is there; logged if it was away.
    pub(crate) fn is_back(&self, relay: &str) {
        let was_away = self.away().remove(relay).is_some();
        match self.relays {
            _ if !was_away => {}
            1 => info!("Mail server available"),
            _ => info!("Mail server {relay} available"),
        }
    }

    fn away(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs whether one relay is there.
pub(crate) struct RelayLog {
    log: Arc<MailLog>,
    name: String,
}

impl Observer for RelayLog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::CircuitChanged(
                CircuitChange::Opened { reason } | CircuitChange::StillOpen { reason },
            ) => self.log.is_away(&self.name, reason),
            Event::CircuitChanged(CircuitChange::Closed) => self.log.is_back(&self.name),
            _ => {}
        }
    }
}
