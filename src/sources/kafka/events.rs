//! The stream of a Kafka source.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;

use super::KafkaSource;
use super::buffer::Chunk;
use super::shared::Shared;
use crate::sources::{SourceError, SourceEvent};

/// Yields what it has taken from the buffer, and looks there when that is used up or something has
/// happened.
pub(super) struct Events<'a> {
    shared: &'a Shared,
    chunk: Chunk,
    ended: bool,
    polls: u64,
}

impl<'a> Events<'a> {
    pub(super) fn new(source: &'a KafkaSource) -> Self {
        Self { shared: source.membership.shared(), chunk: Chunk::new(), ended: false, polls: 0 }
    }

    fn poll_buffer(&mut self, cx: &Context<'_>) -> Poll<Option<Result<SourceEvent, SourceError>>> {
        let next = self.shared.with(|buffer| {
            if self.shared.clear_dirty() {
                buffer.give_back(std::mem::take(&mut self.chunk));
            }
            if let Some(notice) = buffer.next_notice() {
                return Poll::Ready(Some(Ok(notice)));
            }
            if let Some(ended) = &mut buffer.ended {
                self.ended = true;
                return Poll::Ready(std::mem::replace(ended, Ok(())).err().map(Err));
            }
            self.chunk = buffer.take();
            match self.chunk.pop_front() {
                Some(record) => Poll::Ready(Some(Ok(SourceEvent::Record(record)))),
                None => {
                    buffer.park(cx.waker());
                    Poll::Pending
                }
            }
        });
        // The poller may wait for room.
        if !self.chunk.is_empty() {
            self.shared.signal.raise();
        }
        next
    }
}

impl Stream for Events<'_> {
    type Item = Result<SourceEvent, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.polls += 1;
        self.shared.count_poll(self.polls);
        if !self.shared.is_dirty()
            && let Some(record) = self.chunk.pop_front()
        {
            return Poll::Ready(Some(Ok(SourceEvent::Record(record))));
        }
        self.poll_buffer(cx)
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.shared.with(|buffer| buffer.give_back(chunk));
    }
}
