//! One mail on one connection: MAIL, RCPT, DATA, the message, and the answer to its final dot.
//!
//! Where PIPELINING is offered (RFC 2920) the three commands are one write. The message and its
//! final dot are another: from the moment it begins, only a reply says what became of the mail.
//!
//! Where mails wait for a connection, the three commands of the next one stand behind the final dot
//! in the same write (RFC 2920 section 3.1 allows it): a mail then costs one round trip, not two.
//! Nothing is risked by it, since only the message itself makes a mail of these commands. The next
//! mail is held up by a server that is slow to answer the final dot; so it follows only where the
//! last answer came soon, and goes back to the queue if this one does not.
//!
//! The next mail is not to blame for what happened to earlier mails on its connection: some ends do
//! not count until the mail was asked again on a fresh one (see [`End::again`]).

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::commands::{Data, Mail as MailCommand, Rcpt, Rset};
use lettre::transport::smtp::extension::{MailBodyParameter, MailParameter};
use tokio::time::Instant;

use super::circuit::Circuit;
use super::config::TimeLimits;
use super::conversation::{Conversation, NoAnswer, after};
use super::end::{Again, End, Exchange, is_servers_fault};
use super::extensions::Extensions;
use super::fault::{ServerFault, ServerFaultKind};
use super::message::Mail;
use super::observer::{Event, Observer, Phase};
use super::pool::{Follower, Pool};
use super::reply::Reply;
use crate::sinks::Effect;

/// The last write of a message, in bytes: it holds the final dot. What of the message stands before
/// it is written first, and what fails there has certainly not been accepted.
const LAST_WRITE_BYTES: usize = 64 * 1024;

/// The longest message behind which the next mail's commands are written, in bytes: the two are
/// gathered in the connection's memory, which stays.
const FOLLOWED_LIMIT_BYTES: usize = 8 * 1024;

/// How soon a final dot must have been answered for the next mail to be followed.
const SOON: Duration = Duration::from_millis(500);

/// How long a mail that follows another waits for its server before it goes elsewhere.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the last words of a server are waited for, once a write to it has failed: they may have
/// arrived without having been noticed yet.
const PARTING_LIMIT: Duration = Duration::from_secs(1);

/// The three commands, with the one that is due after a refused mail.
const EXCHANGES: [Exchange; 4] = [Exchange::Rset, Exchange::Mail, Exchange::Rcpt, Exchange::Data];

/// Sends mails of one envelope sender.
pub(super) struct MailTransaction<'a> {
    pub(super) mail_from: &'a Address,
    pub(super) limits: &'a TimeLimits,
    pub(super) observer: &'a dyn Observer,
    /// Where the next mail is found. None follows while the circuit is open.
    pub(super) pool: &'a Arc<Pool>,
    pub(super) circuit: &'a Circuit,
    /// Begins with the write that holds the final dot.
    pub(super) effect: &'a Effect,
}

/// What is left of a mail that was sent, or not.
pub(super) struct Sent {
    pub(super) end: End,
    /// Why the end does not count yet, if it does not.
    pub(super) again: Option<Again>,
    /// The connection, if it can go on.
    pub(super) conversation: Option<Conversation>,
    /// Whose commands are written on it.
    pub(super) follower: Option<Follower>,
}

