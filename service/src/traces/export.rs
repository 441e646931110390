//! The thread that exports spans, and logs what becomes of them: one line a change.
//!
//! OpenTelemetry's own batch processor sets no limit to the time of an export, counts dropped spans for
//! itself, logs each export that fails, and panics where the system gives no thread.

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

/// Dropped spans are logged once in this time.
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

/// What was logged about the export.
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

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::{self, Write};

    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};

    use super::super::queue::QueueLimits;
    use super::*;

    const LONG: Duration = Duration::from_secs(120);
    const LIMITS: QueueLimits =
        QueueLimits { spans_max: 100, batch_spans_max: 10, delay: LONG, export_timeout: LONG };

    /// Never answers.
    #[derive(Debug)]
    struct Stuck;

    impl SpanExporter for Stuck {
        async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
            pending().await
        }
    }

    fn provider(exporter: impl SpanExporter + 'static) -> SdkTracerProvider {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let export = start(runtime, exporter, Queue::new(LIMITS)).unwrap();
        SdkTracerProvider::builder().with_span_processor(export).build()
    }

    fn end_spans(provider: &SdkTracerProvider, count: usize) {
        let tracer = provider.tracer("test");
        (0..count).for_each(|_| tracer.start("span").end());
    }

    #[test]
    fn the_end_waits_until_all_spans_are_exported() {
        let spans = InMemorySpanExporter::default();
        let provider = provider(spans.clone());
        end_spans(&provider, 37);
        provider.shutdown_with_timeout(LONG).unwrap();
        assert_eq!(spans.get_finished_spans().unwrap().len(), 37);
    }

    #[test]
    fn who_takes_no_spans_holds_up_neither_a_span_nor_the_end_for_longer_than_its_limit() {
        let provider = provider(Stuck);
        end_spans(&provider, 10_000);
        assert!(provider.shutdown_with_timeout(Duration::from_millis(10)).is_err());
    }

    /// Lines of a log.
    #[derive(Clone, Debug, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told() -> (Told, Lines) {
        let lines = Lines::default();
        let written = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || written.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .finish();
        (Told::new(Dispatch::new(subscriber)), lines)
    }

    fn text(lines: &Lines) -> String {
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_failing_export_is_told_of_once_and_so_is_its_recovery_with_what_was_lost() {
        let (mut told, lines) = told();
        told.exported(5, None);
        for reason in ["refused", "refused", "timed out"] {
            told.exported(3, Some(reason.to_owned()));
        }
        told.exported(5, None);
        told.exported(5, None);
        let expected = " WARN Traces are not exported: refused\n \
                        INFO Traces are exported again lost=9\n";
        assert_eq!(text(&lines), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_spans_are_counted_and_told_of_once_a_minute() {
        let (mut told, lines) = told();
        let words = "Spans dropped, more come than are exported";
        for spans in [0, 3, 4, 0, 5] {
            told.dropped(spans);
        }
        assert!(text(&lines).contains("dropped=3") && text(&lines).matches(words).count() == 1);
        tokio::time::advance(TELL_AGAIN_AFTER).await;
        told.dropped(1);
        assert!(text(&lines).contains("dropped=10"), "{}", text(&lines));
    }

    #[tokio::test(start_paused = true)]
    async fn spans_above_the_limit_of_the_queue_are_dropped_and_counted() {
        let spans = InMemorySpanExporter::default();
        let simple = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        end_spans(&simple, 1);
        let span = spans.get_finished_spans().unwrap().remove(0);
        let queue = Queue::new(LIMITS);
        (0..LIMITS.spans_max + 7).for_each(|_| queue.add(span.clone()));
        queue.gathered().await;
        let mut taken = Vec::new();
        while let Some(batch) = queue.take() {
            taken.push((batch.spans.len(), batch.dropped));
        }
        assert_eq!(taken, [&[(10, 7)][..], &[(10, 0); 9]].concat());
        queue.close();
        queue.add(span);
        assert!(queue.take().is_none(), "nothing comes after the end");
    }
}
