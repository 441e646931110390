//! What the tests share: jobs, settings, and streams to a server in memory.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::Codec as _;
use jobstream::job::{Job, JobCodec};
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::smtp::{
    Accepted, Connect, Event, MailConfig, MailSink, Observer, Stream, TlsMode,
};
use jobstream::sinks::{JobError, JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::SmtpServer;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

pub(crate) const OTHER: &str = "other@example.net";

/// A job of which everything but the `Id` and the recipient is the same.
pub(crate) fn job(id: &str, to: &str) -> (Job, ConsumerRecord) {
    job_with(id, "sender@example.com", to, "Subject", "Line one\n.\nLine three")
}

pub(crate) fn job_with(
    id: &str,
    source: &str,
    to: &str,
    subject: &str,
    message: &str,
) -> (Job, ConsumerRecord) {
    let data = json!({"SourceAddress": source, "DestinationAddress": to,
                      "Subject": subject, "Message": message});
    job_like(id, "2024-01-01T00:00:00Z", &data)
}

/// The job of this `JobData`.
pub(crate) fn job_of(data: &Value) -> (Job, ConsumerRecord) {
    job_like("1", "2024-01-01T00:00:00Z", data)
}

/// The same, at this `ScheduleTime`.
pub(crate) fn job_at(time: &str, data: &Value) -> (Job, ConsumerRecord) {
    job_like("1", time, data)
}

fn job_like(id: &str, time: &str, data: &Value) -> (Job, ConsumerRecord) {
    let value = json!({
        "Id": id, "Status": 2, "ScheduleTime": time, "JobData": data,
    });
    let value = Bytes::from(value.to_string());
    let job = JobCodec.decode(Some(&value)).expect("a job");
    let record = ConsumerRecord::new(TopicPartition::new("jobs", 0), 0, 1).value(value);
    (job, record)
}

/// Runs a test under a clock that stands still.
pub(crate) fn paused<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime can be built");
    runtime.block_on(test)
}

/// Without TLS, with one connection.
pub(crate) fn config() -> MailConfig {
    MailConfig::new("localhost", "service@example.com")
        .tls(TlsMode::None)
        .allowed_from_domains(vec!["example.com".into()])
        .connections_max(1.try_into().expect("not zero"))
}

pub(crate) fn with_connections(connections: usize) -> MailConfig {
    config().connections_max(connections.try_into().expect("not zero"))
}

pub(crate) fn sink(server: &Arc<SmtpServer>, config: &MailConfig) -> MailSink {
    sink_over(Memory(Arc::clone(server)), config)
}

pub(crate) fn sink_over(connect: impl Connect + 'static, config: &MailConfig) -> MailSink {
    MailSink::with(config, Arc::new(connect), Arc::new(())).expect("good settings")
}

pub(crate) async fn send(sink: &MailSink, id: &str, to: &str) -> Result<Accepted, JobError> {
    let (job, record) = job(id, to);
    sink.execute(&job, &record).await
}

pub(crate) async fn kind_of(sink: &MailSink, id: &str, to: &str) -> Option<JobErrorKind> {
    send(sink, id, to).await.err().map(|error| error.kind())
}

/// Connects to a server in memory.
pub(crate) struct Memory(pub(crate) Arc<SmtpServer>);

#[async_trait]
impl Connect for Memory {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.connect()?))
    }
}

/// Connects to a server in memory; the first connection is cut when its budget is used up.
#[derive(Clone)]
pub(crate) struct CutFirst {
    server: Arc<SmtpServer>,
    budget: Arc<Mutex<Budget>>,
    connected: Arc<AtomicBool>,
    writes: Arc<AtomicUsize>,
}

/// How many bytes still go through before the cut, written and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) written: usize,
    pub(crate) read: usize,
}

impl Budget {
    pub(crate) const NONE: Self = Self { written: usize::MAX, read: usize::MAX };
}

impl CutFirst {
    pub(crate) fn new(server: &Arc<SmtpServer>) -> Self {
        let budget = Arc::new(Mutex::new(Budget::NONE));
        Self {
            server: Arc::clone(server),
            budget,
            connected: Arc::default(),
            writes: Arc::default(),
        }
    }

    /// Sets what goes through from now on.
    pub(crate) fn set(&self, budget: Budget) {
        *self.budget.lock().expect("no panic") = budget;
    }

    /// The writes on the first connection so far.
    pub(crate) fn writes(&self) -> usize {
        self.writes.load(Relaxed)
    }
}

#[async_trait]
impl Connect for CutFirst {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = self.server.connect()?;
        if self.connected.swap(true, Relaxed) {
            return Ok(Box::new(stream));
        }
        Ok(Box::new(CutStream {
            stream: Some(stream),
            budget: Arc::clone(&self.budget),
            writes: Arc::clone(&self.writes),
        }))
    }
}

/// A stream that breaks when one of its budgets is used up.
struct CutStream {
    stream: Option<DuplexStream>,
    budget: Arc<Mutex<Budget>>,
    writes: Arc<AtomicUsize>,
}

impl AsyncRead for CutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = self.budget.lock().expect("no panic").read.min(buffer.remaining());
        if limit == 0 {
            self.stream = None;
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(limit));
        let polled = Pin::new(stream).poll_read(cx, &mut part);
        let length = part.filled().len();
        buffer.advance(length);
        self.budget.lock().expect("no panic").read -= length;
        polled
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let limit = self.budget.lock().expect("no panic").written.min(bytes.len());
        if limit == 0 {
            self.stream = None;
        }
        let Some(stream) = &mut self.stream else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let polled = Pin::new(stream).poll_write(cx, &bytes[..limit]);
        if let Poll::Ready(Ok(length)) = polled {
            self.writes.fetch_add(1, Relaxed);
            self.budget.lock().expect("no panic").written -= length;
        }
        polled
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream = None;
        Poll::Ready(Ok(()))
    }
}

/// Polls `future` at most `polls` times, with the others having their turn after each.
pub(crate) async fn poll_times<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..polls {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        let_others_run().await;
    }
    None
}

pub(crate) async fn let_others_run() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Writes down the changes of the circuit, and how many connections are left out.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) changes: Mutex<Vec<String>>,
    pub(crate) phases: Mutex<Vec<&'static str>>,
    pub(crate) left_out: AtomicUsize,
}

impl Observer for Log {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::PhaseEnded { phase, .. } => {
                self.phases.lock().expect("no panic").push(phase.name());
            }
            Event::CircuitChanged(change) => {
                self.changes.lock().expect("no panic").push(change.to_string());
            }
            Event::LeftOut { connections } => self.left_out.store(*connections, Relaxed),
            _ => {}
        }
    }
}

pub(crate) fn server() -> Arc<SmtpServer> {
    Arc::new(SmtpServer::builder().in_memory().expect("a server in memory"))
}
