//! One connection, and what was said on it: commands out, replies in.
//!
//! lettre spells the commands; the conversation and the pool are our own. lettre's pool takes a
//! connection back one reply behind if a send is dropped after the final dot. The next mail then
//! reads a stale reply, and a refused mail is reported as sent (`tests/smtp_sink/pooled_lettre.rs`
//! shows it). Its connections do not pipeline either, and wait 40 ms for Nagle's algorithm at every
//! mail.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io::{self, Write as _};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout_at};

use super::connect::Stream;
use super::extensions::Extensions;
use super::gauge::OpenConnection;
use super::reply::Reply;

/// What is read at once, in bytes.
const READ_BYTES: usize = 4096;

/// A connection on which SMTP is spoken.
///
/// The send that speaks on it owns it: it takes the connection out of the pool by value, and puts
/// it back only after a clean end. Any other end, cancellation included, drops the connection,
/// which closes it: so no reply is ever left over for another send's mail.
pub(super) struct Conversation {
    stream: Box<dyn Stream>,
    /// Bytes that were read and belong to no reply yet.
    received: Vec<u8>,
    /// Commands that are not written yet.
    outgoing: Vec<u8>,
    /// When the time of the whole is over.
    deadline: Instant,
    /// Whether every command has its reply and nothing is left over, except what belongs to the
    /// mail that follows.
    clean: bool,
    /// Whether the last write has ended well. If it has not, it is unknown how much the server has
    /// read, and the connection is never used again.
    is_written: bool,
    pub(super) extensions: Extensions,
    /// Whether it has carried a mail, or waited for one.
    pub(super) reused: bool,
    /// The mails for which it was used, refused ones included.
    pub(super) mails: u32,
    /// Whether the last mail was refused, so that RSET is due before the next.
    pub(super) needs_reset: bool,
    /// Whether the last final dot was answered soon.
    pub(super) answers_soon: bool,
    /// Whether the commands of the next mail are written already.
    pub(super) is_ahead: bool,
    pub(super) idle_since: Instant,
    open: OpenConnection,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the connection was closed")]
    Closed,
    #[error("the connection was lost: {0}")]
    Lost(io::Error),
    #[error("no answer within {} s", (.0.as_secs_f64() * 10.0).round() / 10.0)]
    TimedOut(Duration),
    #[error("found no SMTP reply")]
    Garbage,
    #[error("found reply {0}")]
    Unexpected(Reply),
}

impl NoAnswer {
    /// Whether the connection is gone, rather than silent or senseless.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self, Self::Closed | Self::Lost(_))
    }
}

impl Conversation {
    pub(super) fn new(stream: Box<dyn Stream>, open: OpenConnection, deadline: Instant) -> Self {
        Self {
            stream,
            received: Vec::with_capacity(READ_BYTES),
            outgoing: Vec::with_capacity(512),
            deadline,
            clean: false,
            is_written: true,
            extensions: Extensions::default(),
            reused: false,
            mails: 0,
            needs_reset: false,
            answers_soon: false,
            is_ahead: false,
            idle_since: Instant::now(),
            open,
        }
    }

    /// Mails can be sent on it from now on.
    pub(super) fn establish(&mut self) {
        self.open.establish();
    }

    /// Begins a use that may last until `deadline`; until [`Self::end`] it is not clean.
    pub(super) fn begin(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.clean = false;
    }

    /// Ends a use: every command has its reply, except those of the next.
    pub(super) fn end(&mut self) {
        let nothing_left = self.received.is_empty() || self.is_ahead;
        self.clean = nothing_left && self.outgoing.is_empty() && self.is_written;
        self.reused = true;
    }

    /// Itself, if it may be used again.
    pub(super) fn if_clean(self) -> Option<Self> {
        self.clean.then_some(self)
    }

    /// Keeps a command for the next [`Self::flush`].
    pub(super) fn queue(&mut self, command: impl Display) {
        write!(self.outgoing, "{command}").unwrap_or_else(|_| unreachable!("a Vec takes all"));
    }

    /// Keeps the bytes of a message for the next [`Self::flush`].
    pub(super) fn queue_bytes(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    /// Writes what was queued, in one write.
    pub(super) async fn flush(&mut self, limit: Duration) -> Result<(), NoAnswer> {
        self.nothing_unread()?;
        self.flush_message(0, limit).await
    }

    /// Writes what was queued, of which the first `unanswered` bytes are a message: see
    /// [`Self::write_message`].
    pub(super) async fn flush_message(
        &mut self,
        unanswered: usize,
        limit: Duration,
    ) -> Result<(), NoAnswer> {
        let queued = std::mem::take(&mut self.outgoing);
        let written = self.write_message(&queued, unanswered, limit).await;
        self.outgoing = queued;
        self.outgoing.clear();
        written
    }

    /// Writes all of `bytes`. No reply is due when a write begins, so what is unread then answers
    /// nothing that was asked, and nothing is written.
    pub(super) async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), NoAnswer> {
        self.nothing_unread()?;
        self.write_message(bytes, 0, limit).await
    }

