//! What a sink reports about itself, for metrics, traces and logs.

use std::fmt;
use std::time::Duration;

/// Hears what a sink does. Every method does nothing unless it is written.
///
/// They are called in the middle of a send, on its task: they must be quick, and must not block.
pub trait Observer: Send + Sync {
    /// A phase has ended, well or not; a phase that is cancelled is not reported.
    fn phase(&self, phase: Phase, elapsed: Duration, succeeded: bool) {
        let _ = (phase, elapsed, succeeded);
    }

    /// The circuit has opened or closed: one call a change.
    fn circuit(&self, change: &CircuitChange) {
        let _ = change;
    }

    /// The number of open connections, or of sends that wait for one, has changed.
    fn connections(&self, open: usize, waiting: usize) {
        let _ = (open, waiting);
    }
}

/// Hears nothing.
impl Observer for () {}

/// A part of what a mail needs, in order; the first six only with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Until the stream is open.
    Connect,
    /// The handshake, with STARTTLS before it where that is used.
    Tls,
    /// The server's first reply.
    Greeting,
    /// EHLO and its reply.
    Ehlo,
    /// AUTH.
    Auth,
    /// NOOP, which asks an idle connection whether the server is back.
    Noop,
    /// MAIL, RCPT and DATA; short where they were written behind the mail before.
    Envelope,
    /// Writing the message.
    Body,
    /// From the final dot to its answer.
    FinalReply,
}

impl Phase {
    /// A short name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::Auth => "auth",
            Self::Noop => "noop",
            Self::Envelope => "envelope",
            Self::Body => "body",
            Self::FinalReply => "final reply",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A change of the circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CircuitChange {
    /// The server is away: nothing is sent until a probe succeeds.
    Opened {
        /// Why, for people; never with a credential.
        reason: String,
    },
    /// A probe has failed for another reason than the last.
    StillOpen {
        /// Why, for people; never with a credential.
        reason: String,
    },
    /// The server is back.
    Closed,
}

impl fmt::Display for CircuitChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened { reason } => write!(f, "mail server unavailable: {reason}"),
            Self::StillOpen { reason } => write!(f, "mail server still unavailable: {reason}"),
            Self::Closed => f.write_str("mail server available"),
        }
    }
}
