//! Spans that have ended and wait to be exported.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::trace::SpanData;
use tokio::sync::Notify;
use tokio::time::timeout;

/// What `OTEL_BSP_*` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueueLimits {
    /// Spans that wait, at most; further ones are dropped.
    pub(super) spans_max: usize,
    /// Spans that are exported at once, at most.
    pub(super) batch_spans_max: usize,
    /// How long spans are gathered for a batch.
    pub(super) delay: Duration,
    /// How long the export of a batch may take.
    pub(super) export_timeout: Duration,
}

/// A queue with a limit: a task that puts a span in never waits.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) limits: QueueLimits,
    waiting: Mutex<Waiting>,
    /// There is enough for a batch, or there will be nothing more.
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<SpanData>,
    dropped: usize,
    is_closed: bool,
}

/// What is exported at once.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) spans: Vec<SpanData>,
    /// Spans that did not fit since the last time.
    pub(super) dropped: usize,
}

impl Queue {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self { limits, waiting: Mutex::default(), filled: Notify::new() }
    }

    /// Puts a span in, or drops it.
    pub(super) fn add(&self, span: SpanData) {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return;
        }
        if waiting.spans.len() >= self.limits.spans_max {
            waiting.dropped += 1;
            return;
        }
        waiting.spans.push(span);
        let is_batch = waiting.spans.len() == self.limits.batch_spans_max;
        drop(waiting);
        if is_batch {
            self.filled.notify_one();
        }
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.waiting().is_closed = true;
        self.filled.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting().is_closed
    }

    /// Completes when there is enough for a batch, or after the delay, or at the end.
    pub(super) async fn gathered(&self) {
        if self.waiting().spans.len() < self.limits.batch_spans_max {
            // Where the delay is over first, what there is makes the batch.
            let _ = timeout(self.limits.delay, self.filled.notified()).await;
        }
    }

    /// Takes out a batch, the oldest first; nothing if the queue is empty.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut waiting = self.waiting();
        let count = waiting.spans.len().min(self.limits.batch_spans_max);
        let spans: Vec<_> = waiting.spans.drain(..count).collect();
        let dropped = std::mem::take(&mut waiting.dropped);
        (!spans.is_empty() || dropped > 0).then_some(Taken { spans, dropped })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
