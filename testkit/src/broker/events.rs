//! The stream of a consumer.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use futures::Stream;
use jobstream::sources::{SourceError, SourceEvent};
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use super::consumer::Consumer;
use super::fetch::{Chunk, Step};

/// Yields what it has fetched, and asks the broker when that is used up or something happened.
#[derive(Debug)]
pub(super) struct Events<'a> {
    consumer: &'a Consumer,
    chunk: Chunk,
    /// Wakes the stream when a session, a transaction or a wait is over.
    timer: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(consumer: &'a Consumer) -> Self {
        Self { consumer, chunk: Chunk::new(), timer: None, ended: false }
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<SourceEvent, SourceError>>> {
        while !self.ended {
            let progress = ready!(coop::poll_proceed(cx));
            let Self { consumer, chunk, .. } = self;
            let step = consumer.broker.with(|state| state.step(consumer.member, chunk, cx.waker()));
            match step {
                Step::Parked(None) => return Poll::Pending,
                Step::Parked(Some(until)) => ready!(self.poll_timer(until, cx)),
                Step::Ended => self.ended = true,
                Step::Broken(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Step::Event(event) => {
                    progress.made_progress();
                    return Poll::Ready(Some(Ok(event)));
                }
                Step::Records => {
                    progress.made_progress();
                    let record = self.chunk.pop_front();
                    return Poll::Ready(record.map(|record| Ok(SourceEvent::Record(record))));
                }
            }
        }
        Poll::Ready(None)
    }

    fn poll_timer(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        let elapsed = timer.as_mut().poll(cx);
        if elapsed.is_ready() {
            self.timer = None;
        }
        elapsed
    }
}

impl Stream for Events<'_> {
    type Item = Result<SourceEvent, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.consumer.dirty.load(Ordering::Acquire)
            && let Some(record) = self.chunk.pop_front()
        {
            return Poll::Ready(Some(Ok(SourceEvent::Record(record))));
        }
        self.poll_step(cx)
    }
}
