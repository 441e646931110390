//! All that the broker knows, behind its one lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use jobstream::record::{ProducerRecord, Timestamp, Topic, TopicId, TopicPartition};

use super::group::Group;
use super::log::{Log, ProducerId, Stored};
use super::member::{Member, MemberId};
use super::operation::{Fault, Operation};
use super::partitioner::Partitioner;
use super::producer::ProduceError;
use super::topic::{Retention, TopicOptions, TopicState, batch_bytes};
use super::transaction::Transactions;
use crate::random::Random;

pub(crate) type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(crate) struct State {
    pub(crate) wall_clock: WallClock,
    pub(crate) partitioner: Partitioner,
    pub(crate) random: Random,
    pub(crate) session_timeout: Duration,
    pub(crate) topics: BTreeMap<Topic, TopicState>,
    /// How many there ever were.
    pub(crate) topics_created: u128,
    /// `offset.metadata.max.bytes`.
    pub(crate) metadata_max_bytes: usize,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    /// Every consumer there was; a `MemberId` is its place.
    pub(super) members: Vec<Member>,
    pub(crate) sessions: u64,
    /// The sessions that have ended, of which the witness is still to be notified.
    pub(crate) ended_sessions: Vec<MemberId>,
    pub(crate) transactions: Transactions,
    /// How many commits of offsets there ever were.
    pub(super) commits: u64,
    /// Faults by the operation that they hit, of one member or of the first client that comes.
    pub(crate) failures: BTreeMap<(Operation, Option<MemberId>), VecDeque<Fault>>,
    pub(crate) held: BTreeSet<(Operation, Option<MemberId>)>,
    pub(crate) stopped: bool,
    /// The streams that wait for something to happen.
    pub(crate) parked: BTreeMap<MemberId, Waker>,
    /// Whether something has happened since they parked.
    pub(crate) changed: bool,
    #[cfg(feature = "wire")]
    pub(crate) wire: crate::wire::state::WireState,
}

impl State {
    pub(crate) fn log(&self, partition: &TopicPartition) -> Option<&Log> {
        let number = usize::try_from(partition.partition).ok()?;
        self.topics.get(&partition.topic)?.logs.get(number)
    }

    pub(crate) fn log_mut(&mut self, partition: &TopicPartition) -> Option<&mut Log> {
        let number = usize::try_from(partition.partition).ok()?;
        self.topics.get_mut(&partition.topic)?.logs.get_mut(number)
    }

    pub(crate) fn create_topic(&mut self, name: &Topic, options: &TopicOptions) -> bool {
        let is_new = !self.topics.contains_key(name);
        if is_new {
            self.add_topic(name, options);
        }
        is_new
    }

    /// Deletes a topic, and with it what groups have committed for it, and creates it anew.
    pub(crate) fn recreate_topic(&mut self, name: &Topic, options: &TopicOptions) {
        self.groups.values_mut().for_each(|group| group.forget(name));
        self.add_topic(name, options);
    }

    /// Deletes a topic, and with it what groups have committed for it.
    #[cfg(feature = "wire")]
    pub(crate) fn delete_topic(&mut self, name: &Topic) {
        self.groups.values_mut().for_each(|group| group.forget(name));
        self.transactions.forget(name);
        if self.topics.remove(name).is_some() {
            self.rebalance_subscribers(name);
        } else {
            self.wire.internal_topics.remove(name);
        }
    }

    /// Configures a topic anew.
    #[cfg(feature = "wire")]
    pub(crate) fn configure(&mut self, name: &Topic, config: super::topic_config::TopicConfig) {
        if let Some(topic) = self.topic_named_mut(name) {
            topic.configure(config);
        }
    }

    /// Lets these values hold for all topics of which nothing else is said.
    #[cfg(feature = "wire")]
    pub(crate) fn set_topic_defaults(&mut self, defaults: &super::topic_config::Defaults) {
        for topic in self.topics.values_mut() {
            let mut config = topic.config.clone();
            config.set_defaults(defaults.clone());
            topic.configure(config);
        }
        self.wire.topic_defaults = defaults.clone();
    }

