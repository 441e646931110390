//! The group coordinator: moves groups on, and takes their commits.

use std::sync::Arc;

use jobstream::position::PartitionPosition;
use jobstream::record::TopicPartition;

use super::group::{CommitRecord, Offsets};
use super::member::MemberId;
use super::state::State;
use super::topic::Retention;

/// Metadata of a commit that the broker does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metadata of a commit is too large: found {found} bytes, expected at most {expected}")]
pub(super) struct MetadataTooLarge {
    found: usize,
    expected: usize,
}

impl State {
    /// Lets a group assign its partitions anew.
    pub(super) fn rebalance(&mut self, name: &str) {
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

    /// Lets a group take its next steps, and notifies its members.
    pub(super) fn reconcile(&mut self, name: &str) {
        let unstable = self.transactions.unstable_offsets(name);
        let ids = self.topics.values().map(|topic| (topic.name.clone(), topic.id)).collect();
        let Some(group) = self.groups.get_mut(name) else { return };
        for (id, event) in group.reconcile(&unstable, &ids) {
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

    /// Positions as a member of a group commits them.
    ///
    /// # Errors
    /// If the metadata of one is too large; the member knows by then that it must take less.
    pub(super) fn encode(
        &mut self,
        group: &Arc<str>,
        member: MemberId,
        positions: &[PartitionPosition],
    ) -> Result<Offsets, MetadataTooLarge> {
        let known = self.members[member.0].metadata_max_bytes;
        let group = self.groups.entry(group.clone()).or_default();
        let offsets = group.encode(member, positions, known);
        let found = offsets.iter().map(|(_, commit)| commit.metadata.len()).max().unwrap_or(0);
        let expected = self.metadata_max_bytes;
        if found > expected {
            self.members[member.0].metadata_max_bytes = known.min(found / 2);
            return Err(MetadataTooLarge { found, expected });
        }
        Ok(offsets)
    }

    /// The record of the next commit.
    pub(super) const fn next_commit(&mut self) -> CommitRecord {
        self.commits += 1;
        self.commits
    }

    /// Commits offsets without a question.
    pub(crate) fn commit(&mut self, name: &Arc<str>, offsets: &Offsets) {
        let record = self.next_commit();
        self.commit_record(name, record, offsets);
    }

    /// Commits offsets of a record that was there before.
    pub(super) fn commit_record(
        &mut self,
        name: &Arc<str>,
        record: CommitRecord,
        offsets: &Offsets,
    ) {
        self.groups.entry(name.clone()).or_default().commit(record, offsets);
        for (partition, _) in offsets {
            self.drop_consumed(partition);
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
