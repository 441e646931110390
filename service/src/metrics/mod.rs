//! What is counted and measured, and whether a service is well: for Prometheus and for probes.
//!
//! ```text
//!  topology ─▶ RunMetrics ────┐
//!  Kafka ────▶ KafkaMetrics ──┤                    ┌─▶ /metrics
//!  ledger ───▶ LedgerMetrics ─┼─▶ registry, checks ┼─▶ /healthz ◀─ probe
//!  /proc ────▶ Proc ──────────┤      (Monitor)     └─▶ /readyz
//!  an app's ──────────────────┘
//! ```
//!
//! Names and units are those of OpenTelemetry's conventions for messaging where they have one, in
//! Prometheus's form; others begin with `jobstream_`. Labels hold topics, partitions and words of
//! bounded variety, never a key or what is in a record.

mod check;
mod exposition;
mod kafka;
mod ledger;
mod messaging;
mod monitor;
mod partitions;
mod probe;
mod proc;
mod run;
mod seen;
mod told;
mod turns;

pub use check::{Check, Finding};
pub(crate) use kafka::tell_statistics;
pub use kafka::{KafkaMetrics, ProcessMetrics};
pub use ledger::LedgerMetrics;
pub use monitor::Monitor;
pub use probe::{ProbeError, probe};
pub use run::RunMetrics;
pub use seen::Seen;
pub use told::Told;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Labels whose values are words of the program.
pub(crate) type Words<const N: usize> = [(&'static str, &'static str); N];

pub(crate) type Counters<L> = Family<L, Counter>;
pub(crate) type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Counts from zero on, so that what happens first is an increase.
pub(crate) fn begin_at_zero<const N: usize>(counters: &Counters<Words<N>>, labels: Words<N>) {
    drop(counters.get_or_create(&labels));
}

/// The bounds that OpenTelemetry's conventions advise for durations of messaging, in seconds.
const BOUNDS_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A histogram of seconds.
pub fn seconds() -> Histogram {
    Histogram::new(BOUNDS_SECONDS)
}
