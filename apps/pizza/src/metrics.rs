//! What is counted and measured in a process of the shop, and whether it is well.

use std::sync::Arc;
use std::time::Duration;

use jobstream::kafka::{KafkaEvent, KafkaObserver};
use jobstream_service::metrics::{Check, KafkaMetrics, KafkaObservers, Monitor, RunMetrics, Seen};

/// The longest that brokers may go without an answer.
const BROKER_LIMIT: Duration = Duration::from_secs(30);

/// The observers that count and measure.
#[derive(Debug)]
pub struct Metrics {
    /// Hears the services' topologies.
    pub run: Arc<RunMetrics>,
    /// Hears Kafka's clients.
    pub kafka: KafkaObservers,
}

impl Metrics {
    /// The observers of services that run in these groups, and the monitor that exposes what they
    /// have counted. All services of a process count together.
    pub fn of_services(groups: &[&str], environment: Option<&str>) -> (Self, Monitor) {
        let mut monitor = monitor(environment);
        let run = RunMetrics::register(&mut monitor, &groups.join(","));
        let kafka = KafkaMetrics::register(&mut monitor, run.clone());
        (Self { run, kafka: KafkaObservers(vec![kafka]) }, monitor)
    }

    /// The observers of a web app that is alone: it has no partitions to wait for, and is ready
    /// when brokers answer.
    pub fn of_web_app(environment: Option<&str>) -> (Self, Monitor) {
        let (mut metrics, mut monitor) = Self::of_services(&[], environment);
        monitor.health.clear();
        monitor.readiness.clear();
        let broker = Arc::new(Broker::default());
        metrics.kafka.0.push(broker.clone());
        let seen = move || broker.0.within(BROKER_LIMIT, "a broker answered");
        monitor.readiness.push(Check::new("broker", seen));
        (metrics, monitor)
    }
}

fn monitor(environment: Option<&str>) -> Monitor {
    Monitor::new("pizza", env!("CARGO_PKG_VERSION"), environment)
}

/// When brokers last answered.
#[derive(Debug, Default)]
struct Broker(Seen);

impl KafkaObserver for Broker {
    fn on(&self, event: &KafkaEvent<'_>) {
        if let KafkaEvent::Brokers { answered: Some(ago), .. } = event {
            self.0.ago(*ago);
        }
    }
}
