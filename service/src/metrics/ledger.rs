//! What a ledger reports, counted and measured.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobstream::sinks::ledger;
use jobstream::topology::{self, Event};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;

use super::{Counters, Monitor, Words, begin_at_zero, seconds};

/// What a ledger decides about a job.
const DECISIONS: [&str; 5] = ["attempted", "resent", "duplicate", "parked", "stays-parked"];

/// Counts and measures what a ledger reports. It observes the topology, too: the partitions that
/// are assigned and lost say whose entries the ledger has.
#[derive(Debug)]
pub struct LedgerMetrics {
    decisions: Counters<Words<1>>,
    pruned: Counter,
    in_doubt: Gauge,
    in_doubt_limit: Gauge,
    /// From the job sink's answer until the outcome is durable.
    outcomes: Histogram,
    parts: Arc<Parts>,
}

impl LedgerMetrics {
    /// Metrics that `monitor` exposes.
    pub fn register(monitor: &mut Monitor) -> Arc<Self> {
        let metrics = Arc::new(Self {
            decisions: Counters::default(),
            pruned: Counter::default(),
            in_doubt: Gauge::default(),
            in_doubt_limit: Gauge::default(),
            outcomes: seconds(),
            parts: Arc::default(),
        });
        for decision in DECISIONS {
            begin_at_zero(&metrics.decisions, [("decision", decision)]);
        }
        let registry = &mut monitor.registry;
        let help = "What the ledger has decided about jobs";
        registry.register("jobstream_ledger_decisions", help, metrics.decisions.clone());
        let help = "Entries that were old enough to be removed";
        registry.register("jobstream_ledger_pruned_entries", help, metrics.pruned.clone());
        let help = "Jobs whose intent may be durable and whose outcome is not";
        registry.register("jobstream_ledger_in_doubt", help, metrics.in_doubt.clone());
        let help = "How many jobs may be in doubt at once";
        registry.register("jobstream_ledger_in_doubt_limit", help, metrics.in_doubt_limit.clone());
        let help = "From the answer to a job until its outcome is durable";
        let name = "jobstream_ledger_outcome_duration_seconds";
        registry.register(name, help, metrics.outcomes.clone());
        registry.register_collector(Box::new(metrics.parts.clone()));
        metrics
    }
}

impl ledger::Observer for LedgerMetrics {
    fn on(&self, event: &ledger::Event<'_>) {
        let [attempted, resent, duplicate, parked, stays_parked] = DECISIONS;
        let decision = match event {
            ledger::Event::Intended { record, entries } => {
                self.parts.hold(record.partition.partition, *entries);
                attempted
            }
            ledger::Event::Resent { .. } => resent,
            ledger::Event::Duplicate(_) => duplicate,
            ledger::Event::Parked(_) => parked,
            ledger::Event::StaysParked(_) => stays_parked,
            ledger::Event::Pruned { entries, .. } => {
                self.pruned.inc_by(*entries as u64);
                return;
            }
            ledger::Event::InDoubt { now, limit } => {
                self.in_doubt.set(i64::try_from(*now).unwrap_or(i64::MAX));
                self.in_doubt_limit.set(i64::try_from(*limit).unwrap_or(i64::MAX));
                return;
            }
            ledger::Event::OutcomeDurable { took, .. } => {
                return self.outcomes.observe(took.as_secs_f64());
            }
            ledger::Event::Full { partition, .. } => return self.parts.is_full(*partition, true),
            ledger::Event::HasRoom { partition } => return self.parts.is_full(*partition, false),
            _ => return,
        };
        self.decisions.get_or_create(&[("decision", decision)]).inc();
    }
}

impl topology::Observer for LedgerMetrics {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Assigned(assignment) => self.parts.insert(assignment.partition.partition),
            Event::Restored { partition, entries, .. } => self.parts.hold(*partition, *entries),
            Event::Released(partition) | Event::Lost(partition) => {
                self.parts.remove(partition.partition);
            }
            _ => {}
        }
    }
}

/// The parts of the ledger that this process has, by partition number; one that is gone is
/// forgotten.
#[derive(Debug, Default)]
struct Parts(Mutex<BTreeMap<i32, KnownPart>>);

#[derive(Clone, Copy, Debug, Default)]
struct KnownPart {
    /// Assigned partitions with the number.
    owners: usize,
    /// None before the part is restored.
    entries: Option<usize>,
    is_full: bool,
}

impl Parts {
    fn insert(&self, number: i32) {
        self.all().entry(number).or_default().owners += 1;
    }

    fn remove(&self, number: i32) {
        let mut all = self.all();
        let Some(part) = all.get_mut(&number) else { return };
        part.owners -= 1;
        if part.owners == 0 {
            all.remove(&number);
        }
    }

    fn hold(&self, number: i32, entries: usize) {
        if let Some(part) = self.all().get_mut(&number) {
            part.entries = Some(entries);
        }
    }

    fn is_full(&self, number: i32, is_full: bool) {
        if let Some(part) = self.all().get_mut(&number) {
            part.is_full = is_full;
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<i32, KnownPart>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: impl Fn(&KnownPart, usize) -> f64,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (number, part) in &*self.all() {
            let Some(entries) = part.entries else { continue };
            let labels = [("partition", number.to_string())];
            ConstGauge::new(value(part, entries)).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Parts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.gauge(&mut encoder, ENTRIES, |_, entries| entries as f64)?;
        self.gauge(&mut encoder, FULL, |part, _| f64::from(u8::from(part.is_full)))
    }
}

const ENTRIES: (&str, &str) =
    ("jobstream_ledger_entries", "Entries of the ledger, as of the latest attempt.");
const FULL: (&str, &str) =
    ("jobstream_ledger_full", "Whether jobs wait, since the ledger has no room.");
