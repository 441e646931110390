//! The stream of a consumer.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use futures::Stream;
use jobstream::sources::{SourceError, SourceEvent};
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use super::consumer::Consumer;
use super::fetch::{Chunk, Next};
use super::operation::Operation;
use super::witness::When;

/// Yields what it has fetched, and asks the broker when that is used up or something happened.
#[derive(Debug)]
pub(super) struct Events<'a> {
    consumer: &'a Consumer,
    chunk: Chunk,
    /// Wakes the stream when a session, a transaction or a wait is over.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether it has yielded before the operation that it is about to try.
    yielded: bool,
    ended: bool,
}

impl<'a> Events<'a> {
    pub(super) fn new(consumer: &'a Consumer) -> Self {
        Self { consumer, chunk: Chunk::new(), timer: None, yielded: false, ended: false }
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<SourceEvent, SourceError>>> {
        while !self.ended {
            let progress = ready!(coop::poll_proceed(cx));
            if self.yields_before_next() {
                return yield_now(cx);
            }
            let Self { consumer, chunk, .. } = self;
            let step = consumer.broker.with(|state| state.step(consumer.member, chunk, cx.waker()));
            match step {
                Next::Parked(None) => return Poll::Pending,
                Next::Parked(Some(until)) => ready!(self.poll_timer(until, cx)),
                Next::Ended => self.ended = true,
                Next::Broken(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Next::Event(event) => {
                    progress.made_progress();
                    return Poll::Ready(Some(Ok(event)));
                }
                Next::Joined => {
                    progress.made_progress();
                    if consumer.broker.yields_at(Operation::Join, When::After) {
                        return yield_now(cx);
                    }
                }
                Next::Records => {
                    progress.made_progress();
                    if consumer.broker.yields_at(Operation::Fetch, When::After) {
                        return yield_now(cx);
                    }
                    let record = self.chunk.pop_front();
                    return Poll::Ready(record.map(|record| Ok(SourceEvent::Record(record))));
                }
            }
        }
        Poll::Ready(None)
    }

    /// Whether the next step is an operation before which the broker yields.
    fn yields_before_next(&mut self) -> bool {
        let Consumer { broker, member, .. } = self.consumer;
        if !broker.shared.yields || std::mem::take(&mut self.yielded) {
            return false;
        }
        let next = broker.with(|state| state.next_operation(*member));
        self.yielded = next.is_some_and(|operation| broker.yields_at(operation, When::Before));
        self.yielded
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

fn yield_now<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
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
