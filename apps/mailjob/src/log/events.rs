//! The lines of a run: one a job, and one a change.

use std::sync::Arc;

use jobstream::record::ConsumerRecord;
use jobstream::sinks::JobErrorKind;
use jobstream::topology::{Event, Fate, Observer};
use mailjob::job_id::job_id;
use tracing::{Level, debug, enabled, info, warn};

use super::{KafkaLog, LedgerLog};

/// Logs what a run tells. The words of a mail server are not among it: they may hold an address.
pub(crate) struct JobLog {
    kafka: Arc<KafkaLog>,
    ledger: Arc<LedgerLog>,
}

impl JobLog {
    /// Tells `kafka` when records flow; asks `ledger` for duplicates.
    pub(crate) fn new(kafka: Arc<KafkaLog>, ledger: Arc<LedgerLog>) -> Self {
        Self { kafka, ledger }
    }
}

impl Observer for JobLog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Assigned(_) | Event::Published { .. } | Event::Committed { .. } => {
                self.kafka.is_back();
            }
            Event::Lost(partition) | Event::Released(partition) => self.ledger.forget(partition),
            _ => {}
        }
        match event {
            Event::Finished { record, fate } => {
                let is_duplicate = self.ledger.is_duplicate(record);
                finished(record, *fate, is_duplicate);
            }
            Event::Restored { partition, entries, took } => {
                let seconds = took.as_secs_f64();
                info!(partition, entries, seconds, "Ledger restored");
            }
            Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) | Event::Released(_) => {
                partition(event);
            }
            Event::Executed { .. } | Event::Retried { .. } | Event::Suspended { .. } => {
                attempt(event);
            }
            _ => trouble(event),
        }
    }
}

/// The line of a job.
fn finished(record: &ConsumerRecord, fate: Fate, is_duplicate: bool) {
    if !enabled!(Level::INFO) {
        return;
    }
    let (fate, reason) = match fate {
        Fate::Succeeded if is_duplicate => ("duplicate", None),
        Fate::Succeeded => ("succeeded", None),
        Fate::Failed(kind) => ("failed", Some(kind_name(kind))),
        Fate::Skipped(stage) => ("skipped", Some(stage)),
        Fate::DeadLettered(reason) => ("dead-letter", Some(reason)),
    };
    let id = job_id(record.value.as_deref());
    let (topic, partition) = (&*record.partition.topic, record.partition.partition);
    let offset = record.offset;
    info!(id = id.as_deref(), topic, partition, offset, fate, reason, "Job finished");
}

const fn kind_name(kind: JobErrorKind) -> &'static str {
    match kind {
        JobErrorKind::Permanent => "permanent",
        JobErrorKind::Transient => "transient",
        JobErrorKind::Ambiguous => "ambiguous",
        JobErrorKind::Unavailable => "unavailable",
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

fn attempt(event: &Event<'_>) {
    match event {
        Event::Executed { record, attempt, error: Some(error), .. } => {
            let (partition, offset) = (record.partition.partition, record.offset);
            let reason = kind_name(error.kind());
            debug!(partition, offset, attempt, reason, "Attempt failed");
        }
        Event::Retried { record, attempt, delay, .. } => {
            let (partition, offset) = (record.partition.partition, record.offset);
            let delay_seconds = delay.as_secs_f64();
            info!(partition, offset, attempt, delay_seconds, "Job waits for another attempt");
        }
        Event::Suspended { record, .. } => {
            let (partition, offset) = (record.partition.partition, record.offset);
            debug!(partition, offset, "Job waits for the mail server");
        }
        _ => {}
    }
}

fn trouble(event: &Event<'_>) {
    match event {
        Event::Truncated { partition, from, to } => {
            let (topic, partition) = (&*partition.topic, partition.partition);
            warn!(topic, partition, from, to, "Retention removed records before they were read");
        }
        Event::PublishFailed(error) => warn!(%error, "Outputs are published again"),
        Event::CommitFailed(error) => warn!(%error, "Positions were not committed"),
        Event::CloseFailed(error) => warn!(error, "Not closed in time"),
        Event::Stuck { partition, offset, age } => {
            let (topic, partition) = (&*partition.topic, partition.partition);
            let age_seconds = age.as_secs();
            warn!(topic, partition, offset, age_seconds, "Partition stands still");
        }
        Event::CutOff { partition, unfinished } => {
            let (topic, partition) = (&*partition.topic, partition.partition);
            warn!(topic, partition, unfinished, "Drain cut off");
        }
        Event::Intake { open } => debug!(open, "Intake"),
        Event::AlreadyFinished(record) => {
            let (partition, offset) = (record.partition.partition, record.offset);
            debug!(partition, offset, "Record was finished by another member");
        }
        _ => {}
    }
}
