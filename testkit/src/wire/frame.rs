//! Frames: a length of four bytes, and so many bytes of a request or an answer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that a connection reads at once, at least.
const READ_BYTES: usize = 64 << 10;
const LENGTH_BYTES: usize = 4;

/// Reads the frames of a connection, one after another.
#[derive(Debug)]
pub(super) struct Frames {
    buffer: BytesMut,
    max_bytes: usize,
    /// Bytes that the next frame may have, by the last one.
    expected: usize,
}

/// Bytes of one frame that are reserved at once, at most, before they have arrived.
const EAGER_BYTES: usize = 1 << 20;

/// Bytes of a request that carries no batches, at most: a decoded list takes many times the memory
/// of its bytes.
const PLAIN_MAX_BYTES: usize = 16 << 20;

impl Frames {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), max_bytes, expected: READ_BYTES }
    }

    /// The next frame, without its length; nothing at the end of the stream. Memory grows with what
    /// has arrived, not with what the length claims.
    ///
    /// # Errors
    /// If the stream breaks, or a frame is too long; that is known before it is read.
    pub(super) async fn next(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(length) = self.length()? {
                if self.buffer.len() >= LENGTH_BYTES + length {
                    self.buffer.advance(LENGTH_BYTES);
                    self.expected = (LENGTH_BYTES + length).clamp(READ_BYTES, EAGER_BYTES);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
                let missing = LENGTH_BYTES + length - self.buffer.len();
                self.buffer.reserve(missing.min(self.buffer.len().max(EAGER_BYTES)));
            } else {
                self.buffer.reserve(self.expected);
            }
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Completes when the stream has ended, or is broken. It reads some of what comes first.
    pub(super) async fn end(&mut self, stream: &mut (impl AsyncRead + Unpin)) {
        while self.buffer.len() < READ_BYTES {
            self.buffer.reserve(READ_BYTES);
            if stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    fn length(&self) -> io::Result<Option<usize>> {
        let mut start = &self.buffer[..];
        let Ok(length) = start.try_get_i32() else { return Ok(None) };
        // Until the request is known, the larger limit holds.
        let max_bytes = match start.try_get_i16() {
            Ok(key) if key != ApiKey::Produce as i16 => self.max_bytes.min(PLAIN_MAX_BYTES),
            _ => self.max_bytes,
        };
        match usize::try_from(length) {
            Ok(length) if length <= max_bytes => Ok(Some(length)),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {length} bytes, expected at most {max_bytes}"),
            )),
        }
    }
}

/// The body of an answer, in parts that are shared with the log where they are batches.
#[derive(Debug)]
pub(super) struct Answer {
    parts: Vec<Bytes>,
    /// Whether the header may have tagged fields.
    flexible: bool,
}

impl Answer {
    /// # Errors
    /// If a field is set that this version does not have.
    pub(super) fn of<R: Encodable + HeaderVersion>(
        response: &R,
        version: i16,
    ) -> Result<Self, String> {
        let mut body = BytesMut::new();
        response.encode(&mut body, version).map_err(|error| error.to_string())?;
        Ok(Self { parts: vec![body.freeze()], flexible: R::header_version(version) > 0 })
    }

    pub(super) const fn from_parts(parts: Vec<Bytes>, flexible: bool) -> Self {
        Self { parts, flexible }
    }

    /// The whole frame.
    pub(super) fn frame(self, correlation_id: i32) -> Parts {
        let header_bytes = if self.flexible { 5 } else { 4 };
        let length = header_bytes + self.parts.iter().map(Bytes::len).sum::<usize>();
        let mut header = BytesMut::with_capacity(LENGTH_BYTES + header_bytes);
        header.put_i32(length as i32);
        header.put_i32(correlation_id);
        if self.flexible {
            header.put_u8(0);
        }
        let parts = std::iter::once(header.freeze()).chain(self.parts);
        Parts(parts.filter(|part| !part.is_empty()).collect())
    }
}

/// Bytes in parts; none is empty.
#[derive(Debug)]
pub(super) struct Parts(VecDeque<Bytes>);

impl Buf for Parts {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn has_remaining(&self) -> bool {
        !self.0.is_empty()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |part| part)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let filled =
            slices.iter_mut().zip(&self.0).map(|(slice, part)| *slice = IoSlice::new(part));
        filled.count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.0.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.0.pop_front();
        }
    }
}
