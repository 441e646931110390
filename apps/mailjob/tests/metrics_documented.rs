//! `docs/operations.md` and the code say the same of every metric.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use jobstream::job::Job;
use jobstream::kafka::{self, Observer as _};
use jobstream::record::{ConsumerRecord, ProducerRecord, TopicPartition};
use jobstream::sinks::ledger::LedgerLimits;
use jobstream::sinks::smtp::{self, Accepted, Observer as _, Phase};
use jobstream::sinks::{Ambiguous, JobError, JobSink};
use jobstream::topology::{Event, Retry, Worker};
use jobstream_testkit::broker::Broker;
use mailjob::metrics::Metrics;
use mailjob::topology::{Topics, ledger, topology_with_ledger};
use prometheus_client::encoding::text::encode;
use tokio::sync::watch;

const DOCUMENT: &str = include_str!("../../../docs/operations.md");
const GROUP: &str = "mailers";
const LEDGER: &str = "topic-job-run-ledger";
const JOB: &str = r#"{"Id":"1","ScheduleTime":"2024-01-01T00:00:00Z","Status":2}"#;

/// Takes every mail, but gives no answer to the first.
#[derive(Default)]
struct Hesitant(AtomicBool);

#[async_trait]
impl JobSink<Job, Accepted> for Hesitant {
    async fn execute(&self, _: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        if self.0.swap(true, Ordering::Relaxed) {
            return Ok(Accepted {
                message_id: "<1@example.com>".into(),
                reply: "250 ok".into(),
                relay: None,
            });
        }
        Err(JobError::ambiguous("no answer to the final dot"))
    }
}

/// What is scraped of a run in which everything happens that is not counted from zero: a job whose
/// first end is ambiguous, the same once more, and what is none.
async fn scrape() -> String {
    let (metrics, monitor) = Metrics::new(GROUP, None);
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&*topics.jobs, &*topics.results, &*topics.dead_letters, LEDGER] {
        broker.create_topic(topic, 1);
    }
    for value in [JOB, JOB, "no job"] {
        broker.produce(ProducerRecord::to(topics.jobs.clone()).value(value)).unwrap();
    }
    let (clock, limits) = (Arc::new(|| UNIX_EPOCH), LedgerLimits::default());
    let ledger = ledger(Arc::new(Hesitant::default()), clock, Ambiguous::Resend, limits);
    let ledger = Arc::new(ledger.with_observer(metrics.ledger.clone()));
    let (turns, mut turned) = watch::channel(0);
    let turns = Arc::new(move |event: &Event<'_>| {
        turns.send_modify(|turns| *turns += u64::from(matches!(event, Event::Turned(_))));
    });
    let topology = topology_with_ledger(&topics, ledger, Retry::default())
        .with_observer(metrics.run.clone())
        .with_observer(metrics.ledger.clone())
        .with_observer(turns);
    let (source, sink) = broker.exactly_once(GROUP, [topics.jobs.clone()], "one");
    let store = Some(Box::new(broker.store(LEDGER)) as _);
    let worker = Worker { source: Box::new(source), sink: Box::new(sink), store };
    let mut text = String::new();
    let shutdown = async {
        broker.caught_up(GROUP, &topics.jobs).await;
        let partition = &TopicPartition::new(&*topics.jobs, 0);
        metrics.kafka.on(&kafka::Event::Watermarks { partition, low: 0, high: 5 });
        let (phase, took, succeeded) = (Phase::FinalReply, Duration::ZERO, true);
        let ended = smtp::Event::PhaseEnded { phase, took, succeeded };
        metrics.mail.relay("mail:25").on(&ended);
        // The last event of a commit interval, at which everything is reported that goes by intervals.
        let before = *turned.borrow();
        turned.wait_for(|turns| *turns > before + 1).await.unwrap();
        encode(&mut text, &monitor.registry).unwrap();
    };
    topology.run_worker(&worker, shutdown).await.unwrap();
    text
}

/// Of each metric, as Prometheus names it, its type and its labels.
type Described = BTreeMap<String, (String, BTreeSet<String>)>;

/// What is scraped, without the parts of histograms.
fn scraped(text: &str) -> Described {
    let mut all = Described::new();
    let (mut name, mut kind) = ("", "");
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            (name, kind) = family.split_once(' ').unwrap();
        } else if !line.starts_with('#') {
            let (sample, _) = line.rsplit_once(' ').unwrap();
            let (sample, labels) = sample.split_once('{').unwrap_or((sample, ""));
            let name = if kind == "histogram" { name } else { sample };
            let labels = labels.trim_end_matches('}').split("\",");
            let labels = labels.filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            let known = all.entry(name.to_owned()).or_default();
            kind.clone_into(&mut known.0);
            known.1.extend(labels.filter(|label| label != "le"));
        }
    }
    all
}

/// The lines of each table whose first column is `metric`.
fn documented() -> Described {
    let mut all = Described::new();
    let mut is_table = false;
    for line in DOCUMENT.lines() {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        is_table = line.starts_with('|') && (is_table || cells[0] == "metric");
        if let [name, kind, labels, _] = cells[..]
            && is_table
            && name.starts_with('`')
        {
            let words = |cell: &str| {
                let words = cell.split(", ").map(|word| word.trim_matches('`').to_owned());
                words.filter(|word| !word.is_empty()).collect::<BTreeSet<_>>()
            };
            let known = (kind.to_owned(), words(labels));
            let twice = all.insert(name.trim_matches('`').to_owned(), known);
            assert!(twice.is_none(), "{name} is documented twice");
        }
    }
    all
}

#[tokio::test(start_paused = true)]
async fn every_metric_is_documented_with_its_type_and_labels_and_nothing_else_is() {
    let (scraped, documented) = (scraped(&scrape().await), documented());
    for (name, found) in &scraped {
        assert_eq!(documented.get(name), Some(found), "{name}: documented, and found");
    }
    let unknown: Vec<_> = documented.keys().filter(|name| !scraped.contains_key(*name)).collect();
    assert!(unknown.is_empty(), "{unknown:?} are documented, and never found");
}

#[tokio::test(start_paused = true)]
async fn the_decisions_of_the_ledger_and_its_entries_are_counted() {
    let text = scrape().await;
    for line in [
        r#"jobstream_ledger_decisions_total{decision="attempted"} 2"#,
        r#"jobstream_ledger_decisions_total{decision="resent"} 1"#,
        r#"jobstream_ledger_decisions_total{decision="duplicate"} 1"#,
        r#"jobstream_ledger_decisions_total{decision="parked"} 0"#,
        r#"jobstream_ledger_entries{partition="0"} 1.0"#,
        r#"jobstream_ledger_full{partition="0"} 0.0"#,
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
}
