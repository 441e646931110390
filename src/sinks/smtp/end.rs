//! What becomes of a mail on a connection, and whether it counts.
//!
//! Servers limit the mails of a connection, refuse commands that come early, or ignore some of
//! them, so that replies are one short. None of that is the fault of the mail that meets it. A mail
//! that was certainly not sent is therefore tried once more, alone on a fresh connection, which
//! shows the cause: a refusal that comes again is the mail's own, and changes nothing for other
//! mails. If the answer is another one, the connection was the cause, and the pool adapts: no mail
//! follows another for a minute, or for ten minutes no connection carries more mails than that one
//! had.

use std::mem::discriminant;
use std::time::Duration;

use super::config::TimeLimits;
use super::conversation::NoAnswer;
use super::reply::Reply;

/// What became of a mail.
#[derive(Debug)]
pub(super) enum End {
    /// The server has it.
    Accepted(Reply),
    /// The server does not want it: 4yz or 5yz.
    Refused(Exchange, Reply),
    /// An address in it needs SMTPUTF8, which the server does not offer.
    NoSmtputf8,
    /// No answer, and the final dot was not begun to be written.
    Unsent(Exchange, NoAnswer),
    /// A connection out of the pool was closed before the first answer, or wants no RSET.
    Stale,
    /// No answer after a write that holds the final dot had begun.
    Ambiguous(NoAnswer),
}

impl End {
    /// Whether both are the same refusal, for now or for good, in answer to the same part; or the
    /// connection was lost there both times.
    pub(super) fn is_same_refusal(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Refused(exchange, reply), Self::Refused(other_exchange, other)) => {
                exchange == other_exchange && reply.code / 100 == other.code / 100
            }
            (Self::Unsent(exchange, lost), Self::Unsent(other_exchange, other)) => {
                exchange == other_exchange && discriminant(lost) == discriminant(other)
            }
            _ => false,
        }
    }

    /// Why it does not count, if so, on a connection that had carried so many mails before.
    pub(super) fn again(&self, follows: bool, mails_before: u32) -> Option<Again> {
        match self {
            Self::Accepted(_) | Self::NoSmtputf8 | Self::Ambiguous(_) => None,
            Self::Stale if follows => Some(Again::Followed),
            Self::Refused(exchange, _) | Self::Unsent(exchange, _)
                if follows && *exchange != Exchange::Message =>
            {
                Some(Again::Followed)
            }
            Self::Refused(_, reply) if mails_before > 0 && reply.code / 100 == 4 => {
                Some(Again::Spent(mails_before))
            }
            // MAIL says nothing of the recipient: the limit may be meant here, too.
            Self::Refused(Exchange::Mail, reply)
                if mails_before > 0 && !is_servers_fault(reply) =>
            {
                Some(Again::Spent(mails_before))
            }
            // A reply that nothing had asked for.
            Self::Unsent(Exchange::Message, NoAnswer::Unexpected(_)) => Some(Again::Lost),
            Self::Refused(..) | Self::Unsent(_, NoAnswer::TimedOut(_)) => None,
            Self::Unsent(..) => (mails_before > 0).then_some(Again::Lost),
            Self::Stale => Some(Again::Lost),
        }
    }
}

/// Why an end does not count yet: the mail was certainly not sent, and what was on its connection
/// before it may be to blame. It is asked again, once, on a fresh connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// The connection was closed, or its replies were out of step.
    Lost,
    /// Its commands stood behind the final dot of another mail.
    Followed,
    /// A 4yz, or a 5yz to MAIL, where the connection had carried so many mails before: its limit,
    /// perhaps.
    Spent(u32),
}

/// A command of the transaction, or its message, with the reply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    Rset,
    Mail,
    Rcpt,
    Data,
    Message,
}

impl Exchange {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rset => "RSET",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
            Self::Message => "message",
        }
    }

    pub(super) const fn is_accepted_by(self, reply: &Reply) -> bool {
        match self {
            Self::Data => reply.code == 354,
            _ => reply.is_positive(),
        }
    }

    pub(super) const fn limit(self, limits: &TimeLimits) -> Duration {
        match self {
            Self::Data => limits.data,
            _ => limits.command,
        }
    }
}

/// Whether a reply may be the server's own fault, not the job's: it is going away (421), or wants a
/// login (530) or another one (535). See [`HangUps`](super::hang_ups::HangUps).
pub(super) const fn is_servers_fault(reply: &Reply) -> bool {
    matches!(reply.code, 421 | 530 | 535)
}
