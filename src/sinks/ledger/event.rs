//! What a ledger reports about itself, for metrics, traces and logs.

use std::sync::Arc;
use std::time::Duration;

use crate::record::ConsumerRecord;

/// Is notified of what a ledger does, on the task of the job: it must return soon and must not block.
/// Closures implement it.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn on(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Ignores every event.
impl Observer for () {
    fn on(&self, _: &Event<'_>) {}
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

/// Notifies all of them, in order.
impl<O: Observer> Observer for Vec<O> {
    fn on(&self, event: &Event<'_>) {
        self.iter().for_each(|observer| observer.on(event));
    }
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An intent is durable: the attempt begins.
    Intended {
        /// The record.
        record: &'a ConsumerRecord,
        /// Entries of the record's partition number.
        entries: usize,
    },
    /// A job has taken a place among those in doubt, or has left it; or the ledger was given its
    /// observer.
    InDoubt {
        /// How many are taken.
        now: usize,
        /// How many there are.
        limit: usize,
    },
    /// How an attempt has ended is durable.
    OutcomeDurable {
        /// The record.
        record: &'a ConsumerRecord,
        /// How long that took since the job sink had answered.
        took: Duration,
    },
    /// The attempt that begins follows one that left open whether the job was executed: it may be
    /// executed twice.
    Resent {
        /// The record.
        record: &'a ConsumerRecord,
        /// How often that has happened to this job, this time included.
        resends: u32,
    },
    /// An attempt has certainly not executed the job, which is durable.
    NotExecuted(&'a ConsumerRecord),
    /// The time of a drain was over before the effect of an attempt began: the attempt is given up,
    /// and it is durable that the job was not executed by it.
    Withdrawn(&'a ConsumerRecord),
    /// An attempt was dropped between its intent and its outcome: where the intent is durable, nobody
    /// knows whether the job was executed.
    LeftInDoubt(&'a ConsumerRecord),
    /// An attempt of a job whose record has no key: the same job can come in another partition, where
    /// the ledger does not know it. It is [executed or refused](super::Ledger::executing_unkeyed).
    Unkeyed(&'a ConsumerRecord),
    /// A job that was executed has come again: it is not executed, and its result is given again.
    Duplicate(&'a ConsumerRecord),
    /// A job was executed or not, and is parked.
    Parked(&'a ConsumerRecord),
    /// A job that is parked has come again, and stays parked.
    StaysParked(&'a ConsumerRecord),
    /// The part of a partition number has an entry that is none of a ledger: whatever job has its key
    /// is taken for one that was executed or not, and the entry is never removed. Emitted for the first
    /// one that is found.
    Unreadable {
        /// The partition number.
        partition: i32,
        /// What was found, and what was expected.
        found: &'a str,
    },
    /// Old entries are removed.
    Pruned {
        /// The partition number.
        partition: i32,
        /// How many.
        entries: usize,
    },
    /// The ledger is full and has no entry that is old enough to be removed: jobs wait.
    Full {
        /// The partition number.
        partition: i32,
        /// Its entries.
        entries: usize,
    },
    /// There is room again.
    HasRoom {
        /// The partition number.
        partition: i32,
    },
}
