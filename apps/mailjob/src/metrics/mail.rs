//! What the mail sink reports, counted and measured.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::sinks::smtp::{CircuitChange, Event, Observer, Phase};
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

type Phases = Family<[(&'static str, String); 3], Histogram, fn() -> Histogram>;
type Gauges = Family<[(&'static str, String); 1], Gauge>;
/// Whether each relay can be used, or why not; nothing before it was asked.
type Relays = BTreeMap<String, Option<Result<(), String>>>;

/// Counts and measures what the mail sink reports of its relays.
#[derive(Debug)]
pub struct MailMetrics {
    connections: Gauges,
    waiting: Gauges,
    left_out: Gauges,
    circuit_open: Gauges,
    phases: Phases,
    relays: Arc<Mutex<Relays>>,
}

impl MailMetrics {
    /// Metrics that `monitor` exposes, and its check of the mail servers, for readiness.
    pub fn register(monitor: &mut Monitor) -> Arc<Self> {
        let metrics = Arc::new(Self {
            connections: Gauges::default(),
            waiting: Gauges::default(),
            left_out: Gauges::default(),
            circuit_open: Gauges::default(),
            phases: Phases::new_with_constructor(|| Histogram::new(PHASE_BOUNDS_SECONDS)),
            relays: Arc::default(),
        });
        metrics.register_own(&mut monitor.registry);
        let relays = metrics.relays.clone();
        let found = move || finding(&relays.lock().unwrap_or_else(PoisonError::into_inner));
        monitor.readiness.push(Check::new("mail_server", found));
        metrics
    }

    fn register_own(&self, registry: &mut Registry) {
        let help = "Connections to the mail server that are open";
        registry.register("mailjob_smtp_connections", help, self.connections.clone());
        let help = "Mails that wait for a connection";
        registry.register("mailjob_smtp_waiting_mails", help, self.waiting.clone());
        let help =
            "Connections that are not opened for a while, since the server did not serve them";
        registry.register("mailjob_smtp_connections_left_out", help, self.left_out.clone());
        let help = "Whether nothing is sent to the mail server until it is back";
        registry.register("mailjob_smtp_circuit_open", help, self.circuit_open.clone());
        let (name, help) = ("mailjob_smtp_phase_duration", "How long a part of a mail took");
        registry.register_with_unit(name, help, Unit::Seconds, self.phases.clone());
    }

    /// What is notified of the relay of that name, the value of the label `relay`.
    pub fn relay(self: &Arc<Self>, name: &str) -> Arc<RelayMetrics> {
        let of = |gauges: &Gauges| gauges.get_or_create_owned(&[("relay", name.to_owned())]);
        self.relays().entry(name.to_owned()).or_default();
        Arc::new(RelayMetrics {
            name: name.to_owned(),
            connections: of(&self.connections),
            waiting: of(&self.waiting),
            left_out: of(&self.left_out),
            circuit_open: of(&self.circuit_open),
            phases: Mutex::default(),
            of_sink: self.clone(),
        })
    }

    fn relays(&self) -> MutexGuard<'_, Relays> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether mails can be sent: by one relay at least.
fn finding(relays: &Relays) -> Finding {
    const NOT_ASKED: &str = "not asked yet";
    if relays.is_empty() {
        return Err(NOT_ASKED.to_owned());
    }
    let mut away = Vec::new();
    for (name, found) in relays {
        let reason = match found {
            Some(Ok(())) => return Ok("it could be used when it was last asked".to_owned()),
            Some(Err(reason)) => reason,
            None => NOT_ASKED,
        };
        away.push(if relays.len() == 1 { reason.to_owned() } else { format!("{name}: {reason}") });
    }
    Err(away.join("; "))
}

/// Counts and measures what the mail sink reports of one relay.
#[derive(Debug)]
pub struct RelayMetrics {
    name: String,
    connections: Gauge,
    waiting: Gauge,
    left_out: Gauge,
    circuit_open: Gauge,
    /// Those that were reported already, by whether they succeeded.
    phases: Mutex<BTreeMap<(Phase, bool), Histogram>>,
    of_sink: Arc<MailMetrics>,
}

impl RelayMetrics {
    /// The server could be used, or not, for this reason, which names no address.
    pub fn asked(&self, found: Result<(), String>) {
        self.of_sink.relays().insert(self.name.clone(), Some(found));
    }

    /// A mail was taken: as [`asked`](Self::asked), many times a second.
    fn was_used(&self) {
        if let Some(found) = self.of_sink.relays().get_mut(&self.name) {
            *found = Some(Ok(()));
        }
    }

    fn phase_ended(&self, phase: Phase, took: Duration, succeeded: bool) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        let known = phases.entry((phase, succeeded));
        let histogram = known.or_insert_with(|| self.duration(phase, succeeded));
        histogram.observe(took.as_secs_f64());
        drop(phases);
        if phase == Phase::FinalReply && succeeded {
            self.was_used();
        }
    }

    fn duration(&self, phase: Phase, succeeded: bool) -> Histogram {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.of_sink.phases.get_or_create_owned(&[
            ("phase", phase.name().to_owned()),
            ("outcome", outcome.to_owned()),
            ("relay", self.name.clone()),
        ])
    }
}

impl Observer for RelayMetrics {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::PhaseEnded { phase, took, succeeded } => {
                self.phase_ended(*phase, *took, *succeeded);
            }
            Event::CircuitChanged(change) => {
                let found = match change {
                    CircuitChange::Opened { reason } | CircuitChange::StillOpen { reason } => {
                        Err(without_addresses(reason))
                    }
                    CircuitChange::Closed => Ok(()),
                };
                self.circuit_open.set(i64::from(found.is_err()));
                self.asked(found);
            }
            Event::Connections { open, waiting } => {
                set(&self.connections, *open);
                set(&self.waiting, *waiting);
            }
            Event::LeftOut { connections } => set(&self.left_out, *connections),
            _ => {}
        }
    }
}

fn set(gauge: &Gauge, number: usize) {
    gauge.set(i64::try_from(number).unwrap_or(i64::MAX));
}
