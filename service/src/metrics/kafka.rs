//! What Kafka's clients report, counted and measured.
//!
//! Lags come from the consumers' statistics: to ask a broker for watermarks blocks, and the
//! statistics have them already.

use std::sync::Arc;

use jobstream::kafka::{ErrorKind, Event, KafkaConfig, Observer};
use prometheus_client::metrics::counter::Counter;

use super::{Counters, Monitor, RunMetrics, Words, begin_at_zero};
use crate::KafkaSettings;

/// How often clients report where partitions end, in milliseconds, unless a setting says it.
const STATISTICS_INTERVAL_MS: &str = "5000";
const STATISTICS_INTERVAL: &str = "statistics.interval.ms";

/// Lets clients report their statistics, without which there are no lags.
pub(crate) fn tell_statistics(config: KafkaConfig, settings: &KafkaSettings) -> KafkaConfig {
    if settings.properties().any(|name| name == STATISTICS_INTERVAL) {
        return config;
    }
    match config.property(STATISTICS_INTERVAL, STATISTICS_INTERVAL_MS) {
        Ok(config) => config,
        Err(error) => unreachable!("no promise rests on it: {error}"),
    }
}

/// The observers that count and measure in every process on Kafka.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    /// Hears the topologies.
    pub run: Arc<RunMetrics>,
    /// Hears Kafka's clients.
    pub kafka: Arc<KafkaMetrics>,
}

impl ProcessMetrics {
    /// Metrics that `monitor` exposes of the members of these groups, counted together, and their
    /// checks; see [`RunMetrics::register`].
    pub fn register(monitor: &mut Monitor, groups: &[&str]) -> Self {
        let run = RunMetrics::register(monitor, groups);
        let kafka = KafkaMetrics::register(monitor, run.clone());
        Self { run, kafka }
    }
}

/// Counts what Kafka's clients report, and gives a run's metrics what they know of partitions.
#[derive(Debug)]
pub struct KafkaMetrics {
    run: Arc<RunMetrics>,
    errors: Counters<Words<1>>,
    transactions: Counters<Words<1>>,
    fenced: Counter,
    published_again: Counter,
}

const KINDS: [ErrorKind; 8] = [
    ErrorKind::Unreachable,
    ErrorKind::Authentication,
    ErrorKind::Authorization,
    ErrorKind::Tls,
    ErrorKind::UnknownTopic,
    ErrorKind::Passing,
    ErrorKind::Fatal,
    ErrorKind::Other,
];

impl KafkaMetrics {
    /// Metrics that `monitor` exposes.
    pub fn register(monitor: &mut Monitor, run: Arc<RunMetrics>) -> Arc<Self> {
        let metrics = Arc::new(Self {
            run,
            errors: Counters::default(),
            transactions: Counters::default(),
            fenced: Counter::default(),
            published_again: Counter::default(),
        });
        metrics.begin_at_zero();
        let registry = &mut monitor.registry;
        let help = "Errors that clients met, and went on";
        registry.register("jobstream_kafka_errors", help, metrics.errors.clone());
        let help = "Transactions that were committed, or aborted";
        let transactions = metrics.transactions.clone();
        registry.register("jobstream_kafka_transactions", help, transactions);
        let help = "Times that the producer was fenced";
        registry.register("jobstream_kafka_fenced", help, metrics.fenced.clone());
        let help = "Records that were not acknowledged, and were sent again";
        let again = metrics.published_again.clone();
        registry.register("jobstream_kafka_published_again", help, again);
        metrics
    }

    fn begin_at_zero(&self) {
        for kind in KINDS {
            begin_at_zero(&self.errors, [("kind", kind_name(kind))]);
        }
        for committed in [true, false] {
            begin_at_zero(&self.transactions, [("outcome", outcome_name(committed))]);
        }
    }
}

impl Observer for KafkaMetrics {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Brokers { answered: Some(ago), .. } => self.run.broker.ago(*ago),
            Event::Watermarks { partition, low, high } => {
                self.run.partitions.ends(partition, *low, *high);
            }
            Event::Error { kind, .. } => {
                self.errors.get_or_create(&[("kind", kind_name(*kind))]).inc();
            }
            Event::Member { partitions: 0, answered } => self.run.spare.ago(*answered),
            Event::Member { .. } | Event::NoMember => self.run.spare.forget(),
            Event::Transaction { committed } => {
                let outcome = outcome_name(*committed);
                self.transactions.get_or_create(&[("outcome", outcome)]).inc();
            }
            Event::Fenced { .. } => _ = self.fenced.inc(),
            Event::PublishRetried { records, .. } => {
                self.published_again.inc_by(*records as u64);
            }
            _ => {}
        }
    }
}

const fn outcome_name(committed: bool) -> &'static str {
    if committed { "committed" } else { "aborted" }
}

const fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Unreachable => "unreachable",
        ErrorKind::Authentication => "authentication",
        ErrorKind::Authorization => "authorization",
        ErrorKind::Tls => "tls",
        ErrorKind::UnknownTopic => "unknown-topic",
        ErrorKind::Passing => "passing",
        ErrorKind::Fatal => "fatal",
        ErrorKind::Other => "other",
    }
}
