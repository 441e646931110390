//! Timers: what is to happen as time goes by, and not with a record.
//!
//! A timer belongs to a partition, so that it has the partition's owner and ends with the
//! assignment. It has no keyed state: to change an entry outside the lane of its key would race
//! with the key's job. What must be ordered is published as a record, and comes back through the
//! lane.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::record::{ProducerRecord, Timestamp, TopicPartition};

/// Is called again and again for every partition that is assigned: to find what should have
/// happened by now, or to publish what was gathered. As Kafka Streams' punctuator, but it may wait.
///
/// A call begins an interval after the partition's assignment, or after the end of the call before
/// and the acknowledgement of what it gave: there are never two at once for one partition. Calls
/// for several partitions, and jobs, run beside it. When the partition is asked back or lost, or
/// the run ends, the call under way is dropped, and no other begins: a timer belongs to the
/// partition's one owner.
///
/// It has no state of its own in the topology: what must survive, it derives again from what does.
#[async_trait]
pub trait Punctuator: Send + Sync {
    /// Does what is due on a partition by now, and gives the records to be published for it. What
    /// failed is tried in the next call.
    ///
    /// The records are published in their order, in one batch, which in exactly-once mode carries
    /// the partition's position: it is refused to a member that has lost the partition. A batch
    /// that is aborted is published again. What is not published before the partition goes is
    /// dropped, and so is a record that the broker refuses as too large (reported as
    /// [`PublishFailed`](super::Event::PublishFailed)): the next owner's calls follow.
    ///
    /// # Cancellation
    /// The call is dropped when the partition is asked back or lost, or the run ends; nothing of it is
    /// published then.
    async fn punctuate(&self, punctuation: &Punctuation) -> Vec<ProducerRecord>;
}

/// A moment on a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Punctuation {
    /// The partition.
    pub partition: TopicPartition,
    /// How long it has been assigned.
    pub assigned_for: Duration,
    /// The timestamp of the record that was finished last, in milliseconds since 1970; `None` until
    /// one is, under this assignment.
    pub last_event: Option<Timestamp>,
    /// What time it is on the partition: that timestamp, and the time since then.
    ///
    /// While a backlog is read, that is in the past, as its records are: nothing in it is late.
    pub event_time: Option<Timestamp>,
}

/// A punctuator and its interval.
#[derive(Clone)]
pub(super) struct Schedule {
    pub(super) every: Duration,
    pub(super) punctuator: Arc<dyn Punctuator>,
}
