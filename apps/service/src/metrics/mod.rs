//! What is counted and measured, and whether a service is well: for Prometheus and for probes.
//!
//! ```text
//!  topology ─▶ RunMetrics ───┐                    ┌─▶ /metrics
//!  Kafka ────▶ KafkaMetrics ─┼─▶ registry, checks ┼─▶ /healthz
//!  an app's ─────────────────┘      (Monitor)     └─▶ /readyz
//! ```
//!
//! Names and units are those of OpenTelemetry's conventions for messaging where they have one, in
//! Prometheus's form; others begin with `jobstream_`. Labels hold topics, partitions and words of
//! bounded variety, never a key or what is in a record.

mod check;
mod kafka;
mod messaging;
mod monitor;
mod partitions;
mod run;
mod seen;

pub use check::{Check, Finding};
pub use kafka::{KafkaMetrics, KafkaObservers, tell_statistics};
pub use monitor::Monitor;
pub use run::RunMetrics;
pub use seen::Seen;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// Labels whose values are words of the program.
pub(crate) type Words<const N: usize> = [(&'static str, &'static str); N];

pub(crate) type Counters<L> = Family<L, Counter>;
pub(crate) type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// The bounds that OpenTelemetry's conventions advise for durations of messaging, in seconds.
const BOUNDS_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A histogram of seconds.
pub fn seconds() -> Histogram {
    Histogram::new(BOUNDS_SECONDS)
}