    /// Groups that subscribe to it are rebalanced if it has another number of partitions than
    /// before.
    fn add_topic(&mut self, name: &Topic, options: &TopicOptions) {
        self.topics_created += 1;
        let id = TopicId::new(self.topics_created);
        #[cfg_attr(not(feature = "wire"), expect(unused_mut))]
        let mut topic = TopicState::new(name.clone(), id, options);
        #[cfg(feature = "wire")]
        {
            let mut config = topic.config.clone();
            config.set_defaults(self.wire.topic_defaults.clone());
            topic.configure(config);
        }
        let partitions = topic.partitions();
        let before = self.topics.insert(name.clone(), topic);
        if before.is_some_and(|before| before.partitions() == partitions) {
            return;
        }
        self.rebalance_subscribers(name);
    }

    pub(crate) fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.topics.get(topic).map(|topic| topic.id)
    }

    pub(crate) fn grow_topic(&mut self, name: &Topic, partitions: i32) -> bool {
        let Some(topic) = self.topics.get_mut(name) else { return false };
        if topic.partitions() >= partitions {
            return false;
        }
        topic.grow(partitions);
        self.rebalance_subscribers(name);
        true
    }

    fn rebalance_subscribers(&mut self, topic: &Topic) {
        let groups = self.groups.iter().filter(|(_, group)| group.topics.contains(topic));
        let groups: Vec<_> = groups.map(|(group, _)| group.clone()).collect();
        groups.iter().for_each(|group| self.rebalance(group));
    }

    /// Whether the record could be appended; its topic if so.
    pub(crate) fn check(&self, record: &ProducerRecord) -> Result<&TopicState, ProduceError> {
        let topic = self
            .topics
            .get(&record.topic)
            .ok_or_else(|| ProduceError::UnknownTopic(record.topic.clone()))?;
        if let Some(partition) = record.partition
            && !(0..topic.partitions()).contains(&partition)
        {
            let partition = TopicPartition::new(record.topic.clone(), partition);
            return Err(ProduceError::UnknownPartition(partition));
        }
        let bytes = batch_bytes(record);
        let max_bytes = topic.max_message_bytes;
        if bytes > max_bytes {
            return Err(ProduceError::TooLarge { bytes, max_bytes });
        }
        if topic.is_compacted && record.key.is_none() {
            return Err(ProduceError::NoKey(record.topic.clone()));
        }
        Ok(topic)
    }

    /// Appends a record, and says where.
    pub(crate) fn append(
        &mut self,
        record: &ProducerRecord,
        producer: Option<ProducerId>,
    ) -> Result<(i32, i64), ProduceError> {
        let topic = self.check(record)?;
        let (partitions, stamps) = (topic.partitions(), topic.stamps);
        let partition = record
            .partition
            .or_else(|| self.partitioner.partition(record.key.as_deref(), partitions))
            .unwrap_or_else(|| self.random.partition(partitions));
        let stored = Stored {
            timestamp: record.timestamp.filter(|_| !stamps).unwrap_or_else(|| (self.wall_clock)()),
            key: record.key.clone(),
            value: record.value.clone(),
            headers: record.headers.clone(),
        };
        let Some(topic) = self.topics.get_mut(&record.topic) else {
            return Err(ProduceError::UnknownTopic(record.topic.clone()));
        };
        let log = &mut topic.logs[partition as usize];
        let offset = log.append(stored, producer);
        if let Retention::Latest(records) = topic.retention {
            log.keep_latest(records);
        }
        Ok((partition, offset))
    }

    /// Appends a batch as it came, and says at which offset.
    #[cfg(feature = "wire")]
    pub(crate) fn append_batch(
        &mut self,
        topic: &Topic,
        partition: i32,
        batch: super::batch::Batch,
        producer: Option<ProducerId>,
    ) -> Option<i64> {
        let topic = self.topics.get_mut(topic)?;
        let log = topic.logs.get_mut(usize::try_from(partition).ok()?)?;
        let offset = log.append_batch(batch, producer);
        if let Retention::Latest(records) = topic.retention {
            log.keep_latest(records);
        }
        Some(offset)
    }
}