impl MailTransaction<'_> {
    /// Sends a mail, and gives the connection back if the conversation ended cleanly. Dropping the
    /// future closes the connection.
    pub(super) async fn send(&self, mut conversation: Conversation, mail: &Mail) -> Sent {
        if mail.needs_smtputf8 && !conversation.extensions.smtputf8 {
            let conversation = Some(conversation);
            return Sent { end: End::NoSmtputf8, again: None, conversation, follower: None };
        }
        conversation.begin(after(self.limits.whole));
        let follows = std::mem::take(&mut conversation.is_ahead);
        let mails_before = conversation.mails;
        conversation.mails += 1;
        let start = Instant::now();
        let envelope = self.envelope(&mut conversation, mail, follows).await;
        self.phase_ended(Phase::Envelope, start.elapsed(), envelope.is_ok());
        let (end, follower) = match envelope {
            Ok(()) => self.message(&mut conversation, &mail.data).await,
            Err(end) => (end, None),
        };
        if matches!(end, End::Accepted(_)) {
            self.pool.session_limit().carried(conversation.mails);
        }
        let again = end.again(follows, mails_before);
        let conversation = conversation.if_clean().filter(|c| c.is_ahead == follower.is_some());
        Sent { end, again, conversation, follower }
    }

    /// MAIL, RCPT and DATA: `Ok` if the server waits for the message.
    async fn envelope(&self, c: &mut Conversation, mail: &Mail, follows: bool) -> Result<(), End> {
        let exchanges = if c.needs_reset && !follows { &EXCHANGES[..] } else { &EXCHANGES[1..] };
        let pipelining = c.extensions.pipelining;
        if pipelining && !follows {
            for exchange in exchanges {
                self.queue(c, *exchange, mail);
            }
            c.flush(self.limits.command)
                .await
                .map_err(|error| unsent(c, exchanges[0], error, true))?;
        }
        let mut refusal = None;
        for (i, &exchange) in exchanges.iter().enumerate() {
            if !pipelining {
                self.queue(c, exchange, mail);
                let flushed = c.flush(self.limits.command).await;
                flushed.map_err(|error| unsent(c, exchange, error, i == 0))?;
            }
            let limit = exchange.limit(self.limits);
            let limit = if follows { limit.min(PATIENCE) } else { limit };
            let reply = match (c.reply(limit).await, refusal) {
                (Ok(reply), None) => reply,
                // The reply to another command: then the refusal may be, too.
                (Ok(reply), Some(_)) if exchange == Exchange::Data && reply.is_positive() => {
                    return Err(End::Unsent(exchange, NoAnswer::Unexpected(reply)));
                }
                (Ok(reply), Some(refused)) => {
                    // RFC 2920 section 3.1: the server may wait for a message all the same.
                    if reply.code == 421 || reply.code == 354 && !self.lone_dot(c).await {
                        return Err(refused);
                    }
                    refusal = Some(refused);
                    continue;
                }
                (Err(no_answer @ NoAnswer::TimedOut(_)), None) if follows => {
                    self.pool.let_none_follow();
                    return Err(End::Unsent(exchange, no_answer));
                }
                (Err(no_answer), None) => return Err(unsent(c, exchange, no_answer, i == 0)),
                (Err(_), Some(refused)) => return Err(refused),
            };
            if exchange.is_accepted_by(&reply) {
                refusal = None;
                continue;
            }
            let refused = refused(c, exchange, reply, i == 0)?;
            if follows {
                // The server may have passed over a command: then a reply is missing.
                return Err(refused);
            }
            refusal = Some(refused);
            if !pipelining {
                break;
            }
        }
        let Some(refused) = refusal else { return Ok(()) };
        // Where more is there than was asked for, a refusal may be that of another command.
        if let Err(unasked @ (NoAnswer::Unexpected(_) | NoAnswer::Garbage)) = c.nothing_unread()
            && !matches!(&unasked, NoAnswer::Unexpected(reply) if reply.code == 421)
        {
            return Err(End::Unsent(Exchange::Data, unasked));
        }
        c.needs_reset = true;
        c.end();
        Err(refused)
    }

    fn queue(&self, c: &mut Conversation, exchange: Exchange, mail: &Mail) {
        match exchange {
            Exchange::Rset => c.queue(Rset),
            Exchange::Mail => {
                let parameters =
                    parameters(c.extensions, Some(mail.size_octets), mail.needs_smtputf8);
                c.queue(MailCommand::new(Some(self.mail_from.clone()), parameters));
            }
            Exchange::Rcpt => c.queue(Rcpt::new(mail.recipient.clone(), Vec::new())),
            Exchange::Data => c.queue(Data),
            Exchange::Message => unreachable!("the message is no command"),
        }
    }

    /// Ends a message that no recipient gets; whatever the answer, no mail was sent. Whether the
    /// connection can go on.
    async fn lone_dot(&self, c: &mut Conversation) -> bool {
        c.write(b".\r\n", self.limits.command).await.is_ok()
            && c.reply(self.limits.command).await.is_ok_and(|reply| reply.code != 421)
    }

    fn phase_ended(&self, phase: Phase, took: Duration, succeeded: bool) {
        self.observer.on(&Event::PhaseEnded { phase, took, succeeded });
    }

    async fn message(&self, c: &mut Conversation, data: &[u8]) -> (End, Option<Follower>) {
        let (first, last) = data.split_at(data.len().saturating_sub(LAST_WRITE_BYTES));
        let start = Instant::now();
        let ended = |succeeded| self.phase_ended(Phase::Body, start.elapsed(), succeeded);
        if let Err(end) = self.write_first(c, first).await {
            ended(false);
            return (end, None);
        }
        let mut follower = self.follower(c, data);
        self.effect.begin();
        let written = self.write_last(c, last, follower.as_ref()).await;
        ended(written.is_ok());
        let start = Instant::now();
        let answer = match written {
            Ok(()) => self.final_reply(c, &mut follower).await,
            // It came too early to be an acceptance.
            Err(NoAnswer::Unexpected(reply)) if !reply.is_negative() => {
                Err(NoAnswer::Unexpected(reply))
            }
            Err(NoAnswer::Unexpected(refusal)) => Ok(refusal),
            Err(no_answer) => {
                // Without its final dot no mail is taken; that of one with a follower may be there.
                let can_be = |reply: &Reply| reply.is_negative() || follower.is_some();
                parting_words(c).await.filter(can_be).ok_or(no_answer)
            }
        };
        let elapsed = start.elapsed();
        c.answers_soon = elapsed <= SOON;
        self.phase_ended(Phase::FinalReply, elapsed, answer.is_ok());
        (final_answer(c, answer), follower)
    }

    /// Writes what stands before the last write, which may be nothing, while nothing is unread: no
    /// reply that is there before the message has an end is an answer to it.
    async fn write_first(&self, c: &mut Conversation, first: &[u8]) -> Result<(), End> {
        c.nothing_unread().map_err(|error| unsent(c, Exchange::Message, error, false))?;
        if first.is_empty() {
            return Ok(());
        }
        let written = c.write_message(first, first.len(), self.limits.body).await;
        let (said, no_answer) = match written.and_then(|()| c.nothing_unread()) {
            Ok(()) => return Ok(()),
            Err(NoAnswer::Unexpected(reply)) => (Some(reply.clone()), NoAnswer::Unexpected(reply)),
            Err(no_answer) => (parting_words(c).await, no_answer),
        };
        Err(match said.filter(Reply::is_negative) {
            Some(refusal) => End::Refused(Exchange::Message, refusal),
            None => End::Unsent(Exchange::Message, no_answer),
        })
    }

    /// The send that may follow a mail on its connection.
    fn follower(&self, c: &Conversation, data: &[u8]) -> Option<Follower> {
        let may_be_followed = c.extensions.pipelining
            && c.answers_soon
            && self.pool.session_limit().allows(c.mails)
            && data.len() <= FOLLOWED_LIMIT_BYTES
            && self.circuit.probe_at().is_none();
        let can_follow = |mail: &Mail| !mail.needs_smtputf8 || c.extensions.smtputf8;
        if may_be_followed { self.pool.follower(can_follow) } else { None }
    }

    /// Writes the final dot, and the commands of the mail that follows.
    async fn write_last(
        &self,
        c: &mut Conversation,
        last: &[u8],
        follower: Option<&Follower>,
    ) -> Result<(), NoAnswer> {
        let limit = self.limits.body;
        let Some(follower) = follower else {
            return c.write_message(last, last.len(), limit).await;
        };
        c.queue_bytes(last);
        EXCHANGES[1..].iter().for_each(|exchange| self.queue(c, *exchange, follower.mail()));
        c.is_ahead = true;
        c.flush_message(last.len(), limit).await
    }

    /// The answer to the final dot. If it does not come soon, the follower goes back to the queue.
    async fn final_reply(
        &self,
        c: &mut Conversation,
        follower: &mut Option<Follower>,
    ) -> Result<Reply, NoAnswer> {
        let limit = self.limits.final_reply;
        if follower.is_none() || limit <= PATIENCE {
            return c.reply(limit).await;
        }
        let answer = c.reply(PATIENCE).await;
        if !matches!(answer, Err(NoAnswer::TimedOut(_))) {
            return answer;
        }
        *follower = None;
        self.pool.let_none_follow();
        c.reply(limit - PATIENCE).await.map_err(|no_answer| match no_answer {
            NoAnswer::TimedOut(_) => NoAnswer::TimedOut(limit),
            no_answer => no_answer,
        })
    }
}

