//! A consumer group: its members, the owners of partitions, and what it has committed.
//!
//! ```text
//!            assign                    release
//!   free ─────────────▶ owned ─▶ revoking ────▶ free
//!     ▲                   └─────────┴── lost ────▲
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jobstream::position::{MetadataError, PartitionPosition, Position};
use jobstream::record::{Generation, Topic, TopicId, TopicPartition};
use jobstream::sources::{Assignment, Reset, SourceEvent};

use super::assignor::{Assignor, Subscriber};
use super::instances::Instances;
use super::member::{MemberId, Subscription};

/// What a rebalance asks back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Only the partitions that move (KIP-429).
    #[default]
    Cooperative,
    /// All partitions of all members; they are assigned anew when the last one is released.
    Eager,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset: the position's frontier.
    pub offset: i64,
    /// The metadata, as it was committed.
    pub metadata: String,
    /// The leader epoch of the record before, if the client has told it (KIP-320).
    pub leader_epoch: Option<i32>,
}

impl CommittedOffset {
    /// The position that was committed.
    ///
    /// # Errors
    /// If the metadata is no set of finished offsets.
    pub fn position(&self) -> Result<Position, MetadataError> {
        Position::from_commit(self.offset, &self.metadata).map(|commit| commit.position)
    }

    /// Whether it may have been made for the topic with this id.
    pub(super) fn is_of(&self, topic_id: TopicId) -> bool {
        Position::from_commit(self.offset, &self.metadata)
            .map_or(true, |commit| commit.is_of(Some(topic_id)))
    }

    /// Whether it says of which topic it is.
    fn names_its_topic(&self) -> bool {
        let commit = Position::from_commit(self.offset, &self.metadata);
        commit.is_ok_and(|commit| commit.topic_id.is_some())
    }

    /// The commit of a position of this topic, by a member that knows this limit of metadata.
    fn of(position: &Position, topic_id: Option<TopicId>, max_bytes: usize) -> Self {
        let metadata = position.metadata(topic_id, max_bytes);
        Self { offset: position.frontier(), metadata, leader_epoch: None }
    }

    /// What it says of the topic with this id. What another client has committed as metadata is no
    /// set of ours; its offset is still true, unless no record can have it.
    fn read(&self, is: TopicId) -> (Option<Position>, Option<Reset>) {
        if self.offset < 0 {
            return (None, None);
        }
        let Ok(commit) = Position::from_commit(self.offset, &self.metadata) else {
            return (Some(Position::at(self.offset)), None);
        };
        match commit.topic_id {
            Some(was) if was != is => (None, Some(Reset::TopicRecreated { was, is })),
            _ => (Some(commit.position), None),
        }
    }
}

/// The ids of the topics that there are.
pub(super) type TopicIds = BTreeMap<Topic, TopicId>;

/// The place of a commit among all that there were, as Kafka's log of commits has it. That of a
/// transaction is where its offsets were sent, not where it ended.
pub(crate) type CommitRecord = u64;

/// Positions as they are committed.
pub(crate) type Offsets = Vec<(TopicPartition, CommittedOffset)>;

#[derive(Debug)]
struct Owner {
    member: MemberId,
    generation: Generation,
    /// The topic as the member knows it.
    topic_id: TopicId,
    revoking: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Group {
    protocol: Protocol,
    assignor: Assignor,
    members: BTreeMap<MemberId, Subscriber>,
    instances: Instances<MemberId>,
    /// Every topic that a member has ever subscribed to.
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// Which record of a commit each of them has last come from.
    records: BTreeMap<TopicPartition, CommitRecord>,
    partitions: BTreeSet<TopicPartition>,
    target: BTreeMap<TopicPartition, MemberId>,
    owners: BTreeMap<TopicPartition, Owner>,
    /// How often each member was newly assigned each partition.
    generations: BTreeMap<(MemberId, TopicPartition), Generation>,
    /// The topic as each member knew it at its last assignment of each partition.
    known_ids: BTreeMap<(MemberId, TopicPartition), TopicId>,
    /// An eager rebalance waits for the last release.
    waits_for_releases: bool,
}

/// A static member that another process has replaced.
#[derive(Debug)]
pub(super) struct Replaced {
    pub(super) member: MemberId,
    /// What it owned.
    pub(super) lost: Vec<TopicPartition>,
    /// Whether the group goes on as it is, since the next process subscribes to the same topics.
    pub(super) is_alike: bool,
}

impl Group {
    /// Adds a member. A static one takes the place of the process that has had its instance.
    pub(super) fn join(
        &mut self,
        member: MemberId,
        subscription: &Subscription,
    ) -> Option<Replaced> {
        let Subscription { topics, instance, protocol, assignor, .. } = subscription;
        if self.members.is_empty() {
            (self.protocol, self.assignor) = (*protocol, *assignor);
        }
        self.topics.extend(topics.iter().cloned());
        let subscriber = Subscriber { topics: topics.clone(), instance: instance.clone() };
        self.members.insert(member, subscriber);
        let before = self.instances.give(instance.clone()?, member)?;
        let subscribed = self.members.remove(&before)?;
        let targets = self.target.values_mut().filter(|target| **target == before);
        targets.for_each(|target| *target = member);
        let lost = self.disown(before);
        Some(Replaced { member: before, lost, is_alike: subscribed.topics == *topics })
    }

