//! What tests and tools see of the broker.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::record::{ConsumerRecord, Topic, TopicId, TopicPartition};

use super::Broker;
use super::group::CommittedOffset;
use super::log::{Isolation, Log};
use super::member::{Member, MemberId};
use super::state::State;

impl Broker {
    /// The records of a topic that are still there, by partition and offset, as a reader of this
    /// isolation level sees them. Their generation is 0.
    pub fn records(&self, topic: &str, isolation: Isolation) -> Vec<ConsumerRecord> {
        let state = self.lock();
        let mut records = Vec::new();
        let Some(topic) = state.topics.get(topic) else { return records };
        for (number, log) in (0..).zip(&topic.logs) {
            let partition = TopicPartition { topic: topic.name.clone(), partition: number };
            log.read(log.start(), isolation, usize::MAX, |offset, stored| {
                records.push(stored.at(partition.clone(), offset, 0));
            });
        }
        records
    }

    /// The partitions of a topic, ascending; none if there is no such topic.
    pub fn partitions(&self, topic: &str) -> Vec<TopicPartition> {
        let state = self.lock();
        let topic = state.topics.get(topic);
        let numbers = topic
            .into_iter()
            .flat_map(|topic| (0..topic.partitions()).zip(std::iter::repeat(&topic.name)));
        numbers.map(|(number, name)| TopicPartition::new(name.clone(), number)).collect()
    }

    /// The names of all topics, ascending.
    pub fn topics(&self) -> Vec<Topic> {
        self.lock().topics.keys().cloned().collect()
    }

    /// The id of a topic, another one each time that it is created; `None` if there is no such
    /// topic.
    pub fn topic_id(&self, topic: &str) -> Option<TopicId> {
        self.lock().topic_id(topic)
    }

    /// The first offset that is still there; `None` if there is no such partition.
    pub fn log_start_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.lock().log(partition).map(Log::start)
    }

    /// The offset that the next record gets; `None` if there is no such partition.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        self.lock().log(partition).map(Log::end)
    }

    /// Where a `read_committed` reader stops: the first offset of the oldest open transaction, or
    /// the high watermark; `None` if there is no such partition.
    pub fn last_stable_offset(&self, partition: &TopicPartition) -> Option<i64> {
        self.lock().log(partition).map(Log::last_stable_offset)
    }

    /// What a group has committed.
    pub fn committed(&self, group: &str) -> BTreeMap<TopicPartition, CommittedOffset> {
        let state = self.lock();
        state.groups.get(group).map(|group| group.committed.clone()).unwrap_or_default()
    }

    /// What an open transaction commits for a partition of a group.
    #[cfg(feature = "simulation")]
    pub(crate) fn unstable(
        &self,
        group: &str,
        partition: &TopicPartition,
    ) -> Option<CommittedOffset> {
        self.lock().transactions.unstable_offset(group, partition).cloned()
    }

    /// Sets what a group has committed for a partition, as an administrator or another client
    /// would. Members that own it already read on where they are.
    pub fn alter_committed(
        &self,
        group: impl Into<Arc<str>>,
        partition: &TopicPartition,
        offset: i64,
        metadata: impl Into<String>,
    ) {
        let committed = CommittedOffset { offset, metadata: metadata.into(), leader_epoch: None };
        self.change(|state| {
            let record = state.next_commit();
            let group = state.groups.entry(group.into()).or_default();
            group.commit(record, &vec![(partition.clone(), committed)]);
        });
    }

    /// The members of a group, in the order in which they were made.
    pub fn members(&self, group: &str) -> Vec<MemberId> {
        self.lock().groups.get(group).map(super::group::Group::members).unwrap_or_default()
    }

    /// The owner of each partition of a group, revoked ones included until they are released.
    pub fn assignment(&self, group: &str) -> BTreeMap<TopicPartition, MemberId> {
        self.lock().groups.get(group).map(super::group::Group::owners).unwrap_or_default()
    }

    /// Whether a group is beyond the end of this log and may not know it: it has committed an offset
    /// there, or the owner of the partition may have read there. Such a group misses what is appended
    /// up to where it is.
    pub fn is_outrun(&self, partition: &TopicPartition) -> bool {
        self.lock().is_outrun(partition)
    }

    /// Whether the group has committed up to the end of the topic: no transaction is open on it,
    /// and no record that a `read_committed` reader sees is at or above a committed offset.
    pub fn has_caught_up(&self, group: &str, topic: &str) -> bool {
        self.lock().has_caught_up(group, topic)
    }

    /// Completes when the group [has caught up](Self::has_caught_up). Dropping it changes nothing.
    pub async fn caught_up(&self, group: &str, topic: &str) {
        self.until(|broker| broker.has_caught_up(group, topic)).await;
    }

    /// Completes when the condition holds; it is looked at now and after every change. Dropping it
    /// changes nothing.
    pub async fn until(&self, mut condition: impl FnMut(&Self) -> bool + Send) {
        loop {
            let changed = self.shared.changed.notified();
            if condition(self) {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    fn is_outrun(&self, partition: &TopicPartition) -> bool {
        let Some(end) = self.log(partition).map(Log::end) else { return false };
        self.groups.iter().any(|(name, group)| {
            let owner = group.owners().get(partition).map(|owner| &self.members[owner.0]);
            let reads_beyond =
                |owner: &Member| owner.fetches.get(partition).is_none_or(|fetch| fetch.next > end);
            group.committed.get(partition).is_some_and(|committed| committed.offset > end)
                || owner.is_some_and(reads_beyond)
                || self.transactions.unstable_offsets(name).contains(partition)
        })
    }

    fn has_caught_up(&self, group: &str, topic: &str) -> bool {
        let (Some(group), Some(topic)) = (self.groups.get(group), self.topics.get(topic)) else {
            return false;
        };
        (0..).zip(&topic.logs).all(|(number, log)| {
            let partition = TopicPartition { topic: topic.name.clone(), partition: number };
            let committed = group.committed.get(&partition);
            let committed = committed.filter(|c| c.is_of(topic.id) && c.offset <= log.end());
            let frontier = committed.map_or(0, |committed| committed.offset);
            let mut unread = 0;
            log.read(frontier, Isolation::ReadCommitted, 1, |_, _| unread += 1);
            log.last_stable_offset() == log.end() && unread == 0
        })
    }
}
