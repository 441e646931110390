//! One connection's octets: read in big pieces, taken in lines, answered in one write.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::reply::Reply;

const READ_OCTETS: usize = 16 * 1024;
/// What may wait unread while the server sleeps.
const WAITING_OCTETS_MAX: usize = 64 * 1024;
/// Replies to pipelined commands are gathered up to this much.
const GATHERED_OCTETS_MAX: usize = 16 * 1024;
/// How long the server waits for the client to close after it has closed its own side, so that its
/// last reply is not lost to a reset.
const LINGER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    /// Inside a line that was refused, until its CRLF.
    skipping: bool,
}

/// Why a line is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    TooLong,
    /// It holds a CR or an LF that is not part of its CRLF, or a NUL.
    Control,
    NotUtf8,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), skipping: false }
    }

    /// The stream itself. What was received and not taken is thrown away.
    pub(super) fn into_stream(self) -> S {
        self.stream
    }

    /// What was received and not taken.
    pub(super) fn input(&self) -> &[u8] {
        &self.input
    }

    pub(super) fn consume(&mut self, octets: usize) {
        self.input.advance(octets);
    }

    /// Takes a line of at most `limit` octets, without its CRLF. A bad line is reported once, as
    /// soon as it is known to be bad, and passed over to its CRLF.
    pub(super) fn take_line(&mut self, limit: usize) -> Option<Result<String, BadLine>> {
        loop {
            let Some(feed) = memchr(b'\n', &self.input) else {
                return self.take_unended(limit).map(Err);
            };
            let line = &self.input[..feed];
            let ended = line.ends_with(b"\r");
            let text = (!self.skipping).then(|| text(line, limit));
            self.input.advance(feed + 1);
            self.skipping = !ended;
            if text.is_some() {
                return text;
            }
        }
    }

    fn take_unended(&mut self, limit: usize) -> Option<BadLine> {
        if self.input.len() <= limit + 1 {
            return None;
        }
        // The last octet may be the CR of the CRLF.
        self.input.advance(self.input.len() - 1);
        let known = std::mem::replace(&mut self.skipping, true);
        (!known).then_some(BadLine::TooLong)
    }

    /// Flushes, then reads more; false when the client has closed its side. Cancelling it loses
    /// nothing.
    pub(super) async fn fill(&mut self) -> io::Result<bool> {
        self.flush().await?;
        self.input.reserve(READ_OCTETS);
        Ok(self.stream.read_buf(&mut self.input).await? > 0)
    }

    /// Appends a reply to those that go out with the next flush.
    pub(super) async fn push(&mut self, reply: &Reply, enhanced: bool) -> io::Result<()> {
        reply.encode(enhanced, &mut self.output);
        if self.output.len() > GATHERED_OCTETS_MAX { self.flush().await } else { Ok(()) }
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        while self.output.has_remaining() {
            self.stream.write_buf(&mut self.output).await?;
        }
        self.stream.flush().await
    }

    /// Flushes, then sends a reply in single octets.
    pub(super) async fn push_split(&mut self, reply: &Reply, enhanced: bool) -> io::Result<()> {
        self.flush().await?;
        let mut octets = BytesMut::new();
        reply.encode(enhanced, &mut octets);
        for octet in octets {
            self.stream.write_all(&[octet]).await?;
            self.stream.flush().await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Flushes, then waits; false when the client has gone meanwhile.
    pub(super) async fn hold(&mut self, delay: Duration) -> io::Result<bool> {
        self.flush().await?;
        tokio::select! {
            biased;
            () = tokio::time::sleep(delay) => Ok(true),
            () = self.gone() => Ok(false),
        }
    }

    /// Flushes, then says nothing more until the client has gone.
    pub(super) async fn stall(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.drained().await;
        Ok(())
    }

    /// Throws away what the client sends until it has gone.
    async fn drained(&mut self) {
        self.input.reserve(READ_OCTETS);
        loop {
            self.input.clear();
            match self.stream.read_buf(&mut self.input).await {
                Ok(octets) if octets > 0 => {}
                _ => return,
            }
        }
    }

    /// Completes when the client has gone. Reads no more than may wait.
    async fn gone(&mut self) {
        while self.input.len() < WAITING_OCTETS_MAX {
            self.input.reserve(READ_OCTETS);
            match self.stream.read_buf(&mut self.input).await {
                Ok(octets) if octets > 0 => {}
                _ => return,
            }
        }
        std::future::pending::<()>().await;
    }

    /// Flushes and closes this side.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.stream.shutdown().await
    }

    /// After [`shutdown`](Self::shutdown): waits for the client to close its side, but not for
    /// long.
    pub(super) async fn linger(mut self) {
        tokio::select! {
            biased;
            () = self.drained() => {}
            () = tokio::time::sleep(LINGER) => {}
        }
    }
}

/// The text of a line that ends before an LF.
fn text(line: &[u8], limit: usize) -> Result<String, BadLine> {
    let Some(line) = line.strip_suffix(b"\r") else {
        return Err(BadLine::Control);
    };
    if line.len() > limit {
        return Err(BadLine::TooLong);
    }
    if memchr::memchr2(b'\r', 0, line).is_some() {
        return Err(BadLine::Control);
    }
    String::from_utf8(line.to_vec()).map_err(|_| BadLine::NotUtf8)
}
