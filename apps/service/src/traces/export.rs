//! The thread that exports spans, and tells what becomes of them: one line a change.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use tracing::dispatcher::{self, Dispatch};
use tracing::subscriber::NoSubscriber;
use tracing::{info, warn};

use super::queue::{Queue, Taken};

/// Dropped spans are told of once in this time.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Hands spans that have ended to the thread.
#[derive(Debug)]
pub(super) struct Export {
    queue: Arc<Queue>,
    /// Is closed when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// Starts the thread, on which the exporter runs.
///
/// # Errors
/// If the system gives none.
pub(super) fn start(
    runtime: Runtime,
    exporter: impl SpanExporter + 'static,
    queue: Queue,
) -> io::Result<Export> {
    let queue = Arc::new(queue);
    let (alive, ended) = channel();
    let lines = dispatcher::get_default(Dispatch::clone);
    let worker = Worker { queue: queue.clone(), exporter, told: Told::new(lines), _alive: alive };
    // What the exporter's clients have to say of each of their frames is nobody's log.
    let work = move || {
        let silent = Dispatch::new(NoSubscriber::new());
        dispatcher::with_default(&silent, || runtime.block_on(worker.run()));
    };
    // Its end is awaited by the shutdown; it can't be joined while nobody takes the spans.
    std::thread::Builder::new().name("traces".to_owned()).spawn(work)?;
    Ok(Export { queue, ended: Mutex::new(ended) })
}

impl SpanProcessor for Export {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.queue.add(span);
        }
    }

    /// Nobody asks for it: the end of the process does.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.queue.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match ended.recv_timeout(limit) {
            Err(RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(limit)),
            Err(RecvTimeoutError::Disconnected) | Ok(()) => Ok(()),
        }
    }
}

struct Worker<E> {
    queue: Arc<Queue>,
    exporter: E,
    told: Told,
    _alive: Sender<()>,
}

impl<E: SpanExporter> Worker<E> {
    /// Exports until the queue is closed and empty.
    async fn run(mut self) {
        loop {
            // Looked at before: what comes until then is taken out.
            let is_closed = self.queue.is_closed();
            while let Some(Taken { spans, dropped }) = self.queue.take() {
                self.told.dropped(dropped);
                if !spans.is_empty() {
                    self.export(spans).await;
                }
            }
            if is_closed {
                return;
            }
            self.queue.gathered().await;
        }
    }

    async fn export(&mut self, spans: Vec<SpanData>) {
        let (count, limit) = (spans.len(), self.queue.limits.export_timeout);
        let failed = match timeout(limit, self.exporter.export(spans)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("not taken within {limit:?}")),
        };
        self.told.exported(count, failed);
    }
}

/// What was told of the export.
struct Told {
    lines: Dispatch,
    /// Spans that were lost since they can't be exported, if they can't.
    failing: Option<usize>,
    dropped: usize,
    dropped_told_at: Option<Instant>,
}

impl Told {
    const fn new(lines: Dispatch) -> Self {
        Self { lines, failing: None, dropped: 0, dropped_told_at: None }
    }

    fn exported(&mut self, spans: usize, failed: Option<String>) {
        let (was_failing, lines) = (self.failing.take(), &self.lines);
        match (failed, was_failing) {
            (None, None) => {}
            (None, Some(lost)) => {
                let tell = || info!(lost, "Traces are exported again");
                dispatcher::with_default(lines, tell);
            }
            (Some(reason), None) => {
                self.failing = Some(spans);
                dispatcher::with_default(lines, || warn!("Traces are not exported: {reason}"));
            }
            (Some(_), Some(lost)) => self.failing = Some(lost + spans),
        }
    }

    fn dropped(&mut self, spans: usize) {
        self.dropped += spans;
        let is_due = self.dropped_told_at.is_none_or(|at| at.elapsed() >= TELL_AGAIN_AFTER);
        if self.dropped == 0 || !is_due {
            return;
        }
        let dropped = std::mem::take(&mut self.dropped);
        self.dropped_told_at = Some(Instant::now());
        dispatcher::with_default(&self.lines, || {
            warn!(
                dropped,
                "Spans dropped, more come than are exported; see OTEL_BSP_MAX_QUEUE_SIZE and \
                 OTEL_TRACES_SAMPLER"
            );
        });
    }
}