    /// Takes a member out, and gives the partitions that it owned, if it is one.
    pub(super) fn remove(&mut self, member: MemberId) -> Option<Vec<TopicPartition>> {
        let subscriber = self.members.remove(&member)?;
        subscriber.instance.iter().for_each(|instance| self.instances.take(instance));
        Some(self.disown(member))
    }

    fn disown(&mut self, member: MemberId) -> Vec<TopicPartition> {
        let (lost, kept) =
            std::mem::take(&mut self.owners).into_iter().partition(|(_, o)| o.member == member);
        self.owners = kept;
        let lost: BTreeMap<TopicPartition, Owner> = lost;
        lost.into_keys().collect()
    }

    pub(crate) fn members(&self) -> Vec<MemberId> {
        self.members.keys().copied().collect()
    }

    pub(super) fn owners(&self) -> BTreeMap<TopicPartition, MemberId> {
        self.owners.iter().map(|(partition, owner)| (partition.clone(), owner.member)).collect()
    }

    /// Computes anew which member is to get which of the partitions.
    pub(super) fn rebalance(&mut self, partitions: BTreeSet<TopicPartition>) {
        self.partitions = partitions;
        match self.protocol {
            Protocol::Cooperative => {
                self.target = self.assign(&self.target);
            }
            Protocol::Eager => {
                self.target.clear();
                self.waits_for_releases = true;
            }
        }
    }

    fn assign(
        &self,
        previous: &BTreeMap<TopicPartition, MemberId>,
    ) -> BTreeMap<TopicPartition, MemberId> {
        self.assignor.assign(&self.members, &self.partitions, previous)
    }

    /// Moves a partition to a member, until the next rebalance; nothing moves on its own while an
    /// eager one is under way.
    pub(super) fn reassign(&mut self, partition: &TopicPartition, to: MemberId) {
        if self.members.contains_key(&to) && !self.waits_for_releases {
            self.target.insert(partition.clone(), to);
        }
    }

    /// Takes the next steps towards the target: asks back what is to move, and assigns what is
    /// free, unless an open transaction holds its offsets.
    pub(super) fn reconcile(
        &mut self,
        unstable: &BTreeSet<TopicPartition>,
        topic_ids: &TopicIds,
    ) -> Vec<(MemberId, SourceEvent)> {
        let mut notices: Vec<_> = self
            .revoke()
            .into_iter()
            .map(|(member, partitions)| (member, SourceEvent::Revoked(partitions)))
            .collect();
        if self.waits_for_releases && self.owners.is_empty() {
            self.waits_for_releases = false;
            self.target = self.assign(&BTreeMap::new());
        }
        let assigned = self.assign_free(unstable, topic_ids);
        notices.extend(assigned.into_iter().map(|(m, a)| (m, SourceEvent::Assigned(a))));
        notices
    }

    fn revoke(&mut self) -> BTreeMap<MemberId, Vec<TopicPartition>> {
        let mut revoked: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (partition, owner) in &mut self.owners {
            if !owner.revoking && self.target.get(partition) != Some(&owner.member) {
                owner.revoking = true;
                revoked.entry(owner.member).or_default().push(partition.clone());
            }
        }
        revoked
    }

