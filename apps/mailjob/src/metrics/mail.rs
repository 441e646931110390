//! What the mail sink tells, counted and measured.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jobstream::sinks::smtp::{CircuitChange, Observer, Phase};
use jobstream_service::metrics::{Check, Finding, Monitor};
use jobstream_service::without_addresses;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The bounds of what a part of a mail takes, in seconds: from a command on the same machine to the
/// ten minutes that RFC 5321, section 4.5.3.2, gives the final reply.
const PHASE_BOUNDS_SECONDS: [f64; 17] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    120.0, 600.0,
];

type Phases = Family<[(&'static str, &'static str); 2], Histogram, fn() -> Histogram>;

/// Counts and measures what the mail sink tells.
#[derive(Debug)]
pub struct MailMetrics {
    connections: Gauge,
    waiting: Gauge,
    circuit_open: Gauge,
    phases: Phases,
    /// Whether the server can be used, or why not; nothing before it was asked.
    server: Arc<Mutex<Option<Result<(), String>>>>,
}

impl MailMetrics {
    /// Metrics that `monitor` tells, and its check of the mail server, for readiness.
    pub fn register(monitor: &mut Monitor) -> Arc<Self> {
        let metrics = Arc::new(Self {
            connections: Gauge::default(),
            waiting: Gauge::default(),
            circuit_open: Gauge::default(),
            phases: Phases::new_with_constructor(|| Histogram::new(PHASE_BOUNDS_SECONDS)),
            server: Arc::default(),
        });
        metrics.register_own(&mut monitor.registry);
        let server = metrics.server.clone();
        let found = move || finding(&server);
        monitor.readiness.push(Check::new("mail_server", found));
        metrics
    }

    fn register_own(&self, registry: &mut Registry) {
        let help = "Connections to the mail server that are open";
        registry.register("mailjob_smtp_connections", help, self.connections.clone());
        let help = "Mails that wait for a connection";
        registry.register("mailjob_smtp_waiting_mails", help, self.waiting.clone());
        let help = "Whether nothing is sent until the mail server is back";
        registry.register("mailjob_smtp_circuit_open", help, self.circuit_open.clone());
        let (name, help) = ("mailjob_smtp_phase_duration", "How long a part of a mail took");
        registry.register_with_unit(name, help, Unit::Seconds, self.phases.clone());
    }

    /// The server could be used, or not, for this reason, which names no address.
    pub fn asked(&self, found: Result<(), String>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
    }
}

fn finding(server: &Mutex<Option<Result<(), String>>>) -> Finding {
    match &*server.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(Ok(())) => Ok("it could be used when it was last asked".to_owned()),
        Some(Err(reason)) => Err(reason.clone()),
        None => Err("not asked yet".to_owned()),
    }
}

impl Observer for MailMetrics {
    fn phase(&self, phase: Phase, elapsed: Duration, succeeded: bool) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        let labels = [("phase", phase.name()), ("outcome", outcome)];
        self.phases.get_or_create(&labels).observe(elapsed.as_secs_f64());
        if phase == Phase::FinalReply && succeeded {
            self.asked(Ok(()));
        }
    }

    fn circuit(&self, change: &CircuitChange) {
        let found = match change {
            CircuitChange::Opened { reason } | CircuitChange::StillOpen { reason } => {
                Err(without_addresses(reason))
            }
            CircuitChange::Closed => Ok(()),
        };
        self.circuit_open.set(i64::from(found.is_err()));
        self.asked(found);
    }

    fn connections(&self, open: usize, waiting: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }
}

/// Several observers, told in order.
#[derive(Clone, Default)]
pub struct MailObservers(pub Vec<Arc<dyn Observer>>);

impl Observer for MailObservers {
    fn phase(&self, phase: Phase, elapsed: Duration, succeeded: bool) {
        self.0.iter().for_each(|observer| observer.phase(phase, elapsed, succeeded));
    }

    fn circuit(&self, change: &CircuitChange) {
        self.0.iter().for_each(|observer| observer.circuit(change));
    }

    fn connections(&self, open: usize, waiting: usize) {
        self.0.iter().for_each(|observer| observer.connections(open, waiting));
    }
}

impl fmt::Debug for MailObservers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}
