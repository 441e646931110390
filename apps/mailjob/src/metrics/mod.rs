//! What the mail executor counts and measures, and whether it is well.

mod mail;

use std::sync::Arc;

use jobstream_service::metrics::{KafkaMetrics, Monitor, RunMetrics};

pub use mail::{MailMetrics, MailObservers, without_addresses};

/// The observers that count and measure.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Hears the topology.
    pub run: Arc<RunMetrics>,
    /// Hears Kafka's clients.
    pub kafka: Arc<KafkaMetrics>,
    /// Hears the mail sink.
    pub mail: Arc<MailMetrics>,
}

impl Metrics {
    /// The observers, and what tells what they have heard; with the label `environment`, where
    /// there is one.
    pub fn new(environment: Option<&str>) -> (Self, Monitor) {
        let mut monitor = Monitor::new(environment);
        let run = RunMetrics::register(&mut monitor);
        let kafka = KafkaMetrics::register(&mut monitor, run.clone());
        let mail = MailMetrics::register(&mut monitor);
        (Self { run, kafka, mail }, monitor)
    }
}
