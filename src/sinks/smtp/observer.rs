//! What a sink reports about itself, for metrics, traces and logs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Is notified of what a sink does at one of its servers, in the middle of a send, on its task: it
/// must return soon and must not block. Closures implement it.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn on(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Ignores every event.
impl Observer for () {
    fn on(&self, _: &Event<'_>) {}
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

/// Notifies all of them, in order.
impl<O: Observer> Observer for Vec<O> {
    fn on(&self, event: &Event<'_>) {
        self.iter().for_each(|observer| observer.on(event));
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A phase has ended, well or not; a phase that is cancelled is not reported.
    PhaseEnded {
        /// The phase.
        phase: Phase,
        /// How long it took.
        took: Duration,
        /// Whether it has ended well.
        succeeded: bool,
    },
    /// The circuit has opened or closed: one event a change.
    CircuitChanged(&'a CircuitChange),
    /// The number of open connections, or of sends that wait for one, has changed.
    Connections {
        /// How many are open.
        open: usize,
        /// How many sends wait.
        waiting: usize,
    },
    /// The number of connections has changed that are not opened for a while, though they are
    /// allowed: the server let others like them wait, or refused them, while it served some.
    LeftOut {
        /// How many.
        connections: usize,
    },
}

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
