//! Sources: where records come from, and where positions go back to.
//!
//! ```text
//!            events()                        pause · resume
//!  broker ─────────────▶ Assigned, Record,  ◀────────────── topology
//!         ◀───────────── Revoked, Lost       commit · release
//! ```
//!
//! One source serves one worker. All methods take `&self`, because a commit overlaps the stream.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::position::{PartitionPosition, Position};
use crate::reason::Reason;
use crate::record::{ConsumerRecord, Generation, TopicId, TopicPartition};

#[cfg(feature = "kafka")]
pub mod kafka;

/// A consumer in a group: it yields records of the partitions it is assigned and commits positions.
#[async_trait]
pub trait Source: Send + Sync {
    /// Joins the group and yields what happens, in order:
    ///
    /// - a partition's records come after its `Assigned`, ascending by offset, starting at the
    ///   committed frontier (the records of the finished set are yielded too), and never after its
    ///   `Revoked` or `Lost`;
    /// - a partition whose offsets go back (its topic was created anew, its log has lost its end) is
    ///   `Assigned` once more, under a new generation and with the [`Reset`] that was noticed: it
    ///   begins anew, and no record of the generation before is yielded any more;
    /// - after `Revoked`, the partition stays with this member until [`release`](Self::release), or
    ///   until `Lost` says that it is gone already.
    ///
    /// The stream must be polled at all times: assignments come through it also while every
    /// partition is paused. Its end means that no record will come any more.
    ///
    /// There is one stream: what a second call gives is an error that says so. An implementation
    /// keeps a [`Once`], which sees to it.
    ///
    /// # Cancellation
    /// Dropping the stream loses no record: what was not committed is delivered again.
    ///
    /// # Errors
    /// An error says that the source is broken for good, and ends the stream. Passing faults are
    /// waited for inside.
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>>;

    /// Yields no record of these partitions from the next poll on, until they are resumed. A pause
    /// ends with the assignment. Unassigned partitions are passed over.
    fn pause(&self, partitions: &[TopicPartition]);

    /// Ends a pause; the next record is the one after the last that was yielded.
    fn resume(&self, partitions: &[TopicPartition]);

    /// Commits positions; durable when it completes.
    ///
    /// # Cancellation
    /// Dropped, it has committed all or nothing.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing was committed then.
    async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError>;

    /// How far above the frontier a commit can say that a record is finished, in offsets: what of
    /// a [`Position`] fits into the metadata that the broker takes. At most
    /// [`Position::WINDOW_OFFSETS`]; it shrinks when the source learns of a limit. Whatever is
    /// further above must not be in a position that is committed.
    fn window_offsets(&self) -> i64;

    /// Gives up revoked partitions, once their records are finished and their positions committed.
    /// Partitions that are lost or were not revoked are passed over.
    ///
    /// # Cancellation
    /// Dropped, they were given up or not.
    ///
    /// # Errors
    /// If the source is broken for good.
    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), SourceError>;

    /// Leaves the group, so that other members take over at once. No commit is made here.
    ///
    /// # Cancellation
    /// Dropped, the group was left or waits for the session to time out.
    ///
    /// # Errors
    /// If the group could not be told; it then waits for the session to time out.
    async fn close(&self) -> Result<(), SourceError>;
}

/// Gives the stream of a source once.
#[derive(Debug, Default)]
pub struct Once(AtomicBool);

impl Once {
    /// The events, at the first call. Any other one gives an error, and makes none.
    pub fn events<'a>(
        &self,
        events: impl FnOnce() -> BoxStream<'a, Result<SourceEvent, SourceError>>,
    ) -> BoxStream<'a, Result<SourceEvent, SourceError>> {
        if !self.0.swap(true, Ordering::Relaxed) {
            return events();
        }
        let reason = "found a second call of `events`, expected one in the life of a source";
        stream::iter([Err(SourceError::new(reason))]).boxed()
    }
}

/// What a source yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEvent {
    /// These partitions are new to this member.
    Assigned(Vec<Assignment>),
    /// The next record of an assigned partition.
    Record(ConsumerRecord),
    /// These partitions are asked back: finish what is in flight, commit, and release them.
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone: another member may have them already, a commit is refused.
    Lost(Vec<TopicPartition>),
    /// Retention removed offsets before they were read: those from `from` up to, not including,
    /// `to`.
    Truncated {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was expected.
        from: i64,
        /// The first offset that is still there.
        to: i64,
    },
}

/// A partition that is newly assigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: TopicPartition,
    /// The count of this assignment, carried by each of its records.
    pub generation: Generation,
    /// What the group has committed for it as it is now, if anything; if its offsets went back, where
    /// it begins anew.
    pub position: Option<Position>,
    /// Why the partition begins anew, if it does: what this member knows of it from before counts
    /// no more.
    pub reset: Option<Reset>,
}

/// What has shown that a partition's offsets went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The topic was deleted and created again.
    TopicRecreated {
        /// The topic that the partition was of.
        was: TopicId,
        /// The topic that it is of.
        is: TopicId,
    },
    /// A record came from below the last one, or from below the committed offset: the log has lost
    /// its end, or the commit was beyond it.
    OffsetsWentBack {
        /// The offset that was expected, or one above.
        from: i64,
        /// The offset of the record.
        to: i64,
    },
}

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TopicRecreated { was, is } => {
                write!(f, "the topic was created anew: its id is {is}, and was {was}")
            }
            Self::OffsetsWentBack { from, to } => {
                write!(f, "its offsets went back: found {to}, expected {from} or above")
            }
        }
    }
}

/// A source that is broken for good.
#[derive(Clone, Debug)]
pub struct SourceError(Reason);

impl SourceError {
    /// A source that is broken for this reason.
    pub fn new(reason: impl Into<Reason>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the source is broken: {}", self.0)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// A commit that was not made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// A partition belongs to another member by now, or the group has a newer generation. It is
    /// final for these positions; the source reports the partitions as lost or revoked.
    Fenced(Reason),
    /// A passing fault; the same commit can be made again.
    Transient(Reason),
    /// The source is broken for good.
    Broken(Reason),
}

impl CommitError {
    /// It is final for these positions.
    pub fn fenced(reason: impl Into<Reason>) -> Self {
        Self::Fenced(reason.into())
    }

    /// A passing fault.
    pub fn transient(reason: impl Into<Reason>) -> Self {
        Self::Transient(reason.into())
    }

    /// The source is broken for good.
    pub fn broken(reason: impl Into<Reason>) -> Self {
        Self::Broken(reason.into())
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced(reason) => write!(f, "the commit is fenced: {reason}"),
            Self::Transient(reason) => write!(f, "the commit failed for now: {reason}"),
            Self::Broken(reason) => write!(f, "the commit failed for good: {reason}"),
        }
    }
}

impl Error for CommitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (Self::Fenced(reason) | Self::Transient(reason) | Self::Broken(reason)) = self;
        reason.source()
    }
}
