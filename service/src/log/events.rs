//! The lines of a run: one a job, and one a change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::jobs::job_id;
use crate::traces::{RunTraces, TraceId};
use jobstream::record::ConsumerRecord;
use jobstream::topology::{Event, Fate, Observer};
use tracing::field::display;
use tracing::{Level, debug, enabled, info, warn};

use super::{KafkaLog, LedgerLog, RunLog};

/// Logs the events of a run, without the words of a server: they may hold what is in a job.
pub(crate) struct JobLog {
    kafka: Arc<KafkaLog>,
    ledger: Arc<LedgerLog>,
    traces: Option<Arc<RunTraces>>,
    /// Whether the service gives the ledger's topic the partitions that it lacks.
    grows_ledger: bool,
    /// What jobs wait for that find their job sink unavailable.
    server: &'static str,
    run: RunLog,
    /// The partition numbers that have no part of the ledger, and were logged.
    missing: Mutex<BTreeSet<i32>>,
}

impl JobLog {
    /// Notifies `kafka` when records flow. Asks `ledger` for duplicates, and `traces` for the trace
    /// of a record: so `traces` must be notified of the record after this log.
    pub(crate) fn new(
        kafka: Arc<KafkaLog>,
        ledger: Arc<LedgerLog>,
        traces: Option<Arc<RunTraces>>,
    ) -> Self {
        let (grows_ledger, server, missing) = (false, "server", Mutex::default());
        let run = RunLog::default();
        Self { kafka, ledger, traces, grows_ledger, server, run, missing }
    }

    /// Whether the service gives the ledger's topic the partitions that it lacks.
    pub(crate) const fn growing_ledger(mut self, grows_ledger: bool) -> Self {
        self.grows_ledger = grows_ledger;
        self
    }

    /// What jobs wait for that find their job sink unavailable.
    pub(crate) const fn waiting_for(mut self, server: &'static str) -> Self {
        self.server = server;
        self
    }

    /// The line of a partition that has no part of the ledger; once, until it has one.
    fn part_is_missing(&self, partition: i32, reason: &str) {
        if !self.missing().insert(partition) {
            return;
        }
        let next = match self.grows_ledger {
            true => "the service creates the topic, or gives it its partitions",
            false => "create the topic, or give it partitions, or set TOPIC_CREATE=true",
        };
        warn!(partition, "Ledger has no partition for this one, which waits: {reason}; {next}");
    }

    fn missing(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trace_id(&self, record: &ConsumerRecord) -> Option<TraceId> {
        self.traces.as_ref()?.trace_id(record)
    }

    /// The line of a job.
    fn finished(&self, record: &ConsumerRecord, fate: Fate) {
        let is_duplicate = self.ledger.is_duplicate(record);
        if !enabled!(Level::INFO) {
            return;
        }
        let (fate, reason) = match fate {
            Fate::Succeeded if is_duplicate => ("duplicate", None),
            Fate::Succeeded => ("succeeded", None),
            Fate::Failed(kind) => ("failed", Some(kind.name())),
            Fate::Skipped(stage) => ("skipped", Some(stage)),
            Fate::DeadLettered(reason) => ("dead-letter", Some(reason)),
            _ => ("other", None),
        };
        let (id, trace_id) = (job_id(record.value.as_deref()), self.trace_id(record).map(display));
        let (topic, partition) = (&*record.partition.topic, record.partition.partition);
        let (id, offset) = (id.as_deref(), record.offset);
        info!(id, trace_id, topic, partition, offset, fate, reason, "Job finished");
    }

    /// The line of an attempt that another one may follow.
    fn attempt(&self, event: &Event<'_>) {
        let (Event::Executed { record, .. }
        | Event::Retried { record, .. }
        | Event::Suspended { record, .. }) = event
        else {
            return;
        };
        let is_told = match event {
            Event::Executed { error, .. } => error.is_some() && enabled!(Level::DEBUG),
            Event::Suspended { .. } => enabled!(Level::DEBUG),
            _ => enabled!(Level::INFO),
        };
        if !is_told {
            return;
        }
        let (id, trace_id) = (job_id(record.value.as_deref()), self.trace_id(record).map(display));
        let (partition, offset) = (record.partition.partition, record.offset);
        let id = id.as_deref();
        match event {
            Event::Executed { attempt, error: Some(error), .. } => {
                let reason = error.kind().name();
                debug!(id, trace_id, partition, offset, attempt, reason, "Attempt failed");
            }
            Event::Retried { attempt, delay, .. } => {
                let (delay_seconds, text) = (delay.as_secs_f64(), "Job waits for another attempt");
                info!(id, trace_id, partition, offset, attempt, delay_seconds, "{text}");
            }
            _ => {
                let server = self.server;
                debug!(id, trace_id, partition, offset, "Job waits for the {server}");
            }
        }
    }
}

impl Observer for JobLog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Assigned(_) | Event::Published { .. } | Event::Committed { .. } => {
                self.kafka.is_back();
            }
            Event::Lost(partition) | Event::Released(partition) => {
                self.ledger.forget(partition);
                self.run.on(event);
            }
            _ => {}
        }
        match event {
            Event::Finished { record, fate, .. } => self.finished(record, *fate),
            Event::Restored { partition, entries, took } => {
                self.missing().remove(partition);
                let seconds = took.as_secs_f64();
                info!(partition, entries, seconds, "Ledger restored");
            }
            Event::Carried { partition, entries } => warn!(
                partition,
                entries, "Ledger's topic was created anew, what was known is written to it again"
            ),
            Event::PartMissing { partition, reason } => self.part_is_missing(*partition, reason),
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) | Event::Released(_) => {
                partition(event);
            }
            Event::Executed { .. } | Event::Retried { .. } | Event::Suspended { .. } => {
                self.attempt(event);
            }
            _ => self.run.on(event),
        }
    }
}

fn partition(event: &Event<'_>) {
    let (text, found) = match event {
        Event::Assigned(assignment) => ("Partition assigned", &assignment.partition),
        Event::Revoked(partition) => ("Partition revoked", *partition),
        Event::Lost(partition) => ("Partition lost", *partition),
        Event::Released(partition) => ("Partition given up", *partition),
        _ => return,
    };
    let (topic, partition) = (&*found.topic, found.partition);
    info!(topic, partition, "{text}");
}
