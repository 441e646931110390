//! The events of runs, counted and measured.

use std::sync::Arc;
use std::time::Duration;

use jobstream::sinks::{JobErrorKind, SinkError};
use jobstream::topology::{
    Event, Fate, Observer, TOO_LARGE, TOO_MANY_HEADERS, UNDECODABLE, UNENCODABLE,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::messaging::Messaging;
use super::partitions::{Frontier, Partitions};
use super::turns::Turns;
use super::{Check, Counters, Monitor, Seen, Words, begin_at_zero, seconds};

/// The longest that a loop may go without a turn: it turns at every commit interval.
const TURN_LIMIT: Duration = Duration::from_secs(30);
/// The longest that brokers, and a group's coordinator, may go without an answer.
const BROKER_LIMIT: Duration = Duration::from_secs(30);
/// How jobs fail: a sink that is unavailable fails none.
const FAILURES: [JobErrorKind; 3] =
    [JobErrorKind::Permanent, JobErrorKind::Transient, JobErrorKind::Ambiguous];

/// Counts and measures the events of all runs of a process.
#[derive(Debug)]
pub struct RunMetrics {
    messaging: Messaging,
    records: Counters<Words<2>>,
    retries: Counters<Words<1>>,
    rebalanced: Counters<Words<1>>,
    publish_failures: Counters<Words<1>>,
    totals: Totals,
    publishes: Histogram,
    commits: Histogram,
    pub(super) partitions: Arc<Partitions>,
    turns: Arc<Turns>,
    /// When a broker last answered.
    pub(super) broker: Arc<Seen>,
    /// When the coordinator last answered a member to which its group assigns no partition.
    pub(super) spare: Arc<Seen>,
}

/// What is counted without labels.
#[derive(Debug, Default)]
struct Totals {
    already_finished: Counter,
    ambiguous: Counter,
    commit_failures: Counter,
    intake_stops: Counter,
    restored_entries: Counter,
    stuck: Counter,
    suspended: Counter,
    resets: Counter,
    truncated: Counter,
    unfinished: Counter,
}

impl RunMetrics {
    /// Metrics that `monitor` exposes of the members of these groups, counted together, and its
    /// checks: that the loop turns, for health, and that partitions are assigned and brokers answer,
    /// for readiness. A spare member, to which its group assigns no partition, is ready, too. A
    /// process without a group has neither a loop nor partitions, and is ready when brokers answer.
    pub fn register(monitor: &mut Monitor, groups: &[&str]) -> Arc<Self> {
        let metrics = Arc::new(Self {
            messaging: Messaging::register(&mut monitor.registry, &groups.join(",")),
            records: Counters::default(),
            retries: Counters::default(),
            rebalanced: Counters::default(),
            publish_failures: Counters::default(),
            totals: Totals::default(),
            publishes: seconds(),
            commits: seconds(),
            partitions: Arc::default(),
            turns: Arc::default(),
            broker: Arc::default(),
            spare: Arc::default(),
        });
        metrics.begin_at_zero();
        metrics.register_own(&mut monitor.registry);
        metrics.totals.register(&mut monitor.registry);
        if !groups.is_empty() {
            metrics.register_checks_of_members(monitor);
        }
        let broker = metrics.broker.clone();
        let seen = move || broker.within(BROKER_LIMIT, "a broker answered");
        monitor.readiness.push(Check::new("broker", seen));
        metrics
    }

    fn register_own(&self, registry: &mut Registry) {
        let help = "Records that have met their fate";
        registry.register("jobstream_records", help, self.records.clone());
        let help = "Attempts that failed and are made again";
        registry.register("jobstream_retries", help, self.retries.clone());
        let help = "Partitions that were assigned, revoked, given up or lost";
        registry.register("jobstream_rebalanced_partitions", help, self.rebalanced.clone());
        let help = "Batches, or parts of one, that were not published and are going to be again";
        registry.register("jobstream_publish_failures", help, self.publish_failures.clone());
        let (name, help) = ("jobstream_publish_duration", "How long a batch took to be published");
        registry.register_with_unit(name, help, Unit::Seconds, self.publishes.clone());
        let help = "How long positions took to be committed, in a transaction with its outputs";
        let name = "jobstream_commit_duration";
        registry.register_with_unit(name, help, Unit::Seconds, self.commits.clone());
        registry.register_collector(Box::new(self.partitions.clone()));
    }

    /// Counts from zero what is known beforehand: a first dead letter is then an increase.
    fn begin_at_zero(&self) {
        let dead = [UNDECODABLE, UNENCODABLE, TOO_MANY_HEADERS, TOO_LARGE].map(Fate::DeadLettered);
        let fates = FAILURES.map(Fate::Failed).into_iter().chain(dead);
        for fate in fates.chain([Fate::Succeeded]) {
            begin_at_zero(&self.records, labels(fate));
        }
        for cause in [JobErrorKind::Transient, JobErrorKind::Ambiguous] {
            begin_at_zero(&self.retries, [("cause", cause.name())]);
        }
        for change in CHANGES {
            begin_at_zero(&self.rebalanced, [("change", change)]);
        }
        for reason in REASONS {
            begin_at_zero(&self.publish_failures, [("reason", reason)]);
        }
    }

    fn register_checks_of_members(&self, monitor: &mut Monitor) {
        let turns = self.turns.clone();
        monitor.health.push(Check::new("run", move || turns.within(TURN_LIMIT)));
        let (partitions, spare) = (self.partitions.clone(), self.spare.clone());
        monitor.readiness.push(Check::new("partitions", move || match partitions.count() {
            0 if spare.within(BROKER_LIMIT, "").is_ok() => {
                Ok("spare: a member of the group, to which it assigns none".to_owned())
            }
            0 => Err("no partition is assigned".to_owned()),
            count => match partitions.lacking_part() {
                Some(partition) => Err(format!("{partition} waits for its part of the state")),
                None => Ok(format!("{count} assigned")),
            },
        }));
    }

    fn partition(&self, event: &Event<'_>) {
        let [assigned, revoked, released, lost] = CHANGES;
        let change = match event {
            Event::Assigned(assignment) => {
                self.partitions.insert(&assignment.partition);
                assigned
            }
            Event::Revoked(_) => revoked,
            Event::Released(partition) => {
                self.partitions.remove(partition);
                released
            }
            Event::Lost(partition) => {
                self.partitions.remove(partition);
                // A worker that loses partitions is no member at that moment, spare or not.
                self.spare.forget();
                lost
            }
            _ => return,
        };
        self.rebalanced.get_or_create(&[("change", change)]).inc();
    }

    fn attempt(&self, event: &Event<'_>) {
        match event {
            Event::Executed { record, error, took, .. } => {
                let kind = error.map(|error| error.kind());
                self.messaging.processed(record, kind.map(JobErrorKind::name), took.as_secs_f64());
                if kind == Some(JobErrorKind::Ambiguous) {
                    self.totals.ambiguous.inc();
                }
            }
            Event::Retried { error, .. } => {
                let cause = error.kind().name();
                self.retries.get_or_create(&[("cause", cause)]).inc();
            }
            Event::Suspended { .. } => _ = self.totals.suspended.inc(),
            _ => {}
        }
    }

    fn effect(&self, event: &Event<'_>) {
        match event {
            Event::Published { batch, took, .. } => {
                self.messaging.sent(batch);
                self.publishes.observe(took.as_secs_f64());
            }
            Event::PublishFailed(error) => {
                let reason = reason_name(error);
                self.publish_failures.get_or_create(&[("reason", reason)]).inc();
            }
            Event::Committed { took, .. } => self.commits.observe(took.as_secs_f64()),
            Event::CommitFailed(_) => _ = self.totals.commit_failures.inc(),
            _ => {}
        }
    }
}

impl Observer for RunMetrics {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Assigned(_) | Event::Published { .. } | Event::Committed { .. } => {
                self.broker.now();
            }
            _ => {}
        }
        match event {
            Event::Fetched(record) => self.messaging.consumed(record),
            Event::Finished { fate, .. } => _ = self.records.get_or_create(&labels(*fate)).inc(),
            Event::Frontier { partition, offset, in_flight, age } => {
                let (offset, in_flight, age) = (*offset, *in_flight, *age);
                self.partitions.stands(partition, Frontier { offset, in_flight, age });
            }
            Event::PartMissing { partition, .. } => self.partitions.lack_part(*partition, true),
            Event::Restored { partition, entries, .. } => {
                self.partitions.lack_part(*partition, false);
                self.totals.restored_entries.inc_by(*entries as u64);
            }
            Event::Turned(run) => self.turns.turned(*run),
            Event::Ended(run) => self.turns.ended(*run),
            Event::Assigned(_) | Event::Revoked(_) | Event::Released(_) | Event::Lost(_) => {
                self.partition(event);
            }
            Event::Executed { .. } | Event::Retried { .. } | Event::Suspended { .. } => {
                self.attempt(event);
            }
            _ => {
                self.effect(event);
                self.totals.count(event);
            }
        }
    }
}

