//! The Kafka source: a member of a consumer group.
//!
//! ```text
//!                     a thread of its own              the caller's task
//!            fetch             poll        push                take
//!  brokers ───────▶ librdkafka ────▶ Poller ────▶ Buffer ─────────────▶ Events ─▶ topology
//!                        ▲             │  ▲                                         │
//!                        └─ answers ◀──┘  └──────────── release ◀───────────────────┤
//!                        ▲                                                          │
//!                        └──────── another thread ◀──── commit ◀────────────────────┘
//! ```
//!
//! librdkafka's callback for rebalances only reports. A partition that is asked back stays until it
//! is released, for as long as the drain takes: heartbeats go on meanwhile, and what bounds the
//! drain is `max.poll.interval.ms` (5 min), after which the group takes the partition away. With the
//! eager protocol, all partitions are asked back at every rebalance.
//!
//! A topology that hangs, and does not look at its stream for `max.poll.interval.ms`, loses its
//! partitions after the same time again.
//!
//! A static member whose session has ended may be fenced by itself: librdkafka commits without its
//! member id until it has joined again, which the broker takes for another process with its
//! `group.instance.id`, and librdkafka for the end. Its client is then made anew, and joins again.
//!
//! The committed positions are read before a partition is taken on, so that its assignment carries
//! them. Metadata that another client has committed is told, and taken as an empty set. The ids of
//! the topics are read with them, and every 2 s after; besides, librdkafka's log says when it has seen
//! another id. A topic that was created anew is read from where `auto.offset.reset` says, as one is
//! whose offsets go back.
//!
//! Memory: up to 4 MiB in the buffer, with 2 MiB (`queued.max.messages.kbytes`) in librdkafka, and
//! 256 KiB for each partition that the topology has paused for longer. A record of at most 1,365
//! bytes shares a block of 8 KiB with others, which stays as long as one of them does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use self::buffer::Command;
use self::connector::Connector;
use self::events::Events;
pub(crate) use self::membership::Membership;
pub(crate) use self::metadata::{Offsets, read};
pub(crate) use self::own::own;
use self::poller::Poller;
use self::shared::Shared;
use super::{CommitError, Once, Source, SourceError, SourceEvent};
use crate::kafka::{Calls, ConfigError, KafkaConfig, Transactions};
use crate::position::PartitionPosition;
use crate::record::{Topic, TopicPartition};

mod assigned;
mod attention;
mod broker_facts;
mod buffer;
mod connector;
mod context;
mod events;
mod flow;
mod group;
mod membership;
mod metadata;
mod own;
mod polled;
mod poller;
mod resets;
mod shared;
mod signal;

/// The longest that a question to the brokers takes before it is asked again.
const QUERY_LIMIT: Duration = Duration::from_secs(1);

/// A consumer in a group, on librdkafka.
///
/// It joins the group when its stream is first polled, with the protocol that the properties say:
/// `group.protocol` (`classic`, or `consumer` for KIP-848) and `partition.assignment.strategy`
/// (`cooperative-sticky` if nothing is said; `range` and `roundrobin` are eager).
///
/// Dropped, it leaves the group on a thread of its own, which nobody waits for.
pub struct KafkaSource {
    once: Once,
    membership: Arc<Membership>,
    calls: Calls,
    /// Where commits go if it is one of an exactly-once pair.
    transactions: Option<Arc<Transactions>>,
    left: watch::Receiver<bool>,
    close_limit: Duration,
}

impl KafkaSource {
    /// A member of `group` that subscribes to `topics`. No broker need be there yet; topics that do
    /// not exist yet are found within seconds once they do.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn new<T: Into<Topic>>(
        config: &KafkaConfig,
        group: &str,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared::default());
        let (properties, admin) = (config.consumer(group), config.admin());
        let (told, signal) = (config.told(), shared.signal.clone());
        let membership = Arc::new(Membership::new(shared, told.clone()));
        let connector = Connector { properties, admin, told, signal };
        let (left, has_left) = watch::channel(false);
        let close_limit = config.closes_within();
        let topics = topics.into_iter().map(Into::into).collect();
        let poller = Poller::new(connector, membership.clone(), topics, close_limit, left)?;
        start(poller).map_err(|error| ConfigError::Refused(error.to_string()))?;
        let calls = Calls::start("kafka-commit");
        Ok(Self {
            membership,
            calls: calls.map_err(|error| ConfigError::Refused(error.to_string()))?,
            transactions: None,
            once: Once::default(),
            left: has_left,
            close_limit,
        })
    }

    pub(crate) fn with_transactions(mut self, transactions: Arc<Transactions>) -> Self {
        self.transactions = Some(transactions);
        self
    }

    pub(crate) const fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }
}

fn start(poller: Poller) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("kafka-poll".to_owned());
    thread.spawn(move || poller.run()).map(drop)
}

#[async_trait]
impl Source for KafkaSource {
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>> {
        self.once.events(|| {
            self.membership.shared().ask(Command::Join);
            Events::new(self).boxed()
        })
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.membership.shared().change(|buffer| buffer.set_paused(partitions, true));
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        self.membership.shared().change(|buffer| buffer.set_paused(partitions, false));
        self.membership.shared().signal.raise();
    }

    /// Blocks a thread of its own until the coordinator has answered: as long as it is away,
    /// the commit is under way. Cancelled, it may still be made.
    async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        if let Some(transactions) = &self.transactions {
            return transactions.commit_positions(positions).await;
        }
        let (membership, positions) = (self.membership.clone(), positions.to_vec());
        let committed = self.calls.call(move || membership.commit(&positions)).await;
        committed.unwrap_or_else(|| Err(CommitError::broken("a commit has panicked")))
    }

    fn window_offsets(&self) -> i64 {
        self.membership.window_offsets()
    }

    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        let (done, released) = oneshot::channel();
        self.membership.shared().ask(Command::Release(partitions.to_vec(), done));
        // A source that has ended has nothing to give up.
        let _ = released.await;
        Ok(())
    }

    /// Gives up after [`KafkaConfig::close_limit`]; a static member does not leave its group.
    async fn close(&self) -> Result<(), SourceError> {
        self.membership.shared().ask(Command::Close);
        let mut left = self.left.clone();
        let limit = self.close_limit;
        match timeout(limit, left.wait_for(|has_left| *has_left)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                Err(SourceError::new(format!("the group was not left: expected within {limit:?}")))
            }
        }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.membership.shared().ask(Command::Close);
    }
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource").finish_non_exhaustive()
    }
}