    fn assign_free(
        &mut self,
        unstable: &BTreeSet<TopicPartition>,
        topic_ids: &TopicIds,
    ) -> BTreeMap<MemberId, Vec<Assignment>> {
        let mut assigned: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (partition, &member) in &self.target {
            if self.owners.contains_key(partition) || unstable.contains(partition) {
                continue;
            }
            let Some(&topic_id) = topic_ids.get(&partition.topic) else { continue };
            let generation = self.generations.entry((member, partition.clone())).or_default();
            *generation += 1;
            let generation = *generation;
            let known = self.known_ids.insert((member, partition.clone()), topic_id);
            let recreated = known.filter(|was| *was != topic_id);
            let recreated = recreated.map(|was| Reset::TopicRecreated { was, is: topic_id });
            let owner = Owner { member, generation, topic_id, revoking: false };
            self.owners.insert(partition.clone(), owner);
            let committed = self.committed.get(partition).map(|commit| commit.read(topic_id));
            let (position, reset) = committed.unwrap_or_default();
            let is_of_no_topic =
                self.committed.get(partition).is_none_or(|commit| !commit.names_its_topic());
            let is_stale = reset.is_some() || recreated.is_some() && is_of_no_topic;
            let position = if is_stale { Some(Position::at(0)) } else { position };
            let (partition, reset) = (partition.clone(), reset.or(recreated));
            let assignment = Assignment { partition, generation, position, reset };
            assigned.entry(member).or_default().push(assignment);
        }
        assigned
    }

    /// Lets a partition begin anew at its owner; gives its new assignment.
    pub(super) fn begin_anew(
        &mut self,
        member: MemberId,
        partition: &TopicPartition,
        topic_id: TopicId,
        position: Option<Position>,
        reset: Reset,
    ) -> Option<Assignment> {
        let owner = self.owners.get_mut(partition)?;
        if owner.member != member || owner.revoking {
            return None;
        }
        let generation = self.generations.entry((member, partition.clone())).or_default();
        *generation += 1;
        self.known_ids.insert((member, partition.clone()), topic_id);
        (owner.generation, owner.topic_id) = (*generation, topic_id);
        let (partition, generation) = (partition.clone(), *generation);
        Some(Assignment { partition, generation, position, reset: Some(reset) })
    }

    /// The topic of a partition as its owner knows it.
    pub(super) fn topic_id(&self, member: MemberId, partition: &TopicPartition) -> Option<TopicId> {
        let owner = self.owners.get(partition).filter(|owner| owner.member == member);
        owner.map(|owner| owner.topic_id)
    }

    /// Positions as their owner commits them under this limit of metadata.
    pub(super) fn encode(
        &self,
        member: MemberId,
        positions: &[PartitionPosition],
        max_bytes: usize,
    ) -> Offsets {
        let encode = |PartitionPosition { partition, position, .. }: &PartitionPosition| {
            let topic_id = self.topic_id(member, partition);
            (partition.clone(), CommittedOffset::of(position, topic_id, max_bytes))
        };
        positions.iter().map(encode).collect()
    }

    /// Frees partitions that were asked back from the member.
    pub(super) fn release(&mut self, member: MemberId, partitions: &[TopicPartition]) {
        for partition in partitions {
            let owner = self.owners.get(partition);
            if owner.is_some_and(|owner| owner.member == member && owner.revoking) {
                self.owners.remove(partition);
            }
        }
    }

    /// Says why the member may not commit these positions, if so.
    pub(super) fn fence(
        &self,
        member: MemberId,
        positions: &[PartitionPosition],
    ) -> Result<(), String> {
        if !self.members.contains_key(&member) {
            return Err(format!("{member} is not in the group: expected a member"));
        }
        for PartitionPosition { partition, generation, .. } in positions {
            match self.owners.get(partition) {
                Some(owner) if owner.member == member && owner.generation == *generation => {}
                Some(owner) if owner.member == member => {
                    return Err(format!(
                        "{partition}: found generation {generation}, expected {}",
                        owner.generation
                    ));
                }
                Some(owner) => return Err(format!("{partition} belongs to {}", owner.member)),
                None => return Err(format!("{partition} belongs to nobody")),
            }
        }
        Ok(())
    }

    /// Commits what this record has. Of each partition the newest record counts, also where an older
    /// one takes effect after it with the end of its transaction.
    pub(super) fn commit(&mut self, record: CommitRecord, offsets: &Offsets) {
        for (partition, committed) in offsets {
            let last = self.records.entry(partition.clone()).or_default();
            if record >= *last || !self.committed.contains_key(partition) {
                *last = record;
                self.committed.insert(partition.clone(), committed.clone());
            }
        }
    }

    /// Forgets what was committed for a topic that is deleted.
    pub(super) fn forget(&mut self, topic: &str) {
        self.committed.retain(|partition, _| *partition.topic != *topic);
    }
}
