//! The lines of the ledger: what was left open, and what has no room.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::ledger::{Event, Observer};
use tracing::{debug, info, warn};

use crate::jobs::job_id;

/// Logs the ledger's events, and remembers which jobs in flight are duplicates.
#[derive(Default)]
pub(crate) struct LedgerLog {
    duplicates: Mutex<BTreeSet<(TopicPartition, i64)>>,
    /// Jobs that this process has left in doubt.
    left_in_doubt: AtomicUsize,
    has_unkeyed: AtomicBool,
}

impl LedgerLog {
    /// Whether the job was executed before and not again; asked once, when it is finished.
    pub(crate) fn is_duplicate(&self, record: &ConsumerRecord) -> bool {
        let mut duplicates = self.duplicates();
        !duplicates.is_empty() && duplicates.remove(&(record.partition.clone(), record.offset))
    }

    /// How many jobs this process has left in doubt so far.
    pub(crate) fn left_in_doubt(&self) -> usize {
        self.left_in_doubt.load(Ordering::Relaxed)
    }

    /// A partition has gone: what was in flight is not finished here.
    pub(crate) fn forget(&self, partition: &TopicPartition) {
        self.duplicates().retain(|(of, _)| of != partition);
    }

    fn duplicates(&self) -> MutexGuard<'_, BTreeSet<(TopicPartition, i64)>> {
        self.duplicates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line of a job that is in doubt.
fn of_job(record: &ConsumerRecord, resends: Option<u32>, text: &str) {
    let (topic, partition) = (&*record.partition.topic, record.partition.partition);
    let (id, offset) = (job_id(record.value.as_deref()), record.offset);
    warn!(id = id.as_deref(), topic, partition, offset, resends, "{text}");
}

impl Observer for LedgerLog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Duplicate(record) => {
                self.duplicates().insert((record.partition.clone(), record.offset));
            }
            Event::LeftInDoubt(_) => drop(self.left_in_doubt.fetch_add(1, Ordering::Relaxed)),
            Event::Resent { record, resends } => {
                of_job(record, Some(*resends), "Job is sent again, its last end was ambiguous");
            }
            Event::Unkeyed(record) if !self.has_unkeyed.swap(true, Ordering::Relaxed) => {
                let (partition, offset) = (record.partition.partition, record.offset);
                warn!(
                    partition,
                    offset,
                    "Job has no record key, and is another job in every other partition; said once"
                );
            }
            Event::Parked(record) => of_job(record, None, "Job is parked, its end was ambiguous"),
            Event::StaysParked(record) => of_job(record, None, "Job stays parked"),
            Event::Unreadable { partition, found } => warn!(
                partition,
                "Ledger's topic has a record of another program, the job of its key counts as in doubt: \
                 {found}"
            ),
            Event::Full { partition, entries } => {
                warn!(partition, entries, "Ledger is full, jobs wait; see JOB_LEDGER_ENTRIES");
            }
            Event::HasRoom { partition } => info!(partition, "Ledger has room"),
            Event::Pruned { partition, entries } => debug!(partition, entries, "Ledger pruned"),
            _ => {}
        }
    }
}
