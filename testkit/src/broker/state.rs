//! All that the broker knows, behind its one lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use jobstream::position::PartitionPosition;
use jobstream::record::{ProducerRecord, Timestamp, Topic, TopicPartition};
use jobstream::sources::SourceEvent;
use tokio::time::Instant;

use super::group::Group;
use super::log::{Log, ProducerId, Stored};
use super::member::{Member, MemberId, Membership, Process, Subscription};
use super::operation::{Fault, Operation};
use super::partitioner::Partitioner;
use super::producer::ProduceError;
use super::random::Random;
use super::topic::{Retention, TopicOptions, TopicState, batch_bytes};
use super::transaction::Transactions;

pub(super) type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

pub(super) struct State {
    pub(super) wall_clock: WallClock,
    pub(super) partitioner: Partitioner,
    pub(super) random: Random,
    pub(super) session_timeout: Duration,
    pub(super) topics: BTreeMap<Topic, TopicState>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    /// Every consumer there was; a `MemberId` is its place.
    pub(super) members: Vec<Member>,
    pub(super) sessions: u64,
    pub(super) transactions: Transactions,
    pub(super) failures: BTreeMap<Operation, VecDeque<Fault>>,
    pub(super) held: BTreeSet<Operation>,
    pub(super) stopped: bool,
    /// The streams that wait for something to happen.
    pub(super) parked: BTreeMap<MemberId, Waker>,
    /// Whether something has happened since they parked.
    pub(super) changed: bool,
}

impl State {
    pub(super) fn log(&self, partition: &TopicPartition) -> Option<&Log> {
        let number = usize::try_from(partition.partition).ok()?;
        self.topics.get(&partition.topic)?.logs.get(number)
    }

    pub(super) fn log_mut(&mut self, partition: &TopicPartition) -> Option<&mut Log> {
        let number = usize::try_from(partition.partition).ok()?;
        self.topics.get_mut(&partition.topic)?.logs.get_mut(number)
    }

    pub(super) fn create_topic(&mut self, name: &Topic, options: &TopicOptions) -> bool {
        if self.topics.contains_key(name) {
            return false;
        }
        self.topics.insert(name.clone(), TopicState::new(name.clone(), options));
        let groups = self.groups.iter().filter(|(_, group)| group.topics.contains(name));
        let groups: Vec<_> = groups.map(|(group, _)| group.clone()).collect();
        groups.iter().for_each(|group| self.rebalance(group));
        true
    }

    /// Whether the record could be appended; its topic if so.
    pub(super) fn check(&self, record: &ProducerRecord) -> Result<&TopicState, ProduceError> {
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
        Ok(topic)
    }

