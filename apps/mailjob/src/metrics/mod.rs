//! What the mail executor counts and measures, and whether it is well.

mod mail;

use std::sync::Arc;

use jobstream_service::metrics::{
    KafkaMetrics, LedgerMetrics, Monitor, ProcessMetrics, RunMetrics,
};

pub use mail::{MailMetrics, RelayMetrics};

/// The observers that count and measure.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Hears the topology.
    pub run: Arc<RunMetrics>,
    /// Hears Kafka's clients.
    pub kafka: Arc<KafkaMetrics>,
    /// Hears the ledger, and the topology.
    pub ledger: Arc<LedgerMetrics>,
    /// Hears the mail sink.
    pub mail: Arc<MailMetrics>,
}

impl Metrics {
    /// The observers of the members of a group, and the monitor that exposes what they have
    /// counted; with the label `environment`, where there is one.
    pub fn new(group: &str, environment: Option<&str>) -> (Self, Monitor) {
        let mut monitor = Monitor::new("mailjob", env!("CARGO_PKG_VERSION"), environment);
        let ProcessMetrics { run, kafka } = ProcessMetrics::register(&mut monitor, &[group]);
        let ledger = LedgerMetrics::register(&mut monitor);
        let mail = MailMetrics::register(&mut monitor);
        (Self { run, kafka, ledger, mail }, monitor)
    }
}
