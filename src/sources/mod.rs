//! Sources: where records come from, and where positions go back to.
//!
//! ```text
//!            events()                        pause · resume
//!  broker ─────────────▶ Assigned, Record,  ◀────────────── topology
//!         ◀───────────── Revoked, Lost       commit · release
//! ```
//!
//! One source serves one worker. All methods take `&self`, because a commit overlaps the stream.
//!
//! The events are taken at run time. A stream that is handed out at construction, beside the
//! source, would be a second value in each worker and each wrapper, and could be given to another
//! source's run. [`Once`] makes the second call an error that ends a run at its start, and says
//! why.

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
    /// - a partition whose offsets go back (its topic was created anew, or its log has lost its
    ///   end) is `Assigned` again, under a new generation and with the [`Reset`] that was noticed:
    ///   it begins anew, and no record of the former generation is yielded any more;
    /// - after `Revoked`, the partition stays with this member until [`release`](Self::release), or
    ///   until `Lost` reports that it is gone.
    ///
    /// The stream must be polled at all times, since it also yields assignments while every
    /// partition is paused. Its end means that no more records will come.
    ///
    /// There is one stream: a second call yields an error that says so. An implementation keeps a
    /// [`Once`] for this.
    ///
    /// # Cancellation
    /// Dropping the stream loses no record: records that were not committed are delivered again.
    ///
    /// # Errors
    /// An error means that the source is broken for good, and ends the stream. The source itself
    /// waits for passing faults to end.
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>>;

    /// Yields no record of these partitions from the next poll on, until they are resumed. A pause
    /// ends with the assignment. Unassigned partitions are ignored.
    fn pause(&self, partitions: &[TopicPartition]);

    /// Ends a pause; the next record is the one after the last that was yielded.
    fn resume(&self, partitions: &[TopicPartition]);

    /// Commits positions; durable when it completes.
    ///
    /// # Cancellation
    /// A dropped commit has committed all of the positions or none.
    ///
    /// # Errors
    /// See [`CommitError`]; nothing was committed then.
    async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError>;

    /// How far above the frontier a committed record may be finished, in offsets: as much of a
    /// [`Position`] as fits into the metadata that the broker accepts. At most
    /// [`Position::WINDOW_OFFSETS`]; it shrinks when the source learns of a limit. A committed
    /// position must not contain offsets further above.
    fn window_offsets(&self) -> i64;

    /// Gives up revoked partitions, once their records are finished and their positions committed.
    /// Partitions that are lost or were not revoked are ignored.
    ///
    /// # Cancellation
    /// After a drop, the partitions may have been given up or not.
    ///
    /// # Errors
    /// If the source is broken for good.
    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), SourceError>;

    /// Leaves the group, so that other members take over at once. Commits nothing.
    ///
    /// # Cancellation
    /// After a drop, the member may have left, or the group waits for its session to time out.
    ///
    /// # Errors
    /// If the group could not be notified; it then waits for the session to time out.
    async fn close(&self) -> Result<(), SourceError>;
}

/// Gives the stream of a source once.
#[derive(Debug, Default)]
pub struct Once(AtomicBool);

impl Once {
    /// The stream made by `events` at the first call; at any later call a stream that yields an
    /// error.
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
    /// The group asks for these partitions back: finish what is in flight, commit, and release
    /// them.
    Revoked(Vec<TopicPartition>),
    /// These partitions are gone: another member may already have them, and a commit is refused.
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
    /// The number of this assignment, which each of its records carries.
    pub generation: Generation,
    /// What the group has committed for the current topic, if anything; if offsets went back, where
    /// the partition begins anew.
    pub position: Option<Position>,
    /// Why the partition begins anew, if it does: what this member knew of it before is no longer
    /// valid.
    pub reset: Option<Reset>,
}

/// How it was noticed that a partition's offsets went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The topic was deleted and created again.
    TopicRecreated {
        /// The id of the former topic.
        was: TopicId,
        /// The id of the current topic.
        is: TopicId,
    },
    /// A record has a lower offset than the one before it, or than the committed offset: the log
    /// has lost its end, or the commit was beyond its end.
    OffsetsWentBack {
        /// The lowest offset that was expected.
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
    /// An error with this reason.
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
    /// A partition belongs to another member by now, or the group has a newer generation. These
    /// positions can never be committed; the source reports the partitions as lost or revoked.
    Fenced(Reason),
    /// A passing fault; the same commit can be made again.
    Transient(Reason),
    /// The source is broken for good.
    Broken(Reason),
}

impl CommitError {
    /// These positions can never be committed.
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
