//! The lines of the ledger: what was left open, and what has no room.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::ledger::{Event, Observer};
use tracing::{debug, info, warn};

/// Logs the ledger's events, and remembers which jobs in flight are duplicates.
#[derive(Default)]
pub(crate) struct LedgerLog {
    duplicates: Mutex<BTreeSet<(TopicPartition, i64)>>,
    /// Jobs that this process has left in doubt.
    left_in_doubt: AtomicUsize,
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

impl Observer for LedgerLog {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Duplicate(record) => {
                self.duplicates().insert((record.partition.clone(), record.offset));
            }
            Event::LeftInDoubt(_) => drop(self.left_in_doubt.fetch_add(1, Ordering::Relaxed)),
            Event::Resent { record, resends } => {
                let (partition, offset) = (record.partition.partition, record.offset);
                warn!(partition, offset, resends, "Job is sent again, its last end was ambiguous");
            }
            Event::Parked(record) => {
                let (partition, offset) = (record.partition.partition, record.offset);
                warn!(partition, offset, "Job is parked, its end was ambiguous");
            }
            Event::StaysParked(record) => {
                let (partition, offset) = (record.partition.partition, record.offset);
                warn!(partition, offset, "Job stays parked");
            }
            Event::Full { partition, entries } => {
                warn!(partition, entries, "Ledger is full, jobs wait; see JOB_LEDGER_ENTRIES");
            }
            Event::HasRoom { partition } => info!(partition, "Ledger has room"),
            Event::Pruned { partition, entries } => debug!(partition, entries, "Ledger pruned"),
            _ => {}
        }
    }
}
