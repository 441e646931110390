//! What was executed of partitions that were lost, and not published.
//!
//! ```text
//!  outbox ──▶ lost ──▶ Leftovers ──▶ assigned again, not finished ──▶ delivered again ──▶ outbox
//! ```
//!
//! A producer that is fenced costs its member the assignment, which it may regain a moment later.
//! What it had executed is published then, not executed again. What the committed position counts
//! as finished has been published, here or by another member, and is forgotten.

use std::collections::{BTreeMap, VecDeque};

use super::lanes::KeyHash;
use super::limits::Limits;
use super::pipeline::Finished;
use super::run::Run;
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

    fn size_bytes(&self) -> usize {
        let outputs: usize = self.finished.outputs.iter().map(ProducerRecord::size_bytes).sum();
        self.finished.record.size_bytes() + outputs
    }
}

/// Executed records of partitions that this worker does not have, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    kept: VecDeque<Unpublished>,
    bytes: usize,
    /// Partitions that were lost while a batch that may have outputs of theirs was under way.
    awaited: Vec<TopicPartition>,
    /// The generations with which partitions began anew: what is older counts no more.
    began: BTreeMap<TopicPartition, Generation>,
}

impl Leftovers {
    /// Keeps an executed record; forgets the oldest ones above the limits.
    fn keep(&mut self, unpublished: Unpublished, limits: Limits) {
        self.bytes += unpublished.size_bytes();
        self.kept.push_back(unpublished);
        while self.kept.len() > limits.in_flight_records.max(1)
            || self.bytes > limits.in_flight_bytes && self.kept.len() > 1
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
        self.awaited.retain(|awaited| awaited != partition);
        self.take(partition, None);
    }

    /// Whether a record is of its partition as it is, and not from before it began anew.
    fn counts(&self, record: &ConsumerRecord) -> bool {
        self.began.get(&record.partition).is_none_or(|began| record.generation >= *began)
    }

    /// The next assignment of a partition waits for the effects that are under way.
    pub(super) fn wait_for(&mut self, partition: &TopicPartition) {
        self.awaited.push(partition.clone());
    }

    /// Whether a partition waits for the effects that are under way.
    pub(super) fn is_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub(super) fn waits_for(&self, partition: &TopicPartition) -> bool {
        self.awaited.contains(partition)
    }
}

/// Whether a record is finished at the position that the group has committed, if any.
pub(super) fn is_finished(committed: Option<&Position>, offset: i64) -> bool {
    committed.is_some_and(|committed| committed.is_finished(offset))
}

impl Run<'_> {
    /// Keeps executed records of assignments that are over: with their partitions, where these are
    /// assigned again already.
    pub(super) fn keep(&mut self, unpublished: Vec<Unpublished>) {
        for unpublished in unpublished {
            if !self.leftovers.counts(&unpublished.finished.record) {
                continue;
            }
            let ConsumerRecord { partition, offset, .. } = &unpublished.finished.record;
            match self.partitions.get_mut(partition) {
                Some(assigned) => assigned.inherit(*offset, unpublished),
                None => self.leftovers.keep(unpublished, self.topology.limits),
            }
        }
    }

    /// An effect has ended; if it was the last one, what was kept waiting for the end goes on.
    pub(super) fn end_the_wait(&mut self) {
        if self.leftovers.is_awaited() && self.under_way.is_empty() {
            self.leftovers.awaited.clear();
            self.partitions.iter_mut().for_each(|(_, partition)| partition.waits = false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Fate;

    fn unpublished(offset: i64, bytes: usize) -> Unpublished {
        let record = ConsumerRecord {
            partition: TopicPartition::new("jobs", 0),
            offset,
            generation: 1,
            timestamp: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: crate::record::Headers::new(),
        };
        let finished =
            Finished { record, outputs: Vec::new(), fate: Fate::Succeeded, changes: None };
        Unpublished { finished, lane: None }
    }

    fn taken(leftovers: &mut Leftovers, committed: Option<&Position>) -> Vec<i64> {
        leftovers.take(&TopicPartition::new("jobs", 0), committed).into_keys().collect()
    }

    #[test]
    fn the_oldest_are_forgotten_above_the_limits() {
        let limits = Limits { in_flight_records: 3, in_flight_bytes: 100, ..Limits::default() };
        let mut leftovers = Leftovers::default();
        (0..5).for_each(|offset| leftovers.keep(unpublished(offset, 1), limits));
        assert_eq!(taken(&mut leftovers, None), [2, 3, 4]);
        (0..3).for_each(|offset| leftovers.keep(unpublished(offset, 60), limits));
        assert_eq!(taken(&mut leftovers, None), [2]);
        leftovers.keep(unpublished(7, 1_000), limits);
        assert_eq!(taken(&mut leftovers, None), [7], "one can exceed the limit");
        assert_eq!(leftovers.bytes, 0);
    }

    #[test]
    fn what_the_position_counts_as_finished_is_forgotten() {
        let mut leftovers = Leftovers::default();
        (3..8).for_each(|offset| leftovers.keep(unpublished(offset, 1), Limits::default()));
        let mut committed = Position::at(5);
        committed.finish(6);
        assert_eq!(taken(&mut leftovers, Some(&committed)), [5, 7]);
        assert!(taken(&mut leftovers, None).is_empty(), "taken out");
    }
}
