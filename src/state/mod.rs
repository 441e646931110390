//! Keyed state: what the jobs of a partition remember, in memory and on a compacted topic.
//!
//! ```text
//!              restore (on assignment, before the first job)
//!   topic ──────────────────────────────────────▶ part ◀─── get · range ─── job
//!     ▲                                            ▲                         │
//!     │            outputs, changes, positions     │ acknowledged     put · remove · persist
//!     └──────────────────── batch ─────────────────┴─────────────────────────┘
//! ```
//!
//! A worker has one [`Store`], and one *part* of it in memory for each partition number that it is
//! assigned. Topics that are consumed together share the part of their partition number, so that
//! their members must have the same partitions of each.
//!
//! What a job changes is published with the outputs of its record, in exactly-once mode in the
//! transaction that holds the record's position too: after a crash the state holds the changes of
//! exactly the records that the position counts as finished. In at-least-once mode it may also hold
//! those of records that are delivered again, and nothing stops a member that has lost a partition
//! from changing its part. [`State::persist`] makes changes durable before the record is finished.
//!
//! # Why it is so
//!
//! A job's changes belong to the fate of its record. As records of the same batch they are in the
//! same transaction as results and position, need no protocol of their own, and are fenced, aborted
//! and published again like everything else. A store only has to read.
//!
//! Parts go by partition number, and not by topic, since what a job must remember often comes by
//! another topic with the same key. Topics that share a part need an assignor that gives a member
//! the same partitions of each (`range` does), and partitions that share a part are released
//! together.
//!
//! A restore waits for open transactions, since a former owner may have committed after it was
//! given up. Up to the end that `read_uncommitted` sees, everything is either committed, and read,
//! or aborted. What comes later is refused, because it carries the position of a partition that has
//! moved.

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use smallvec::SmallVec;

use crate::reason::Reason;
use crate::record::{Topic, TopicId};

mod changes;
mod drain;
mod handle;
#[cfg(feature = "kafka")]
pub mod kafka;
mod part;
mod persist;

pub(crate) use changes::Changes;
pub(crate) use drain::DrainEnd;
pub use handle::State;
pub(crate) use part::Part;
pub(crate) use persist::Persist;
pub use persist::PersistError;

/// The key of an entry: up to 16 bytes take no memory of their own.
pub type Key = SmallVec<[u8; 16]>;

/// The value of an entry: up to 24 bytes take no memory of their own.
pub type Value = SmallVec<[u8; 24]>;

/// An entry of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its key.
    pub key: Key,
    /// Its value.
    pub value: Value,
}

/// Where state outlives its worker: the changes go to a topic through the worker's sink, each at
/// the part's partition number, keyed by the entry's key, with a null value for a removal.
///
/// The topic is compacted and never deletes by age, and has a partition for each partition number
/// that its workers consume. No other record belongs on it.
#[async_trait]
pub trait Store: Send + Sync {
    /// The topic.
    fn topic(&self) -> &Topic;

    /// Reads a part: the last committed value of each key that was not removed, in any order, each
    /// key once.
    ///
    /// It has everything that was acknowledged before it was called. A transaction that is open
    /// then is waited for, and what is aborted is left out. Passing faults are retried inside,
    /// without limit.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    ///
    /// # Errors
    /// See [`StoreError`].
    async fn restore(&self, partition: i32) -> Result<Vec<Entry>, StoreError>;

    /// The id of the topic, if it is there and its id is known. Once batches were not published, a worker
    /// asks whether it has changed: then the topic was deleted and created again, and what the worker
    /// knows of its parts is published again.
    ///
    /// Unless it is implemented, no id is known.
    async fn topic_id(&self) -> Option<TopicId> {
        None
    }
}

/// Why a part could not be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// The store is broken for good.
    Broken(Reason),
    /// The topic has no partition of this number, for now: found and expected, in words. Whoever
    /// asked may ask again.
    Missing(Reason),
}

impl StoreError {
    /// The store is broken for good.
    pub fn broken(reason: impl Into<Reason>) -> Self {
        Self::Broken(reason.into())
    }

    /// The topic has no partition of this number, for now.
    pub fn missing(reason: impl Into<Reason>) -> Self {
        Self::Missing(reason.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => write!(f, "the state store is broken: {reason}"),
            Self::Missing(reason) => write!(f, "{reason}"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (Self::Broken(reason) | Self::Missing(reason)) = self;
        reason.source()
    }
}