    /// Appends a record, and says where.
    pub(super) fn append(
        &mut self,
        record: &ProducerRecord,
        producer: Option<ProducerId>,
    ) -> Result<(i32, i64), ProduceError> {
        let partitions = self.check(record)?.partitions();
        let partition = record
            .partition
            .or_else(|| self.partitioner.partition(record.key.as_deref(), partitions))
            .unwrap_or_else(|| self.random.partition(partitions));
        let stored = Stored {
            timestamp: record.timestamp.unwrap_or_else(|| (self.wall_clock)()),
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

    pub(super) fn subscribe(&mut self, subscription: Subscription) -> MemberId {
        self.members.push(Member::new(subscription));
        MemberId(self.members.len() - 1)
    }

    pub(super) fn join(&mut self, id: MemberId) {
        self.sessions += 1;
        let member = &mut self.members[id.0];
        member.membership = Membership::Joined(self.sessions);
        let subscription = member.subscription.clone();
        let group = self.groups.entry(subscription.group.clone()).or_default();
        group.join(id, &subscription.topics, subscription.protocol);
        self.rebalance(&subscription.group);
    }

    /// Takes a member out of its group, and gives the partitions that it owned.
    fn remove(&mut self, id: MemberId, membership: Membership) -> Vec<TopicPartition> {
        let member = &mut self.members[id.0];
        let joined = matches!(member.membership, Membership::Joined(_));
        member.membership = membership;
        member.session_ends = None;
        member.touch();
        if !joined {
            return Vec::new();
        }
        let name = member.subscription.group.clone();
        let lost = self.groups.get_mut(&name).map(|group| group.remove(id)).unwrap_or_default();
        self.rebalance(&name);
        lost
    }

    /// The member leaves for good.
    pub(super) fn leave(&mut self, id: MemberId) {
        self.remove(id, Membership::Left);
        let member = &mut self.members[id.0];
        member.notices.clear();
        member.fetches.clear();
    }

    /// The member's session is over: it has lost what it owned, and may join again.
    pub(super) fn expire(&mut self, id: MemberId) {
        if !matches!(self.members[id.0].membership, Membership::Joined(_)) {
            return;
        }
        let lost = self.remove(id, Membership::Outside);
        if !lost.is_empty() {
            self.members[id.0].notify(SourceEvent::Lost(lost));
        }
    }

    pub(super) fn halt(&mut self, id: MemberId, process: Process, now: Instant) {
        let session_ends = now + self.session_timeout;
        let member = &mut self.members[id.0];
        if member.process == Process::Crashed || member.membership == Membership::Left {
            return;
        }
        member.process = process;
        if matches!(member.membership, Membership::Joined(_)) {
            member.session_ends.get_or_insert(session_ends);
        }
        member.touch();
    }

    pub(super) fn wake(&mut self, id: MemberId, now: Instant) {
        self.expire_overdue(now);
        let member = &mut self.members[id.0];
        if member.process == Process::Suspended {
            member.process = Process::Running;
            member.session_ends = None;
            member.touch();
        }
    }

    /// Ends the sessions and the transactions whose time is over.
    pub(super) fn expire_overdue(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let overdue = self.members.iter().enumerate().filter_map(|(id, member)| {
            member.session_ends.is_some_and(|ends| ends <= now).then_some(MemberId(id))
        });
        let overdue: Vec<_> = overdue.collect();
        overdue.into_iter().for_each(|id| self.expire(id));
        for id in self.transactions.overdue(now) {
            self.fence_producer(&id);
        }
        self.changed = true;
    }

    /// When the next session or transaction times out.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let sessions = self.members.iter().filter_map(|member| member.session_ends).min();
        sessions.into_iter().chain(self.transactions.next_deadline()).min()
    }

    pub(super) fn renew_deadlines(&mut self, now: Instant) {
        for member in &mut self.members {
            member.session_ends = member.session_ends.map(|_| now + self.session_timeout);
        }
        self.transactions.renew_deadlines(now);
    }

    fn rebalance(&mut self, name: &str) {
        let Some(group) = self.groups.get_mut(name) else { return };
        let partitions = self.topics.values().filter(|topic| group.topics.contains(&topic.name));
        let partitions = partitions.flat_map(|topic| {
            (0..topic.partitions()).map(|number| TopicPartition::new(topic.name.clone(), number))
        });
        group.rebalance(partitions.collect());
        self.reconcile(name);
    }

    pub(super) fn reassign(&mut self, name: &str, partition: &TopicPartition, to: MemberId) {
        if let Some(group) = self.groups.get_mut(name) {
            group.reassign(partition, to);
            self.reconcile(name);
        }
    }

    /// Lets a group take its next steps, and tells its members.
    pub(super) fn reconcile(&mut self, name: &str) {
        let unstable = self.transactions.unstable_offsets(name);
        let Some(group) = self.groups.get_mut(name) else { return };
        for (id, event) in group.reconcile(&unstable) {
            self.members[id.0].notify(event);
        }
        self.changed = true;
    }

    pub(super) fn release(&mut self, id: MemberId, partitions: &[TopicPartition]) {
        let name = self.members[id.0].subscription.group.clone();
        if let Some(group) = self.groups.get_mut(&name) {
            group.release(id, partitions);
            self.reconcile(&name);
        }
    }

    /// Says why the member may not commit these positions, if so.
    pub(super) fn fence(
        &self,
        id: MemberId,
        positions: &[PartitionPosition],
    ) -> Result<(), String> {
        match self.groups.get(&self.members[id.0].subscription.group) {
            Some(group) => group.fence(id, positions),
            None => Err(format!("{id} has not joined its group")),
        }
    }

    /// Commits positions without a question.
    pub(super) fn commit(&mut self, name: &Arc<str>, positions: &[PartitionPosition]) {
        self.groups.entry(name.clone()).or_default().commit(positions);
        for position in positions {
            self.drop_consumed(&position.partition);
        }
    }

    fn drop_consumed(&mut self, partition: &TopicPartition) {
        let Some(topic) = self.topics.get_mut(&partition.topic) else { return };
        if topic.retention != Retention::Unconsumed {
            return;
        }
        let groups = self.groups.values().filter(|group| group.topics.contains(&partition.topic));
        let committed = groups.map(|group| group.committed.get(partition).map_or(0, |c| c.offset));
        if let (Some(before), Some(log)) =
            (committed.min(), topic.logs.get_mut(partition.partition as usize))
        {
            log.truncate(before);
        }
    }
}
