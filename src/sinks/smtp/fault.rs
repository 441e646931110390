//! The server's own faults, which fail no job.

use super::observer::Phase;

/// Why no connection could be opened, up to the point where mails can be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", named(*.phase))]
pub struct ServerFault {
    phase: Phase,
    kind: ServerFaultKind,
    reason: String,
    is_given_up: bool,
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
    /// It takes no mails of the envelope's sender: 4yz or 5yz to MAIL, other than 421, 530 and 535.
    Sender,
}

/// The phase before the reason, which names the command itself once a mail is begun.
fn named(phase: Phase) -> String {
    if phase == Phase::Envelope { String::new() } else { format!("{phase}: ") }
}

impl ServerFault {
    pub(super) fn new(phase: Phase, kind: ServerFaultKind, reason: impl Into<String>) -> Self {
        Self { phase, kind, reason: reason.into(), is_given_up: false }
    }

    /// It was no answer of the server: the connection was given up for another one.
    pub(super) fn given_up(self) -> Self {
        Self { is_given_up: true, ..self }
    }

    pub(super) const fn is_given_up(&self) -> bool {
        self.is_given_up
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
