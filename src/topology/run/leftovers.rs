//! What was executed of partitions that were lost, and not published.
//!
//! ```text
//!  outbox ──▶ lost ──▶ Leftovers ──▶ assigned again, not finished ──▶ delivered again ──▶ outbox
//! ```
//!
//! A producer that is fenced costs its member the assignment, which it may regain a moment later.
//! What it had executed is published then, not executed again. What the committed position counts
//! as finished has been published, here or by another member, and is forgotten. So is what has changed
//! keyed state: another member may have changed it meanwhile.

use std::collections::{BTreeMap, VecDeque};

use super::super::limits::Limits;
use super::super::stages::{Finished, KeyHash};
use crate::position::Position;
use crate::record::{ConsumerRecord, Generation, ProducerRecord, TopicPartition};

/// An executed record whose outputs were not published.
#[derive(Clone, Debug)]
pub(super) struct Unpublished {
    pub(super) finished: Finished,
    pub(super) lane: Option<KeyHash>,
}

impl Unpublished {
    /// Whether it is of this record: a topic that was made anew has others at the same offsets.
    pub(super) fn is_of(&self, record: &ConsumerRecord) -> bool {
        let own = &self.finished.record;
        own.timestamp == record.timestamp && own.key == record.key && own.value == record.value
    }

    /// The partition and the offset of the record.
    pub(super) const fn place(&self) -> (&TopicPartition, i64) {
        let ConsumerRecord { partition, offset, .. } = &self.finished.record;
        (partition, *offset)
    }

    fn size_bytes(&self) -> usize {
        let outputs: usize = self.finished.outputs.iter().map(ProducerRecord::size_bytes).sum();
        self.finished.record.size_bytes() + outputs
    }
}

/// Executed records of partitions that this worker does not have, the oldest first.
#[derive(Debug)]
pub(super) struct Leftovers {
    kept: VecDeque<Unpublished>,
    bytes: usize,
    limits: Limits,
    /// The generations with which partitions began anew: what is older counts no more.
    began: BTreeMap<TopicPartition, Generation>,
}

impl Leftovers {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { kept: VecDeque::new(), bytes: 0, limits, began: BTreeMap::new() }
    }

    /// Keeps an executed record; forgets the oldest ones above the limits.
    pub(super) fn keep(&mut self, unpublished: Unpublished) {
        let Limits { in_flight_records, in_flight_bytes, .. } = self.limits;
        self.bytes += unpublished.size_bytes();
        self.kept.push_back(unpublished);
        while self.kept.len() > in_flight_records.max(1)
            || self.bytes > in_flight_bytes && self.kept.len() > 1
        {
            let oldest = self.kept.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.size_bytes());
        }
    }

    /// Takes out what belongs to a partition, by offset, without what is finished in its position.
    pub(super) fn take(
        &mut self,
        partition: &TopicPartition,
        committed: Option<&Position>,
    ) -> BTreeMap<i64, Unpublished> {
        let of_it = |kept: &Unpublished| kept.finished.record.partition == *partition;
        let (taken, kept): (VecDeque<_>, _) =
            std::mem::take(&mut self.kept).into_iter().partition(of_it);
        self.kept = kept;
        self.bytes -= taken.iter().map(Unpublished::size_bytes).sum::<usize>();
        let by_offset = taken.into_iter().map(|kept| (kept.finished.record.offset, kept));
        by_offset.filter(|(offset, _)| !is_finished(committed, *offset)).collect()
    }

    /// Forgets what was executed of a partition before this generation.
    pub(super) fn begin_anew(&mut self, partition: &TopicPartition, generation: Generation) {
        self.began.insert(partition.clone(), generation);
        self.take(partition, None);
    }

    /// Whether a record is of its partition as it is, and not from before it began anew.
    pub(super) fn counts(&self, unpublished: &Unpublished) -> bool {
        let ConsumerRecord { partition, generation, .. } = &unpublished.finished.record;
        self.began.get(partition).is_none_or(|began| generation >= began)
    }
}

/// Whether a record is finished at the position that the group has committed, if any.
fn is_finished(committed: Option<&Position>, offset: i64) -> bool {
    committed.is_some_and(|committed| committed.is_finished(offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Fate;

    fn unpublished(offset: i64, bytes: usize) -> Unpublished {
        let record =
            ConsumerRecord::new(TopicPartition::new("jobs", 0), offset, 1).value(vec![0; bytes]);
        let finished = Finished {
            record,
            outputs: Vec::new(),
            fate: Fate::Succeeded,
            attempts: 1,
            changes: None,
        };
        Unpublished { finished, lane: None }
    }

    fn taken(leftovers: &mut Leftovers, committed: Option<&Position>) -> Vec<i64> {
        leftovers.take(&TopicPartition::new("jobs", 0), committed).into_keys().collect()
    }

    #[test]
    fn the_oldest_are_forgotten_above_the_limits() {
        let limits = Limits::new().in_flight_records(3).in_flight_bytes(100);
        let mut leftovers = Leftovers::new(limits);
        (0..5).for_each(|offset| leftovers.keep(unpublished(offset, 1)));
        assert_eq!(taken(&mut leftovers, None), [2, 3, 4]);
        (0..3).for_each(|offset| leftovers.keep(unpublished(offset, 60)));
        assert_eq!(taken(&mut leftovers, None), [2]);
        leftovers.keep(unpublished(7, 1_000));
        assert_eq!(taken(&mut leftovers, None), [7], "one can exceed the limit");
        assert_eq!(leftovers.bytes, 0);
    }

    #[test]
    fn what_the_position_counts_as_finished_is_forgotten() {
        let mut leftovers = Leftovers::new(Limits::default());
        (3..8).for_each(|offset| leftovers.keep(unpublished(offset, 1)));
        let mut committed = Position::at(5);
        committed.finish(6);
        assert_eq!(taken(&mut leftovers, Some(&committed)), [5, 7]);
        assert!(taken(&mut leftovers, None).is_empty(), "taken out");
    }
}