impl Totals {
    fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            (
                "already_finished",
                "Records that a former owner had finished",
                &self.already_finished,
            ),
            ("ambiguous_attempts", "Attempts of which nobody knows the outcome", &self.ambiguous),
            ("commit_failures", "Commits that failed", &self.commit_failures),
            ("intake_stops", "Times that no more records were taken in", &self.intake_stops),
            ("partition_resets", "Partitions whose offsets went back", &self.resets),
            ("restored_entries", "Entries of keyed state that were read", &self.restored_entries),
            ("stuck", "Records that held their partition's frontier for too long", &self.stuck),
            ("suspended", "Attempts that found the job sink unavailable", &self.suspended),
            (
                "truncated_records",
                "Offsets that retention removed unread, without finished ones",
                &self.truncated,
            ),
            ("unfinished_records", "Records that a drain's end cut off", &self.unfinished),
        ] {
            registry.register(format!("jobstream_{name}"), help, counter.clone());
        }
    }

    fn count(&self, event: &Event<'_>) {
        match event {
            Event::AlreadyFinished(_) => _ = self.already_finished.inc(),
            Event::Intake { open: false } => _ = self.intake_stops.inc(),
            Event::Reset { .. } => _ = self.resets.inc(),
            Event::Stuck { .. } => _ = self.stuck.inc(),
            Event::Truncated { unfinished, .. } => _ = self.truncated.inc_by(*unfinished),
            Event::CutOff { unfinished, .. } => _ = self.unfinished.inc_by(*unfinished as u64),
            _ => {}
        }
    }
}

const fn labels(fate: Fate) -> Words<2> {
    let (fate, reason) = match fate {
        Fate::Succeeded => ("succeeded", ""),
        Fate::Failed(kind) => ("failed", kind.name()),
        Fate::Skipped(stage) => ("skipped", stage),
        Fate::DeadLettered(reason) => ("dead-letter", reason),
        _ => ("other", ""),
    };
    [("fate", fate), ("reason", reason)]
}

/// What happens to partitions.
const CHANGES: [&str; 4] = ["assigned", "revoked", "released", "lost"];

/// Why a batch is not published.
const REASONS: [&str; 3] = ["too-large", "aborted", "broken"];

const fn reason_name(error: &SinkError) -> &'static str {
    let [too_large, aborted, broken] = REASONS;
    match error {
        SinkError::TooLarge { .. } => too_large,
        SinkError::Aborted(_) => aborted,
        SinkError::Broken(_) => broken,
        _ => "other",
    }
}
