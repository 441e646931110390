//! The spans of the mail topology on the in-memory broker, and the contexts that its outputs carry.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::job::Job;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::smtp::{Accepted, MailConfig, MailSink, TcpConnect, TlsMode};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Event, Limits, Retry, Topology};
use jobstream_service::Variables;
use jobstream_service::traces::{RunTraces, Traces, TracesExport, TracesSettings};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use jobstream_testkit::smtp::SmtpServer;
use mailjob::topology::{Topics, topology};
use mailjob::traces::MailTraces;
use opentelemetry::trace::{SpanId, Status, TraceId};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SpanData};
use tokio::time::timeout;

const GROUP: &str = "mailers";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Answers at once, after so many attempts that have failed.
#[derive(Default)]
struct Sink {
    failures: AtomicU32,
    is_stuck: bool,
}

#[async_trait]
impl JobSink<Job, Accepted> for Sink {
    async fn execute(&self, _: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        let one_less = |left: u32| left.checked_sub(1);
        match self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(_) => Err(JobError::transient("not now, a@b.example")),
            Err(_) => Ok(Accepted {
                message_id: "<1@example.com>".into(),
                reply: String::new(),
                relay: None,
            }),
        }
    }
}

/// A broker, and traces that are kept in memory.
struct Stage {
    broker: Broker,
    topics: Topics,
    spans: InMemorySpanExporter,
    traces: Traces,
    export: TracesExport,
}

impl Stage {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[(&str, &str)]) -> Self {
        let (broker, topics) = (Broker::new(), Topics::default());
        for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
            broker.create_topic(&**topic, 1);
        }
        let mut environment = BTreeMap::from([("OTEL_TRACES_EXPORTER".into(), "otlp".into())]);
        environment.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let no_file = |_: &_| Err(io::ErrorKind::NotFound.into());
        let variables = Variables::read(&environment, &no_file).unwrap();
        let settings = TracesSettings::read(&variables, "mailjob").unwrap().unwrap();
        let spans = InMemorySpanExporter::default();
        let (traces, export) = Traces::start_with(spans.clone(), &settings).unwrap();
        Self { broker, topics, spans, traces, export }
    }

    fn produce(&self, value: impl Into<String>, headers: &[(&'static str, &str)]) {
        let mut record = ProducerRecord::to(self.topics.jobs.clone()).value(value.into());
        for (name, value) in headers {
            record.headers.set(*name, (*value).to_owned());
        }
        self.broker.produce(record).unwrap();
    }

    fn topology(&self, sink: Arc<dyn JobSink<Job, Accepted>>) -> Topology {
        let retry = Retry::new().attempts(Some(8)).first_delay(Duration::from_millis(1));
        RunTraces::new(self.traces.clone(), GROUP).of(topology(&self.topics, sink, retry))
    }

    async fn run(&self, topology: &Topology) {
        let source = self.broker.consumer(GROUP, [self.topics.jobs.clone()]).build();
        let shutdown = self.broker.caught_up(GROUP, &self.topics.jobs);
        let sink = self.broker.producer();
        timeout(LIMIT, topology.run(&source, &sink, shutdown)).await.unwrap().unwrap();
    }

    /// The last record of a topic.
    fn last(&self, topic: &str) -> ConsumerRecord {
        self.broker.records(topic, Isolation::ReadCommitted).pop().expect("a record")
    }

    /// The spans that have ended.
    fn spans(self) -> Vec<SpanData> {
        self.export.end(LIMIT);
        self.spans.get_finished_spans().unwrap()
    }
}

fn job(id: u32) -> String {
    format!(
        r#"{{"Id":"{id:024x}","ScheduleTime":"2024-01-01T00:00:00Z","Status":2,"JobData":{{
            "SourceAddress":"a@example.com","DestinationAddress":"b@example.com","Subject":"s","Message":"m"}}}}"#
    )
}

