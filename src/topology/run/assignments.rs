//! The partitions that this worker is assigned, and what is kept of those that it has lost.
//!
//! A topic that was created anew has other records at the same offsets. Which of the old knowledge
//! still holds could only be guessed; to drop all of it repeats some jobs and loses none. So
//! offsets that go back begin a new life of the partition: the source assigns it once more under a
//! new generation, and everything that keeps stale work out (positions, leftovers, state) keeps out
//! the old life, too.

use std::time::Duration;

use tokio::time::Instant;

use super::super::limits::Limits;
use super::super::observe::{Event, Observers};
use super::super::stages::KeyHash;
use super::leftovers::{Leftovers, Unpublished};
use super::partition::Partition;
use crate::position::{PartitionPosition, Position};
use crate::record::{ConsumerRecord, Generation, TopicPartition};
use crate::sources::Assignment;

/// A partition under one assignment.
pub(super) type Assigned = (TopicPartition, Generation);

/// All assigned partitions.
#[derive(Debug)]
pub(super) struct Assignments {
    /// Ordered by number and topic: a number is quicker to compare than a name.
    assigned: Vec<(TopicPartition, Partition)>,
    /// Where the last one was found: records come and finish in runs of one partition.
    last: usize,
    leftovers: Leftovers,
    /// Partitions that were lost while a batch was under way that may have outputs of theirs.
    awaited: Vec<TopicPartition>,
    /// Whether partitions with one number are released together.
    share_parts: bool,
}

impl Assignments {
    pub(super) const fn new(limits: Limits, share_parts: bool) -> Self {
        let leftovers = Leftovers::new(limits);
        Self { assigned: Vec::new(), last: 0, leftovers, awaited: Vec::new(), share_parts }
    }

    fn find(&self, partition: &TopicPartition) -> Result<usize, usize> {
        self.assigned.binary_search_by(|(name, _)| {
            let by_number = name.partition.cmp(&partition.partition);
            by_number.then_with(|| name.topic.cmp(&partition.topic))
        })
    }

    /// Begins an assignment of a partition that is not there, with what an earlier one has left.
    pub(super) fn assign(&mut self, assignment: &Assignment, is_restored: bool, now: Instant) {
        let name = &assignment.partition;
        let Err(index) = self.find(name) else { return };
        let unpublished = self.leftovers.take(name, assignment.position.as_ref());
        let mut partition = Partition::new(assignment, unpublished, now);
        if is_restored {
            partition.restored(self.awaited.contains(name));
        }
        self.assigned.insert(index, (name.clone(), partition));
    }

    /// Reports where the partitions stand.
    pub(super) fn report(&mut self, observers: &Observers, stuck_after: Duration, now: Instant) {
        for (partition, state) in self.iter_mut() {
            let (offset, in_flight, age) = (state.frontier(), state.in_flight(), state.age(now));
            observers.emit(&Event::Frontier { partition, offset, in_flight, age });
            if state.is_newly_stuck(now, stuck_after) {
                observers.emit(&Event::Stuck { partition, offset, age });
            }
        }
    }

    /// The first partition of this number.
    pub(super) fn with_number(&self, number: i32) -> Option<Assigned> {
        let mut partitions = self.iter();
        let found = partitions.find(|(name, _)| name.partition == number);
        found.map(|(name, partition)| (name.clone(), partition.generation()))
    }

    /// The part that the partitions of this number share is there.
    pub(super) fn restored(&mut self, number: i32) {
        let of_it = self.assigned.iter_mut().filter(|(name, _)| name.partition == number);
        of_it.for_each(|(name, partition)| partition.restored(self.awaited.contains(name)));
    }

    /// Forgets what was executed of a partition before this generation, with which it begins anew.
    pub(super) fn begin_anew(&mut self, name: &TopicPartition, generation: Generation) {
        self.awaited.retain(|awaited| awaited != name);
        self.leftovers.begin_anew(name, generation);
    }

    /// A partition is lost while batches are under way: its next assignment waits for their end.
    pub(super) fn await_batches(&mut self, name: &TopicPartition) {
        self.awaited.push(name.clone());
    }

    /// Whether the end of the batches under way is waited for.
    pub(super) const fn is_awaiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// No batch is under way.
    pub(super) fn batches_ended(&mut self) {
        self.awaited.clear();
        self.partitions().for_each(Partition::batches_ended);
    }

    /// Keeps executed records of assignments that are over: with their partitions, where these are
    /// assigned again already.
    pub(super) fn keep(&mut self, unpublished: impl IntoIterator<Item = Unpublished>) {
        for unpublished in unpublished {
            match self.find(unpublished.place().0) {
                _ if !self.leftovers.counts(&unpublished) => {}
                // Another member may have changed the state meanwhile: what follows from it is found anew.
                _ if unpublished.finished.changes.is_some() => {}
                Ok(index) => self.assigned[index].1.inherit(unpublished),
                Err(_) => self.leftovers.keep(unpublished),
            }
        }
    }