    /// Writes all of `bytes`, of which the first `unanswered` are a message or a part of it: what
    /// the server says before it could have read them ends the write, as
    /// [`NoAnswer::Unexpected`] if it is a reply.
    pub(super) async fn write_message(
        &mut self,
        bytes: &[u8],
        unanswered: usize,
        limit: Duration,
    ) -> Result<(), NoAnswer> {
        self.is_written = false;
        let limit = remaining(limit, self.deadline);
        let mut written = 0;
        let writing = async {
            poll_fn(|cx| {
                while written < bytes.len() {
                    let write = Pin::new(&mut self.stream).poll_write(cx, &bytes[written..]);
                    match write {
                        Poll::Ready(Ok(0)) => {
                            let nothing = io::ErrorKind::WriteZero.into();
                            return Poll::Ready(Err(NoAnswer::Lost(nothing)));
                        }
                        Poll::Ready(Ok(length)) => written += length,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(NoAnswer::Lost(error))),
                        Poll::Pending => {}
                    }
                    // After the write: once that is whole, what comes in is its answer.
                    if written < unanswered {
                        self.poll_unread(cx)?;
                    }
                    if write.is_pending() {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Ok(()))
            })
            .await?;
            self.stream.flush().await.map_err(NoAnswer::Lost)
        };
        timeout_at(after(limit), writing).await.unwrap_or(Err(NoAnswer::TimedOut(limit)))?;
        self.is_written = true;
        Ok(())
    }

    /// Fails if anything can be read though no reply is due: its end, or a reply to nothing.
    pub(super) fn nothing_unread(&mut self) -> Result<(), NoAnswer> {
        self.poll_unread(&mut Context::from_waker(Waker::noop()))?;
        if self.received.is_empty() { Ok(()) } else { Err(NoAnswer::Garbage) }
    }

    /// Reads what is there, and fails if that is the end, or a whole reply.
    fn poll_unread(&mut self, cx: &mut Context<'_>) -> Result<(), NoAnswer> {
        loop {
            if let Some(reply) = self.reply_at_hand()? {
                return Err(NoAnswer::Unexpected(reply));
            }
            self.received.reserve(READ_BYTES / 4);
            let read = pin!(self.stream.read_buf(&mut self.received)).poll(cx);
            match read {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0)) => return Err(NoAnswer::Closed),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(NoAnswer::Lost(error)),
            }
        }
    }

    /// Reads the next reply.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply, NoAnswer> {
        if let Some(reply) = self.reply_at_hand()? {
            return Ok(reply);
        }
        let limit = remaining(limit, self.deadline);
        let until = after(limit);
        loop {
            self.received.reserve(READ_BYTES / 4);
            let read = self.stream.read_buf(&mut self.received);
            match timeout_at(until, read).await {
                Err(_) => return Err(NoAnswer::TimedOut(limit)),
                Ok(Err(error)) => return Err(NoAnswer::Lost(error)),
                Ok(Ok(0)) => return Err(NoAnswer::Closed),
                Ok(Ok(_)) => {}
            }
            if let Some(reply) = self.reply_at_hand()? {
                return Ok(reply);
            }
        }
    }

    /// Writes a command and reads its reply.
    pub(super) async fn command(
        &mut self,
        command: impl Display,
        limit: Duration,
    ) -> Result<Reply, NoAnswer> {
        self.queue(command);
        self.flush(limit).await?;
        self.reply(limit).await
    }

    /// Takes leave without waiting: QUIT if it can be written at once, and closes.
    pub(super) fn leave(mut self) {
        let cx = &mut Context::from_waker(Waker::noop());
        if Pin::new(&mut self.stream).poll_write(cx, b"QUIT\r\n").is_ready() {
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
            let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
        }
    }

    /// The same connection over another stream, made from its own. Nothing that was offered before
    /// is remembered (RFC 3207 section 4.2).
    pub(super) async fn over<F>(
        self,
        limit: Duration,
        wrap: impl FnOnce(Box<dyn Stream>) -> F,
    ) -> Result<Self, NoAnswer>
    where
        F: Future<Output = io::Result<Box<dyn Stream>>>,
    {
        let stream = within(limit, self.deadline, wrap(self.stream)).await?;
        Ok(Self { stream, extensions: Extensions::default(), ..self })
    }

    fn reply_at_hand(&mut self) -> Result<Option<Reply>, NoAnswer> {
        let Some((reply, length)) = Reply::parse(&self.received).map_err(|_| NoAnswer::Garbage)?
        else {
            return Ok(None);
        };
        self.received.drain(..length);
        Ok(Some(reply))
    }
}

/// The moment when a limit is over; one without end is over in thirty years.
pub(super) fn after(limit: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);
    Instant::now() + limit.min(FAR)
}

/// What is left of a limit that ends with the deadline at the latest.
fn remaining(limit: Duration, deadline: Instant) -> Duration {
    limit.min(deadline.saturating_duration_since(Instant::now()))
}

/// What `action` gives, unless it takes too long.
pub(super) async fn within<T>(
    limit: Duration,
    deadline: Instant,
    action: impl Future<Output = io::Result<T>>,
) -> Result<T, NoAnswer> {
    let limit = remaining(limit, deadline);
    match timeout_at(after(limit), action).await {
        Ok(done) => done.map_err(NoAnswer::Lost),
        Err(_) => Err(NoAnswer::TimedOut(limit)),
    }
}
