//! An in-memory Kafka broker: topics, consumer groups, transactions, and faults on demand.
//!
//! ```text
//!                 publish              append              fetch               events()
//!  Producer ────────────────▶ Broker ─────────▶ partitions ─────────▶ Consumer ────────▶ topology
//!  ExactlyOnceSink             │ ▲                                     │   ▲
//!                              │ └────────────── commit · release ◀────┘   │
//!                              └── groups: Assigned · Revoked · Lost ──────┘
//! ```
//!
//! It keeps Kafka's semantics where a client can see them: keys placed by the clients' hashes,
//! incremental rebalances while records are in flight, commits fenced by member and assignment,
//! transactions whose markers spend offsets, the last stable offset, producer fencing. It runs in
//! the tasks that call it: no thread, no spawned task, no wall clock, and no order that a run does
//! not determine, so that under tokio's paused clock a run is a function of its seed.
//!
//! ```
//! use futures::StreamExt as _;
//! use jobstream::record::ProducerRecord;
//! use jobstream::sources::{Source as _, SourceEvent};
//! use jobstream_testkit::broker::Broker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = Broker::new();
//! broker.create_topic("jobs", 6);
//! broker.produce(ProducerRecord::to("jobs").key("3c91b").value("bake"))?;
//!
//! let consumer = broker.consumer("bakers", ["jobs"]).build();
//! let mut events = consumer.events();
//! let assigned = events.next().await;
//! assert!(matches!(assigned, Some(Ok(SourceEvent::Assigned(partitions))) if partitions.len() == 6));
//! let record = events.next().await;
//! assert!(matches!(record, Some(Ok(SourceEvent::Record(record))) if record.partition.partition == 5));
//! # Ok(()) }
//! ```

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobstream::record::{ProducerRecord, Topic};
use tokio::sync::Notify;

mod assignor;
#[cfg(feature = "wire")]
pub(crate) mod batch;
mod builder;
#[cfg(feature = "wire")]
pub(crate) mod compression;
#[cfg(feature = "wire")]
pub(crate) mod config;
mod consumer;
mod coordinator;
mod events;
mod exactly_once;
mod faults;
mod fetch;
pub(crate) mod group;
pub(crate) mod instances;
pub(crate) mod log;
mod member;
mod operation;
mod partitioner;
mod producer;
mod reads;
#[cfg(feature = "wire")]
mod retention;
mod segment;
#[cfg(feature = "wire")]
pub(crate) mod sequences;
mod sessions;
pub(crate) mod state;
mod store;
pub(crate) mod topic;
#[cfg(feature = "wire")]
pub(crate) mod topic_config;
mod transaction;
mod transactional_producer;
mod witness;

pub use assignor::Assignor;
pub use builder::{BrokerBuilder, DEFAULT_WALL_CLOCK_MS};
pub use consumer::{Consumer, ConsumerBuilder};
pub use exactly_once::ExactlyOnceSink;
pub use group::{CommittedOffset, Protocol};
pub use log::Isolation;
pub use member::MemberId;
pub use operation::{Fault, Operation};
pub use partitioner::Partitioner;
pub use producer::{ProduceError, Producer};
pub use store::BrokerStore;
pub use topic::{DEFAULT_MAX_MESSAGE_BYTES, Retention, TopicOptions};
pub use transactional_producer::{GroupMetadata, TransactionError, TransactionalProducer};
pub use witness::{When, Witness};

use state::State;
#[cfg(feature = "wire")]
pub(crate) use transaction::{DescribedTransaction, Producing};

/// A handle to an in-memory broker; clones share it.
#[derive(Clone)]
pub struct Broker {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    /// Whether operations yield around their effect.
    yields: bool,
    witness: Option<Arc<dyn Witness>>,
    state: Mutex<State>,
    /// Notified after every change, for the tasks that wait for a condition.
    pub(crate) changed: Notify,
}

impl Broker {
    /// A broker without topics, with the defaults of [`BrokerBuilder`].
    pub fn new() -> Self {
        BrokerBuilder::default().build()
    }

    /// A broker with other settings.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Creates a topic, with a number of partitions or with [`TopicOptions`]. Says whether it did:
    /// a topic that exists stays as it is. Groups that subscribe to it are rebalanced.
    pub fn create_topic(&self, topic: impl Into<Topic>, options: impl Into<TopicOptions>) -> bool {
        let (topic, options) = (topic.into(), options.into());
        self.change(|state| state.create_topic(&topic, &options))
    }

    /// Gives a topic partitions, so that it has this many. Says whether it did: one that has as
    /// many, and one that does not exist, stays as it is. Groups that subscribe to it are
    /// rebalanced.
    pub fn grow_topic(&self, topic: impl Into<Topic>, partitions: i32) -> bool {
        let topic = topic.into();
        self.change(|state| state.grow_topic(&topic, partitions))
    }

    /// Appends one record at once, whatever faults are set, and says where: its partition and
    /// offset.
    ///
    /// # Errors
    /// If there is no such topic or partition, or the record is larger than the topic takes.
    pub fn produce(&self, record: impl Into<ProducerRecord>) -> Result<(i32, i64), ProduceError> {
        let record = record.into();
        self.change(|state| state.append(&record, None))
    }

    /// A member of `group` that subscribes to `topics`; it joins when its stream is first polled.
    pub fn consumer<T: Into<Topic>>(
        &self,
        group: impl Into<Arc<str>>,
        topics: impl IntoIterator<Item = T>,
    ) -> ConsumerBuilder {
        ConsumerBuilder::new(
            self.clone(),
            group.into(),
            topics.into_iter().map(Into::into).collect(),
        )
    }

    /// A sink that publishes records, and leaves the positions to the source.
    pub fn producer(&self) -> Producer {
        Producer::new(self.clone())
    }

    /// A member and a sink that publishes outputs and positions in one transaction: the defaults
    /// of [`ConsumerBuilder::exactly_once`].
    pub fn exactly_once<T: Into<Topic>>(
        &self,
        group: impl Into<Arc<str>>,
        topics: impl IntoIterator<Item = T>,
        transactional_id: impl Into<Arc<str>>,
    ) -> (Consumer, ExactlyOnceSink) {
        self.consumer(group, topics).exactly_once(transactional_id)
    }

    /// A store of keyed state on this topic, which must exist when a part of it is restored. Its
    /// changes are published by the sink that it is used with.
    pub fn store(&self, topic: impl Into<Topic>) -> BrokerStore {
        BrokerStore::new(self.clone(), topic.into())
    }

    /// A transactional producer, initialised: an older one of this id is fenced, and the
    /// transaction that it left open is aborted.
    pub fn transactional_producer(&self, id: impl Into<Arc<str>>) -> TransactionalProducer {
        TransactionalProducer::new(self.clone(), id.into(), None)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the state, and wakes the tasks that wait if it says that something changed.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let out = f(&mut state);
        if !std::mem::take(&mut state.changed) {
            return out;
        }
        let parked = std::mem::take(&mut state.parked);
        let ended = std::mem::take(&mut state.ended_sessions);
        drop(state);
        if let Some(witness) = &self.shared.witness {
            ended.into_iter().for_each(|member| witness.on_session_ended(member));
        }
        parked.into_values().for_each(std::task::Waker::wake);
        self.shared.changed.notify_waiters();
        out
    }

    /// Runs `f` on the state, and wakes the tasks that wait.
    pub(crate) fn change<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.with(|state| {
            state.changed = true;
            f(state)
        })
    }
}

impl Default for Broker {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}