    pub(super) fn remove(&mut self, name: &TopicPartition) -> Option<Partition> {
        Some(self.assigned.remove(self.find(name).ok()?).1)
    }

    /// Takes out a record that was held and fits by now; it is delivered again.
    pub(super) fn take_held(&mut self, window: i64) -> Option<ConsumerRecord> {
        self.partitions().find_map(|partition| partition.take_held(window))
    }

    /// Lets the partitions take records in again that a key's jobs have kept from it, where the key
    /// has room.
    pub(super) fn uncrowd(&mut self, has_room: impl Fn(KeyHash) -> bool) {
        self.partitions().for_each(|partition| partition.uncrowd(&has_room));
    }

    /// Notes the drains whose first deadline is over.
    pub(super) fn cut_drains(&mut self, now: Instant) -> Vec<Assigned> {
        let cut = self.assigned.iter_mut().filter_map(|(name, partition)| {
            partition.cut_drain(now).then(|| (name.clone(), partition.generation()))
        });
        cut.collect()
    }

    /// The revoked partitions of which everything is finished and saved, or whose time is over.
    pub(super) fn to_release(&self, now: Instant) -> Vec<Assigned> {
        let revoked = || self.iter().filter(|(_, partition)| partition.is_revoked());
        // Those that share a part go together: their next owner must find it at rest.
        let waits_for_another = |name: &TopicPartition| {
            let shares = |other: &TopicPartition| other.partition == name.partition;
            self.share_parts && revoked().any(|(other, p)| shares(other) && !p.is_at_rest(now))
        };
        let due = revoked().filter(|(name, p)| p.is_at_rest(now) && !waits_for_another(name));
        due.map(|(name, partition)| (name.clone(), partition.generation())).collect()
    }

    /// The partitions that the source is to pause, and those that it is to resume, since a
    /// partition takes records in or does not. With a shut intake none does.
    pub(super) fn pause_and_resume(
        &mut self,
        intake_is_open: bool,
    ) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (name, partition) in &mut self.assigned {
            match partition.pause_or_resume(intake_is_open) {
                Some(true) => pause.push(name.clone()),
                Some(false) => resume.push(name.clone()),
                None => {}
            }
        }
        (pause, resume)
    }

    pub(super) fn get(&self, name: &TopicPartition) -> Option<&Partition> {
        let index = self.find(name).ok()?;
        Some(&self.assigned[index].1)
    }

    pub(super) fn get_mut(&mut self, name: &TopicPartition) -> Option<&mut Partition> {
        if self.assigned.get(self.last).is_none_or(|(last, _)| last != name) {
            self.last = self.find(name).ok()?;
        }
        Some(&mut self.assigned[self.last].1)
    }

    /// The partition, if it is still assigned as it was.
    pub(super) fn current(
        &mut self,
        (name, generation): (&TopicPartition, Generation),
    ) -> Option<&mut Partition> {
        self.get_mut(name).filter(|partition| partition.generation() == generation)
    }

    /// Whether the partition is still assigned as it was.
    pub(super) fn holds(&self, (name, generation): (&TopicPartition, Generation)) -> bool {
        self.get(name).is_some_and(|partition| partition.generation() == generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        self.assigned.iter().map(|(name, partition)| (name, partition))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut Partition)> {
        self.assigned.iter_mut().map(|(name, partition)| (&*name, partition))
    }

    fn partitions(&mut self) -> impl Iterator<Item = &mut Partition> {
        self.assigned.iter_mut().map(|(_, partition)| partition)
    }

    /// Whether a partition has finished records that are in no committed position.
    pub(super) fn have_news(&self) -> bool {
        self.iter().any(|(_, partition)| partition.has_news())
    }

    /// The positions that have moved since they were committed, as far as they fit into a window.
    pub(super) fn save(&mut self, window: i64) -> Vec<PartitionPosition> {
        self.positions(Partition::has_news, |partition| partition.save(window))
    }

    /// The positions that a batch carries: those that have moved, and those that fence it.
    pub(super) fn save_with_batch(&mut self, window: i64) -> Vec<PartitionPosition> {
        self.positions(Partition::is_in_batch, |partition| partition.save_with_batch(window))
    }

    fn positions(
        &mut self,
        condition: impl Fn(&Partition) -> bool,
        save: impl Fn(&mut Partition) -> Position,
    ) -> Vec<PartitionPosition> {
        let with_news = self.iter_mut().filter(|(_, partition)| condition(partition));
        let positions = with_news.map(|(name, partition)| PartitionPosition {
            partition: name.clone(),
            generation: partition.generation(),
            position: save(partition),
        });
        positions.collect()
    }

    /// These positions are committed.
    pub(super) fn saved(&mut self, positions: &[PartitionPosition]) {
        for PartitionPosition { partition, generation, .. } in positions {
            self.current((partition, *generation)).into_iter().for_each(Partition::saved);
        }
    }
}
