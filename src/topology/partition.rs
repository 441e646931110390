//! The partitions that this worker is assigned.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::frontier::{Delivered, Frontier};
use super::leftovers::Unpublished;
use crate::position::{PartitionPosition, Position};
use crate::record::{ConsumerRecord, Generation, TopicPartition};
use crate::sources::Assignment;

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) generation: Generation,
    pub(super) frontier: Frontier,
    /// When the frontier came to stand where it is.
    frontier_since: Instant,
    /// The offset that was told as stuck.
    pub(super) stuck: Option<i64>,
    /// Records admitted, not finished and not cut off.
    pub(super) in_flight: usize,
    /// Finished records that no commit tells yet.
    unsaved: u64,
    /// Of these, the ones that the commit or batch under way tells.
    saving: u64,
    /// Records in the batch that is being published.
    publishing: u64,
    /// A record that does not fit into the window yet; no other is taken in before it.
    pub(super) held: Option<ConsumerRecord>,
    pub(super) drain: Option<Drain>,
    /// Whether its part of the state is not there yet.
    pub(super) is_restoring: bool,
    /// Whether the next batch carries its position without news, for the changes in it.
    pub(super) is_fenced_by_batch: bool,
    /// What an earlier assignment has executed and not published, by offset, until it is finished.
    pub(super) unpublished: BTreeMap<i64, Unpublished>,
    /// The end of the effects under way is waited for, since a batch may have outputs of an earlier
    /// assignment; no record is taken in before it.
    pub(super) waits: bool,
}

/// How far the drain of a partition is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// What is in flight may execute until then.
    pub(super) until: Instant,
    /// That time is over: what had not been executed was cut off.
    pub(super) cut: bool,
    /// What was executed may be published, and the position committed, until then.
    pub(super) flush_until: Instant,
    /// Whether the source has asked for it back.
    pub(super) revoked: bool,
}

impl Partition {
    pub(super) fn new(assignment: &Assignment, now: Instant) -> Self {
        Self {
            generation: assignment.generation,
            frontier: Frontier::new(assignment.position.clone()),
            frontier_since: now,
            stuck: None,
            in_flight: 0,
            // A commit from before must not count once there are as many records again.
            unsaved: u64::from(assignment.reset.is_some() && assignment.position.is_some()),
            saving: 0,
            publishing: 0,
            held: None,
            drain: None,
            is_restoring: false,
            is_fenced_by_batch: false,
            unpublished: BTreeMap::new(),
            waits: false,
        }
    }

    /// Takes on what an earlier assignment has executed, unless it is finished.
    pub(super) fn inherit(&mut self, offset: i64, unpublished: Unpublished) {
        if !self.frontier.is_inherited(offset) {
            self.unpublished.insert(offset, unpublished);
        }
    }

    /// What an earlier assignment has made of this record, if it has.
    pub(super) fn executed(&self, record: &ConsumerRecord) -> Option<Unpublished> {
        self.unpublished.get(&record.offset).filter(|executed| executed.is_of(record)).cloned()
    }

    /// Whether a record can be taken in by now.
    pub(super) fn fits(&self, offset: i64, window: i64) -> bool {
        !self.waits && self.frontier.fits(offset, window)
    }

    /// Takes in a record at the end.
    pub(super) fn deliver(&mut self, offset: i64, now: Instant) -> Delivered {
        if !self.frontier.is_waiting() {
            self.frontier_since = now;
        }
        let delivered = self.frontier.deliver(offset);
        match delivered {
            Delivered::New => self.in_flight += 1,
            Delivered::AlreadyFinished => self.unsaved += 1,
        }
        delivered
    }

    /// Counts an admitted record as finished.
    pub(super) fn finish(&mut self, offset: i64, now: Instant) {
        if self.frontier.finish(offset) {
            self.frontier_since = now;
        }
        self.unpublished.remove(&offset);
        self.in_flight -= 1;
        self.unsaved += 1;
    }

    /// How long the frontier has stood before an unfinished record.
    pub(super) fn age(&self, now: Instant) -> Duration {
        if self.in_flight == 0 { Duration::ZERO } else { now - self.frontier_since }
    }

    /// Whether it takes in a record.
    pub(super) fn takes_records(&self) -> bool {
        self.held.is_none() && self.drain.is_none() && !self.is_restoring
    }

    pub(super) fn has_unsaved(&self) -> bool {
        self.unsaved > 0
    }

    /// Counts a record into the batch that is being published.
    pub(super) fn publishing(&mut self, offset: i64) {
        self.frontier.publishing(offset);
        self.publishing += 1;
    }

