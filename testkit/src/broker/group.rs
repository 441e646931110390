//! A consumer group: who is in it, who owns what, and what it has committed.
//!
//! ```text
//!            assign                    release
//!   free ─────────────▶ owned ─▶ revoking ────▶ free
//!     ▲                   └─────────┴── lost ────▲
//! ```

use std::collections::{BTreeMap, BTreeSet};

use jobstream::position::{MetadataError, PartitionPosition, Position};
use jobstream::record::{Generation, Topic, TopicPartition};
use jobstream::sources::{Assignment, SourceEvent};

use super::assignor::Assignor;
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
}

impl CommittedOffset {
    /// The position that was committed.
    ///
    /// # Errors
    /// If the metadata is no set of finished offsets.
    pub fn position(&self) -> Result<Position, MetadataError> {
        Position::from_commit(self.offset, &self.metadata)
    }
}

impl From<&Position> for CommittedOffset {
    fn from(position: &Position) -> Self {
        Self { offset: position.frontier(), metadata: position.metadata() }
    }
}

#[derive(Debug)]
struct Owner {
    member: MemberId,
    generation: Generation,
    revoking: bool,
}

#[derive(Debug, Default)]
pub(super) struct Group {
    protocol: Protocol,
    assignor: Assignor,
    members: BTreeMap<MemberId, BTreeSet<Topic>>,
    /// Every topic that a member has ever subscribed to.
    pub(super) topics: BTreeSet<Topic>,
    pub(super) committed: BTreeMap<TopicPartition, CommittedOffset>,
    partitions: BTreeSet<TopicPartition>,
    target: BTreeMap<TopicPartition, MemberId>,
    owners: BTreeMap<TopicPartition, Owner>,
    /// How often each member was newly assigned each partition.
    generations: BTreeMap<(MemberId, TopicPartition), Generation>,
    /// An eager rebalance waits for the last release.
    waits_for_releases: bool,
}

impl Group {
    pub(super) fn join(&mut self, member: MemberId, subscription: &Subscription) {
        let Subscription { topics, protocol, assignor, .. } = subscription;
        if self.members.is_empty() {
            (self.protocol, self.assignor) = (*protocol, *assignor);
        }
        self.members.insert(member, topics.clone());
        self.topics.extend(topics.iter().cloned());
    }

    /// Takes a member out, and gives the partitions that it owned.
    pub(super) fn remove(&mut self, member: MemberId) -> Vec<TopicPartition> {
        self.members.remove(&member);
        let (lost, kept) =
            std::mem::take(&mut self.owners).into_iter().partition(|(_, o)| o.member == member);
        self.owners = kept;
        let lost: BTreeMap<TopicPartition, Owner> = lost;
        lost.into_keys().collect()
    }

    pub(super) fn members(&self) -> Vec<MemberId> {
        self.members.keys().copied().collect()
    }

    pub(super) fn owners(&self) -> BTreeMap<TopicPartition, MemberId> {
        self.owners.iter().map(|(partition, owner)| (partition.clone(), owner.member)).collect()
    }

    /// Computes anew who is to get which of the partitions.
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
        let assigned = self.assign_free(unstable);
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
    ) -> BTreeMap<MemberId, Vec<Assignment>> {
        let mut assigned: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (partition, &member) in &self.target {
            if self.owners.contains_key(partition) || unstable.contains(partition) {
                continue;
            }
            let generation = self.generations.entry((member, partition.clone())).or_default();
            *generation += 1;
            let owner = Owner { member, generation: *generation, revoking: false };
            self.owners.insert(partition.clone(), owner);
            assigned.entry(member).or_default().push(Assignment {
                partition: partition.clone(),
                generation: *generation,
                position: self.committed.get(partition).map(read_position),
            });
        }
        assigned
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

    pub(super) fn commit(&mut self, positions: &[PartitionPosition]) {
        for PartitionPosition { partition, position, .. } in positions {
            self.committed.insert(partition.clone(), position.into());
        }
    }
}

/// Metadata that another client committed is no set of ours; its offset is still true.
fn read_position(committed: &CommittedOffset) -> Position {
    committed.position().unwrap_or_else(|_| Position::at(committed.offset))
}
