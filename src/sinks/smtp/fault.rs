//! The server's own faults, which fail no job.

use super::observer::Phase;

/// Why no connection could be opened, up to the point where mails can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{phase}: {reason}")]
pub struct ServerFault {
    phase: Phase,
    kind: ServerFaultKind,
    reason: String,
}

/// What kind of fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerFaultKind {
    /// It cannot be reached, or says nothing, or no SMTP: worth waiting for.
    Unreachable,
    /// It answered that it does not want to: 4yz or 5yz before any mail.
    Refused,
    /// Its certificate does not hold: the authority, the name or the time.
    Certificate,
    /// TLS failed, or is required and not offered.
    Tls,
    /// The login was refused.
    Login,
    /// It offers nothing by which the login may travel: neither TLS nor leave to go without.
    Plaintext,
    /// It offers none of the mechanisms PLAIN and LOGIN.
    Mechanism,
    /// It does not offer SMTPUTF8, which the envelope's sender needs.
    Smtputf8,
}

impl ServerFault {
    pub(super) fn new(phase: Phase, kind: ServerFaultKind, reason: impl Into<String>) -> Self {
        Self { phase, kind, reason: reason.into() }
    }

    /// Whether a server that serves other connections may do so to a further one, since it has a
    /// limit of them: it is silent, closes it, or says no.
    pub(super) const fn may_be_a_limit(&self) -> bool {
        matches!(self.kind, ServerFaultKind::Unreachable | ServerFaultKind::Refused)
    }

    /// When it happened.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What kind it is.
    pub const fn kind(&self) -> ServerFaultKind {
        self.kind
    }

    /// The reason, for people; never with a credential.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