fn final_answer(c: &mut Conversation, answer: Result<Reply, NoAnswer>) -> End {
    match answer {
        Ok(reply) if reply.is_positive() => {
            c.needs_reset = false;
            c.end();
            End::Accepted(reply)
        }
        Ok(reply) if reply.is_negative() => {
            if !is_servers_fault(&reply) {
                c.needs_reset = true;
                c.end();
            }
            End::Refused(Exchange::Message, reply)
        }
        Ok(reply) => End::Ambiguous(NoAnswer::Unexpected(reply)),
        Err(no_answer) => End::Ambiguous(no_answer),
    }
}

/// What a refusal leads to: `Ok` if the conversation can go on after it.
fn refused(c: &Conversation, exchange: Exchange, reply: Reply, is_first: bool) -> Result<End, End> {
    // Of a connection that has only waited, 421 says that it has waited for too long.
    let waited = c.reused && c.mails == 1;
    if exchange == Exchange::Rset || is_first && waited && reply.code == 421 {
        return Err(End::Stale);
    }
    if !reply.is_negative() {
        return Err(End::Unsent(exchange, NoAnswer::Unexpected(reply)));
    }
    let closes = is_servers_fault(&reply);
    let end = End::Refused(exchange, reply);
    if closes { Err(end) } else { Ok(end) }
}

