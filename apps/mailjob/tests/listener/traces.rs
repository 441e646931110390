//! Traces of a service on Kafka, as the OpenTelemetry Collector takes them.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use jobstream::kafka::KafkaConfig;
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};

use crate::load::{SAMPLE, SAMPLE_ID};
use crate::otlp_collector::{Collector, Span, tree};
use crate::stage::{Stage, inbox};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

/// Produces a value that belongs to the trace.
async fn produce(stage: &Stage, value: &'static str) {
    let mut record = ProducerRecord::to(stage.topic("jobs")).value(value);
    record.headers.set("traceparent", format!("00-{TRACE}-{SPAN}-01"));
    record.headers.set("tracestate", "vendor=1");
    let sink = KafkaSink::new(&KafkaConfig::new(&stage.broker.bootstrap)).unwrap();
    sink.publish(&Batch { outputs: vec![record], positions: Vec::new() }).await.unwrap();
    sink.close().await.unwrap();
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}: {spans:#?}"))
}

/// The header's trace and span.
fn traceparent(header: Option<String>) -> (String, String) {
    let header = header.expect("a traceparent");
    let parts: Vec<_> = header.split('-').collect();
    (parts[1].to_owned(), parts[2].to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go to build the OpenTelemetry Collector"]
async fn a_job_is_a_tree_of_spans_in_its_senders_trace_and_its_result_carries_that_on() {
    for (protocol, delivery) in [("grpc", "exactly-once"), ("http/protobuf", "at-least-once")] {
        let (collector, server) = (Collector::start().await, inbox().await);
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("LOG_FORMAT", "json");
        for (name, value) in collector.settings(protocol) {
            stage.set(name, &value);
        }
        produce(&stage, SAMPLE).await;
        produce(&stage, "no job").await;
        let service = stage.start("log");
        let results = stage.records_of("results", 1).await;
        let letters = stage.records_of("dead-letters", 1).await;
        let [jobs, sent, dead] =
            ["jobs", "results", "dead-letters"].map(|topic| stage.topic(topic));
        let expected = trees(&jobs, &sent, &dead);
        let spans = collector.spans_when(|spans| {
            let batches = spans.iter().filter(|span| span.name == "publish");
            processed(spans) == expected && batches.flat_map(|batch| &batch.links).count() >= 2
        });
        let spans = spans.await;
        let ended = service.terminate().await;
        ended.succeeded();

        check_attributes(&spans, &stage, server.address().port());
        for (found, topic) in [(&results[0], &sent), (&letters[0], &dead)] {
            let send = named(&spans, &format!("send {topic}"));
            let carried = traceparent(found.header("traceparent"));
            assert_eq!(carried, (TRACE.to_owned(), send.id.clone()));
            assert_eq!(found.header("tracestate").as_deref(), Some("vendor=1"));
            let batches = spans.iter().filter(|span| span.name == "publish");
            let linked = batches.flat_map(|batch| &batch.links).filter(|link| **link == carried);
            assert_eq!(linked.count(), 1, "a batch is linked to each of its records");
        }
        let line = ended.log.lines().find(|line| line.contains(SAMPLE_ID)).expect("a job's line");
        assert!(line.contains(&format!(r#""trace_id":"{TRACE}""#)), "{line}");
        let all = format!("{spans:?}");
        assert!(!all.contains("example") && !all.contains(SAMPLE_ID), "{all}");
    }
}

/// What has become of the records that belong to the trace.
fn processed(spans: &[Span]) -> Vec<Vec<String>> {
    let is_mine = |span: &&Span| span.parent == SPAN && span.trace_id == TRACE;
    let mut trees: Vec<_> = spans.iter().filter(is_mine).map(|span| tree(spans, span)).collect();
    trees.sort();
    trees
}

/// A job, and what is none, between these topics.
fn trees(jobs: &str, results: &str, dead_letters: &str) -> [Vec<String>; 2] {
    let root = format!("process {jobs} (mailjob)");
    let job = [
        &root,
        "  decode",
        "  encode",
        "  execute",
        "    smtp body",
        "    smtp connect",
        "    smtp ehlo",
        "    smtp envelope",
        "    smtp final reply",
        "    smtp greeting",
        "  filter",
        &format!("  send {results}"),
    ];
    let letter = [&root, "  decode", &format!("  send {dead_letters}")];
    [job.map(str::to_owned).to_vec(), letter.map(str::to_owned).to_vec()]
}

/// The attributes are those of the conventions.
fn check_attributes(spans: &[Span], stage: &Stage, port: u16) {
    let (jobs, sent) = (stage.topic("jobs"), stage.topic("results"));
    let is_result =
        |span: &&Span| span.attributes.get("jobstream.fate").is_some_and(|f| f == "succeeded");
    let process = spans.iter().find(is_result).expect("a job that has succeeded");
    assert_eq!((process.kind, process.has_failed), (5, false));
    assert_eq!(process.links, [(TRACE.to_owned(), SPAN.to_owned())]);
    for (name, value) in [
        ("messaging.system", "kafka"),
        ("messaging.operation.name", "process"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", &jobs),
        ("messaging.consumer.group.name", &stage.topic("group")),
    ] {
        assert_eq!(process.attributes[name], value, "{name}");
    }
    for name in ["messaging.destination.partition.id", "messaging.kafka.offset"] {
        assert!(process.attributes[name].parse::<u64>().is_ok(), "{name}");
    }
    let send = named(spans, &format!("send {sent}"));
    assert_eq!((send.kind, &*send.attributes["messaging.operation.type"]), (4, "send"));
    let dot = named(spans, "smtp final reply");
    assert_eq!((dot.kind, &*dot.attributes["server.port"]), (3, &*port.to_string()));
    assert_eq!(dot.attributes["server.address"], "127.0.0.1");
    let has_failed = |span: &&Span| span.has_failed;
    let [letter] = spans.iter().filter(has_failed).collect::<Vec<_>>()[..] else {
        panic!("found {spans:#?}, expected one span that has failed")
    };
    assert_eq!(letter.attributes["error.type"], "undecodable");
}
