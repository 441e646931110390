//! What goes into the engine, and what comes out of it.

use std::time::Duration;

use super::super::punctuator::Punctuation;
use super::super::stages::{Finished, Wait};
use super::assignments::Assigned;
use super::jobs::{Execution, JobId};
use super::outbox::Outbox;
use super::punctuations::Punctuated;
use crate::position::PartitionPosition;
use crate::record::{Generation, TopicId, TopicPartition};
use crate::sinks::{Published, SinkError};
use crate::sources::{CommitError, SourceError, SourceEvent};
use crate::state::{Entry, Persist, StoreError};

/// What has happened.
pub(super) enum Input<'a> {
    /// The source has yielded something.
    Source(SourceEvent),
    /// A job was executed.
    Done(JobId, Finished),
    /// A job waits so long for another attempt, and goes on then.
    Waits(JobId, Wait, Execution<'a>),
    /// The job sink is ready, or is not.
    Ready(bool),
    /// A job waits for changes to be durable.
    Persist(Persist),
    /// The part of this number was read.
    Restored(i32, Result<Vec<Entry>, StoreError>),
    /// The id of the store's topic, if the store knows it.
    Identified(Option<TopicId>),
    /// A punctuator's call has ended.
    Punctuated(Punctuated),
    /// A batch was published or not, after this time.
    Published(Outbox, Result<Published, SinkError>, Duration),
    /// Positions were committed or not, after this time.
    Committed(Vec<PartitionPosition>, Result<(), CommitError>, Duration),
    /// Partitions were given up.
    Released(Vec<Assigned>, Result<(), SourceError>),
    /// The run is to come to its end.
    Shutdown,
}

/// What the driver is to do. It answers publishes, commits, releases, restores, questions, executions
/// and calls by an input, unless they are cancelled.
pub(super) enum Command<'a> {
    /// Execute a job.
    Execute(JobId, Execution<'a>),
    /// Drop these executions, in ascending order.
    Cancel(Vec<JobId>),
    /// Let the source yield no record of these partitions.
    Pause(Vec<TopicPartition>),
    /// Let it yield their records again.
    Resume(Vec<TopicPartition>),
    /// Publish the batch of an outbox.
    Publish(Outbox),
    /// Commit positions through the source.
    Commit(Vec<PartitionPosition>),
    /// Give partitions up.
    Release(Vec<Assigned>),
    /// Read the part of this number.
    Restore(i32),
    /// Drop the restore of this part, if there is one.
    EndRestore(i32),
    /// Ask the store for the id of its topic.
    Identify,
    /// Call the punctuator.
    Punctuate(Generation, Punctuation),
    /// Drop the call on this partition.
    EndPunctuation(TopicPartition),
}