fn unsent(c: &Conversation, exchange: Exchange, no_answer: NoAnswer, is_first: bool) -> End {
    match no_answer {
        NoAnswer::Closed | NoAnswer::Lost(_) | NoAnswer::Unexpected(_) if is_first && c.reused => {
            End::Stale
        }
        // A server that goes away may say so at any time.
        NoAnswer::Unexpected(reply) if reply.code == 421 => End::Refused(exchange, reply),
        no_answer => End::Unsent(exchange, no_answer),
    }
}

/// Whether the server takes mails of this sender: MAIL, and RSET after it.
pub(super) async fn takes_mails(
    c: &mut Conversation,
    mail_from: &Address,
    needs_smtputf8: bool,
    limit: Duration,
) -> Result<(), ServerFault> {
    let parameters = parameters(c.extensions, None, needs_smtputf8);
    let fault = |kind, reason: &dyn Display| {
        ServerFault::new(Phase::Envelope, kind, format!("{}: {reason}", Exchange::Mail.name()))
    };
    match c.command(MailCommand::new(Some(mail_from.clone()), parameters), limit).await {
        Ok(reply) if reply.is_positive() => {}
        Ok(reply) if reply.is_negative() && !is_servers_fault(&reply) => {
            return Err(fault(ServerFaultKind::Sender, &reply));
        }
        Ok(reply) => return Err(fault(ServerFaultKind::Refused, &reply)),
        Err(no_answer) => return Err(fault(ServerFaultKind::Unreachable, &no_answer)),
    }
    // A connection on which it can't be taken back is not used again.
    if c.command(Rset, limit).await.is_ok_and(|reply| reply.is_positive()) {
        c.end();
    }
    Ok(())
}

/// What the server said before it closed the connection.
async fn parting_words(c: &mut Conversation) -> Option<Reply> {
    c.reply(PARTING_LIMIT).await.ok()
}

fn parameters(
    extensions: Extensions,
    size_octets: Option<usize>,
    needs_smtputf8: bool,
) -> Vec<MailParameter> {
    let mut parameters = Vec::new();
    if let Some(size_octets) = size_octets.filter(|_| extensions.size) {
        parameters.push(MailParameter::Size(size_octets));
    }
    if needs_smtputf8 {
        parameters.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        parameters.push(MailParameter::SmtpUtfEight);
    }
    parameters
}
