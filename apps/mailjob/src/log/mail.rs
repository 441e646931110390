//! The lines of the mail server: one a change.

use std::sync::{Mutex, PoisonError};

use jobstream::sinks::smtp::{CircuitChange, Observer};
use jobstream_service::without_addresses;
use tracing::{info, warn};

/// Logs whether the mail server is there, whoever finds out.
#[derive(Default)]
pub(crate) struct MailLog {
    /// Why it is away, as it was last logged.
    away: Mutex<Option<String>>,
}

impl MailLog {
    /// It is away; the same reason is logged once.
    pub(crate) fn is_away(&self, reason: &str) {
        let reason = without_addresses(reason);
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.as_ref() != Some(&reason) {
            warn!("Mail server unavailable, waiting: {reason}");
            *away = Some(reason);
        }
    }

    /// It is there; logged if it was away.
    pub(crate) fn is_back(&self) {
        let was_away = self.away.lock().unwrap_or_else(PoisonError::into_inner).take().is_some();
        if was_away {
            info!("Mail server available");
        }
    }
}

impl Observer for MailLog {
    fn circuit(&self, change: &CircuitChange) {
        match change {
            CircuitChange::Opened { reason } | CircuitChange::StillOpen { reason } => {
                self.is_away(reason);
            }
            CircuitChange::Closed => self.is_back(),
        }
    }
}
