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
//! librdkafka's callback for rebalances only reports. A revoked partition stays until it is
//! released, as long as its drain takes: heartbeats go on meanwhile, and only
//! `max.poll.interval.ms` (5 min) limits the drain, after which the group takes the partition away.
//! With the eager protocol, every rebalance revokes all partitions.
//!
//! A topology that hangs and does not poll its stream for `max.poll.interval.ms` loses its
//! partitions after the same time again.
//!
//! A static member whose session has ended may fence itself: until it has joined again, librdkafka
//! commits without its member id, so that the broker sees another process with the same
//! `group.instance.id`. librdkafka treats the answer as fatal. The source then makes a new client,
//! which joins again.
//!
//! An assignment is vouched for by the member id under which it was given. Once the group does not know
//! that id, which a heartbeat's answer, a commit's or a transaction's says, every partition is lost, and
//! the member joins again. librdkafka does not report the loss while a rebalance is open (seen in 2.12):
//! it keeps the partitions, joins under another id, and commits of what others have executed meanwhile
//! would be accepted. Its log says that it has given its member id up, and the source then makes a new
//! client. A rebalance that the member takes part in changes the generation alone.
//!
//! The committed positions are read before a partition is taken on, so that its assignment carries
//! them. Metadata that another client has committed is reported, and taken as an empty set. The ids
//! of the topics are read together with the positions, and then every 2 s; librdkafka's log also
//! shows when an id has changed. A topic that was created anew is read from where
//! `auto.offset.reset` says, and so is a partition whose offsets go back.
//!
//! Memory: up to 4 MiB in the buffer, 2 MiB (`queued.max.messages.kbytes`) in librdkafka, and 256
//! KiB for each partition that the topology has paused for longer. A record of at most 1,365 bytes
//! shares a block of 8 KiB with others; the block is freed with the last of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use self::buffer::{Chunk, Command, Shared};
use self::client::Connector;
pub(crate) use self::membership::{Membership, Offsets, metadata_of};
use self::poller::Poller;
pub(crate) use self::reading::own;
use super::{CommitError, Once, Source, SourceError, SourceEvent};
use crate::kafka::{Blocking, ConfigError, KafkaConfig, PairTransactions};
use crate::position::PartitionPosition;
use crate::record::{Topic, TopicPartition};

mod broker_facts;
mod buffer;
mod client;
mod flow;
mod group;
mod membership;
mod partitions;
mod poller;
mod reading;

/// How long a question to the brokers may take before it is asked again.
const QUERY_LIMIT: Duration = Duration::from_secs(1);

/// A consumer in a group, on librdkafka.
///
/// It joins the group when its stream is first polled. Properties select the protocol:
/// `group.protocol` (`classic`, or `consumer` for KIP-848) and `partition.assignment.strategy`
/// (`cooperative-sticky` by default; `range` and `roundrobin` are eager).
///
/// After the drop, it leaves the group on a thread of its own.
#[derive(Debug)]
pub struct KafkaSource {
    once: Once,
    membership: Blocking<Arc<Membership>>,
    /// The transactions that commit, in an exactly-once pair.
    transactions: Option<Arc<PairTransactions>>,
    left: watch::Receiver<bool>,
    close_limit: Duration,
}

impl KafkaSource {
    /// A member of `group` that subscribes to `topics`. No broker need be reachable yet; a topic
    /// that does not exist yet is found within seconds after its creation.
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
        let (observer, signal) = (config.observer_context(), shared.signal.clone());
        let membership = Arc::new(Membership::new(shared, observer.clone()));
        let membership = Blocking::start("kafka-commit", membership)?;
        let connector = Connector { properties, admin, observer, signal };
        let (left, has_left) = watch::channel(false);
        let close_limit = config.closes_within();
        let topics = topics.into_iter().map(Into::into).collect();
        let poller = Poller::new(connector, Arc::clone(&membership), topics, close_limit, left)?;
        start(poller).map_err(|error| ConfigError::Refused(error.to_string()))?;
        let once = Once::default();
        Ok(Self { once, membership, transactions: None, left: has_left, close_limit })
    }

    pub(crate) fn with_transactions(mut self, transactions: Arc<PairTransactions>) -> Self {
        self.transactions = Some(transactions);
        self
    }

    pub(crate) fn membership(&self) -> &Arc<Membership> {
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

    /// Blocks a thread of its own until the coordinator has answered, as long as it is away. A
    /// cancelled commit may still be made.
    async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        if let Some(transactions) = &self.transactions {
            return transactions.commit_positions(positions).await;
        }
        let positions = positions.to_vec();
        let committed = self.membership.call(move |membership| membership.commit(&positions));
        committed.await.unwrap_or_else(|| Err(CommitError::broken("a commit has panicked")))
    }

    fn window_offsets(&self) -> i64 {
        self.membership.window_offsets()
    }

    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        let (done, released) = oneshot::channel();
        self.membership.shared().ask(Command::Release(partitions.to_vec(), done));
        // A source that has ended drops the sender: it has nothing to give up.
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

/// Yields the records that it has taken from the buffer. Looks at the buffer when they are used up,
/// or when it has changed.
struct Events<'a> {
    shared: &'a Shared,
    chunk: Chunk,
    ended: bool,
    polls: u64,
}

impl<'a> Events<'a> {
    fn new(source: &'a KafkaSource) -> Self {
        Self { shared: source.membership.shared(), chunk: Chunk::new(), ended: false, polls: 0 }
    }

    fn poll_buffer(&mut self, cx: &Context<'_>) -> Poll<Option<Result<SourceEvent, SourceError>>> {
        let next = self.shared.with(|buffer| {
            if self.shared.clear_dirty() {
                buffer.give_back(std::mem::take(&mut self.chunk));
            }
            if let Some(notice) = buffer.next_notice() {
                return Poll::Ready(Some(Ok(notice)));
            }
            if let Some(ended) = &mut buffer.ended {
                self.ended = true;
                return Poll::Ready(std::mem::replace(ended, Ok(())).err().map(Err));
            }
            self.chunk = buffer.take();
            match self.chunk.pop_front() {
                Some(record) => Poll::Ready(Some(Ok(SourceEvent::Record(record)))),
                None => {
                    buffer.park(cx.waker());
                    Poll::Pending
                }
            }
        });
        // The poller may be waiting for room.
        if !self.chunk.is_empty() {
            self.shared.signal.raise();
        }
        next
    }
}

impl Stream for Events<'_> {
    type Item = Result<SourceEvent, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.polls += 1;
        self.shared.count_poll(self.polls);
        if !self.shared.is_dirty()
            && let Some(record) = self.chunk.pop_front()
        {
            return Poll::Ready(Some(Ok(SourceEvent::Record(record))));
        }
        self.poll_buffer(cx)
    }
}

impl Drop for Events<'_> {
    fn drop(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        self.shared.with(|buffer| buffer.give_back(chunk));
    }
}