fn header(record: &ConsumerRecord, name: &str) -> Option<String> {
    record.headers.get(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

fn all<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn one<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let found = all(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_record_without_a_context_or_with_a_malformed_one_begins_a_trace() {
    let stage = Stage::new();
    stage.produce(job(1), &[]);
    stage.produce(job(2), &[("traceparent", "00-no-trace-01")]);
    stage.run(&stage.topology(Arc::<Sink>::default())).await;
    let carried = header(&stage.last("topic-job-run-result"), "traceparent").unwrap();
    let spans = stage.spans();
    let processed = all(&spans, "process topic-job-run");
    let [first, second] = processed[..] else { panic!("{processed:#?}") };
    for process in [first, second] {
        assert_eq!(process.parent_span_id, SpanId::INVALID);
        assert!(process.links.links.is_empty(), "{process:#?}");
    }
    assert_ne!(first.span_context.trace_id(), second.span_context.trace_id());
    assert!(carried.starts_with(&format!("00-{}-", second.span_context.trace_id())), "{carried}");
}

#[tokio::test(start_paused = true)]
async fn the_context_of_a_record_is_parent_and_link_and_goes_on_with_its_state() {
    let stage = Stage::new();
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    stage.produce(job(1), &[("traceparent", &traceparent), ("tracestate", "a=1,b=2")]);
    stage.produce("no job", &[("traceparent", &traceparent)]);
    stage.run(&stage.topology(Arc::<Sink>::default())).await;
    let result = stage.last("topic-job-run-result");
    let letter = stage.last("topic-job-run-dead-letter");
    let spans = stage.spans();
    for process in all(&spans, "process topic-job-run") {
        assert_eq!(process.span_context.trace_id(), TraceId::from_hex(TRACE).unwrap());
        assert_eq!(process.parent_span_id, SpanId::from_hex(SPAN).unwrap());
        let linked: Vec<_> = process.links.iter().map(|it| it.span_context.span_id()).collect();
        assert_eq!(linked, [process.parent_span_id]);
    }
    for (record, topic) in [(&result, "result"), (&letter, "dead-letter")] {
        let send = one(&spans, &format!("send topic-job-run-{topic}"));
        let expected = format!("00-{TRACE}-{}-01", send.span_context.span_id());
        assert_eq!(header(record, "traceparent"), Some(expected));
    }
    assert_eq!(header(&result, "tracestate").as_deref(), Some("a=1,b=2"));
    assert_eq!(header(&letter, "tracestate"), None);
    assert!(spans.iter().all(|span| span.start_time <= span.end_time));
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_is_not_exported_goes_on_as_one_that_is_not() {
    let stage = Stage::new();
    stage.produce(job(1), &[("traceparent", &format!("00-{TRACE}-{SPAN}-00"))]);
    stage.run(&stage.topology(Arc::<Sink>::default())).await;
    let carried = header(&stage.last("topic-job-run-result"), "traceparent").unwrap();
    assert!(carried.starts_with(&format!("00-{TRACE}-")) && carried.ends_with("-00"), "{carried}");
    let spans = stage.spans();
    assert!(spans.is_empty(), "{spans:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_sampler_decides_about_traces_that_begin_here_alone() {
    let stage = Stage::with(&[("OTEL_TRACES_SAMPLER", "parentbased_always_off")]);
    stage.produce(job(1), &[]);
    stage.produce(job(2), &[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]);
    stage.run(&stage.topology(Arc::<Sink>::default())).await;
    let spans = stage.spans();
    let process = one(&spans, "process topic-job-run");
    assert_eq!(process.span_context.trace_id(), TraceId::from_hex(TRACE).unwrap());
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_a_span_and_a_wait_an_event_and_no_reason_is_told() {
    let stage = Stage::new();
    stage.produce(job(1), &[]);
    let sink = Sink { failures: AtomicU32::new(2), ..Sink::default() };
    stage.run(&stage.topology(Arc::new(sink))).await;
    let spans = stage.spans();
    let process = one(&spans, "process topic-job-run");
    let mut attempts = all(&spans, "execute");
    attempts.sort_by_key(|attempt| attribute(attempt, "jobstream.attempt"));
    let errors = attempts.iter().map(|attempt| attribute(attempt, "error.type"));
    let transient = Some("transient".to_owned());
    assert_eq!(errors.collect::<Vec<_>>(), [transient.clone(), transient, None]);
    assert!(attempts.iter().all(|it| it.parent_span_id == process.span_context.span_id()));
    let events: Vec<_> = process.events.iter().map(|event| event.name.as_ref()).collect();
    assert_eq!(events, ["retry", "retry"]);
    assert_eq!(attribute(process, "jobstream.fate").as_deref(), Some("succeeded"));
    assert_eq!(process.status, Status::Unset);
    let told = format!("{spans:?}");
    assert!(!told.contains("example") && !told.contains("not now"), "{told}");
}

#[tokio::test]
async fn the_phases_of_a_mail_are_below_the_execution_of_its_job_alone() {
    const JOBS: usize = 20;
    let (stage, server) = (Stage::new(), SmtpServer::builder().listen().await.unwrap());
    (0..JOBS).for_each(|id| stage.produce(job(u32::try_from(id).unwrap()), &[]));
    let (host, port) = (server.address().ip().to_string(), server.address().port());
    let config = MailConfig::new(&host, "m@example.com").port(port).tls(TlsMode::None);
    let observer = MailTraces::new(stage.traces.clone(), &host, port);
    let connect = Arc::new(TcpConnect::new(host, port));
    let sink = MailSink::with(&config, connect, observer).unwrap();
    stage.run(&stage.topology(Arc::new(sink))).await;
    let spans = stage.spans();
    let executions = all(&spans, "execute");
    assert_eq!(executions.len(), JOBS);
    for execution in executions {
        let id = execution.span_context.span_id();
        for phase in ["envelope", "body", "final reply"] {
            let name = format!("smtp {phase}");
            let own = all(&spans, &name).into_iter().filter(|span| span.parent_span_id == id);
            let own: Vec<_> = own.collect();
            assert_eq!(own.len(), 1, "{name} of one of {JOBS} jobs");
            assert_eq!(own[0].span_context.trace_id(), execution.span_context.trace_id());
            assert_eq!(attribute(own[0], "server.port"), Some(port.to_string()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_linked_to_all_that_it_holds() {
    const JOBS: u32 = 7;
    let stage = Stage::new();
    (0..JOBS).for_each(|id| stage.produce(job(id), &[]));
    stage.run(&stage.topology(Arc::<Sink>::default())).await;
    let spans = stage.spans();
    let batches = all(&spans, "publish");
    let links = batches.iter().flat_map(|batch| batch.links.iter());
    let mut linked: Vec<_> = links.map(|link| link.span_context.span_id().to_string()).collect();
    let sends = all(&spans, "send topic-job-run-result");
    let mut sent: Vec<_> =
        sends.iter().map(|send| send.span_context.span_id().to_string()).collect();
    linked.sort();
    sent.sort();
    assert_eq!((linked.len(), linked), (JOBS as usize, sent));
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_too_large_has_failed_and_its_dead_letter_carries_the_trace_on() {
    let stage = Stage::new();
    let results = TopicOptions::partitions(1).max_message_bytes(10);
    let topics = Topics { results: "small".into(), ..stage.topics.clone() };
    stage.broker.create_topic("small", results);
    stage.produce(job(1), &[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]);
    let small = topology(&topics, Arc::<Sink>::default(), Retry::default());
    stage.run(&RunTraces::new(stage.traces.clone(), GROUP).of(small)).await;
    let letter = stage.last("topic-job-run-dead-letter");
    let spans = stage.spans();
    let refused = one(&spans, "send small");
    assert_eq!(attribute(refused, "error.type").as_deref(), Some("too-large"));
    let send = one(&spans, "send topic-job-run-dead-letter");
    let expected = format!("00-{TRACE}-{}-01", send.span_context.span_id());
    assert_eq!(header(&letter, "traceparent"), Some(expected));
    assert_eq!(send.status, Status::Unset);
    let process = one(&spans, "process topic-job-run");
    assert_eq!(attribute(process, "jobstream.fate").as_deref(), Some("dead-letter"));
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_told_as_unfinished() {
    let stage = Stage::new();
    stage.produce(job(1), &[]);
    let topology = stage.topology(Arc::new(Sink { is_stuck: true, ..Sink::default() }));
    let (fetched, mut has_fetched) = tokio::sync::watch::channel(false);
    let limits = Limits::new().shutdown_timeout(Duration::ZERO);
    let topology =
        topology.with_limits(limits).with_observer(Arc::new(move |event: &Event<'_>| {
            if matches!(event, Event::Fetched(_)) {
                fetched.send_replace(true);
            }
        }));
    let source = stage.broker.consumer(GROUP, [stage.topics.jobs.clone()]).build();
    let shutdown = async { drop(has_fetched.wait_for(|fetched| *fetched).await) };
    let drained = topology.run(&source, &stage.broker.producer(), shutdown).await.unwrap();
    assert_eq!(drained.unfinished, 1);
    drop(topology);
    let spans = stage.spans();
    for name in ["process topic-job-run", "execute"] {
        assert_eq!(attribute(one(&spans, name), "error.type").as_deref(), Some("unfinished"));
    }
}