    /// Counts a record out of a batch that was not published.
    pub(super) fn not_published(&mut self, offset: i64) {
        self.frontier.not_published(offset);
    }

    /// The position of what is finished, to be saved by a commit.
    fn save(&mut self, window: i64) -> Position {
        self.saving = self.unsaved;
        self.frontier.position(window)
    }

    /// The position that also tells the records that are being published, to be saved with them.
    fn save_with_batch(&mut self, window: i64) -> Position {
        self.is_fenced_by_batch = false;
        self.saving = self.unsaved + std::mem::take(&mut self.publishing);
        self.frontier.position_once_published(window)
    }

    /// What was being saved is saved.
    fn saved(&mut self) {
        self.unsaved -= self.saving;
        self.saving = 0;
    }
}

/// All assigned partitions.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    /// Ordered by number and topic: a number is quicker to compare than a name.
    assigned: Vec<(TopicPartition, Partition)>,
    /// Where the last one was found: records come and finish in runs of one partition.
    last: usize,
}

impl Partitions {
    fn find(&self, partition: &TopicPartition) -> Result<usize, usize> {
        self.assigned.binary_search_by(|(name, _)| {
            let by_number = name.partition.cmp(&partition.partition);
            by_number.then_with(|| name.topic.cmp(&partition.topic))
        })
    }

    /// Adds a partition that is not there.
    pub(super) fn insert(&mut self, assignment: &Assignment, now: Instant) {
        if let Err(index) = self.find(&assignment.partition) {
            let partition = Partition::new(assignment, now);
            self.assigned.insert(index, (assignment.partition.clone(), partition));
        }
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) -> Option<Partition> {
        let index = self.find(partition).ok()?;
        Some(self.assigned.remove(index).1)
    }

    pub(super) fn get(&self, partition: &TopicPartition) -> Option<&Partition> {
        let index = self.find(partition).ok()?;
        Some(&self.assigned[index].1)
    }

    pub(super) fn get_mut(&mut self, partition: &TopicPartition) -> Option<&mut Partition> {
        if self.assigned.get(self.last).is_none_or(|(name, _)| name != partition) {
            self.last = self.find(partition).ok()?;
        }
        Some(&mut self.assigned[self.last].1)
    }

    /// The partition of a record, unless the record belongs to an older assignment.
    pub(super) fn of(&mut self, record: &ConsumerRecord) -> Option<&mut Partition> {
        self.current(&record.partition, record.generation)
    }

    /// The partition, if it is still assigned as it was.
    pub(super) fn current(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
    ) -> Option<&mut Partition> {
        self.get_mut(partition).filter(|p| p.generation == generation)
    }

    /// Whether the partition is still assigned as it was.
    pub(super) fn holds(&self, partition: &TopicPartition, generation: Generation) -> bool {
        self.get(partition).is_some_and(|p| p.generation == generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicPartition, &Partition)> {
        self.assigned.iter().map(|(name, partition)| (name, partition))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut Partition)> {
        self.assigned.iter_mut().map(|(name, partition)| (&*name, partition))
    }

    /// The names of the partitions for which `condition` holds.
    pub(super) fn names(&self, condition: impl Fn(&Partition) -> bool) -> Vec<TopicPartition> {
        self.iter().filter(|(_, p)| condition(p)).map(|(name, _)| name.clone()).collect()
    }

    /// The positions with news, as far as they fit into a window.
    pub(super) fn save(&mut self, window: i64) -> Vec<PartitionPosition> {
        let with_news = self.iter_mut().filter(|(_, p)| p.unsaved > 0);
        with_news.map(|(name, p)| positioned(name, p.generation, p.save(window))).collect()
    }

    /// The positions that a batch is to carry: those with news, and those that fence it.
    pub(super) fn save_with_batch(&mut self, window: i64) -> Vec<PartitionPosition> {
        let has_news = |p: &Partition| p.unsaved + p.publishing > 0 || p.is_fenced_by_batch;
        let with_news = self.iter_mut().filter(|(_, p)| has_news(p));
        let positions =
            with_news.map(|(name, p)| positioned(name, p.generation, p.save_with_batch(window)));
        positions.collect()
    }

    /// What was being saved of these is saved.
    pub(super) fn saved(&mut self, positions: &[PartitionPosition]) {
        for saved in positions {
            if let Some(partition) = self.get_mut(&saved.partition)
                && partition.generation == saved.generation
            {
                partition.saved();
            }
        }
    }
}

fn positioned(
    partition: &TopicPartition,
    generation: Generation,
    position: Position,
) -> PartitionPosition {
    PartitionPosition { partition: partition.clone(), generation, position }
}
