//! The partitions that the poller reads.

use std::collections::BTreeMap;

use crate::record::{Generation, Topic, TopicPartition};

/// Reading one partition.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    /// The offset after the last record; before the first, the committed one, if any.
    next: Option<i64>,
    /// Whether no record came yet.
    is_first: bool,
    /// The offsets that were reset, in all, when the last record came.
    resets: u64,
}

impl Reading {
    /// Takes note of a record. Gives the offset that was expected if some were skipped and that
    /// may be due to retention: at the first record, or after offsets were reset.
    pub(super) fn gap(&mut self, offset: i64, resets: u64) -> Option<i64> {
        let expected = self.next.replace(offset + 1);
        let was_first = std::mem::replace(&mut self.is_first, false);
        let had_resets = std::mem::replace(&mut self.resets, resets);
        expected.filter(|&expected| expected < offset && (was_first || had_resets != resets))
    }
}

/// Every partition that is read, by topic and number.
#[derive(Debug, Default)]
pub(super) struct Assigned(BTreeMap<Topic, BTreeMap<i32, Reading>>);

impl Assigned {
    pub(super) fn insert(
        &mut self,
        partition: TopicPartition,
        generation: Generation,
        committed: Option<i64>,
        resets: u64,
    ) {
        let of_topic = self.0.entry(partition.topic.clone()).or_default();
        let number = partition.partition;
        let next = committed;
        let reading = Reading { partition, generation, next, is_first: true, resets };
        of_topic.insert(number, reading);
    }

    pub(super) fn remove(&mut self, partition: &TopicPartition) {
        if let Some(of_topic) = self.0.get_mut(&*partition.topic) {
            of_topic.remove(&partition.partition);
        }
    }

    pub(super) fn get(&mut self, topic: &str, partition: i32) -> Option<&mut Reading> {
        self.0.get_mut(topic)?.get_mut(&partition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_at_the_first_record_and_after_a_reset_only() {
        let mut assigned = Assigned::default();
        assigned.insert(TopicPartition::new("jobs", 0), 1, Some(3), 0);
        let reading = assigned.get("jobs", 0).unwrap();
        assert_eq!(reading.gap(5, 0), Some(3));
        assert_eq!(reading.gap(8, 0), None, "a transaction's marker, or compaction");
        assert_eq!(reading.gap(12, 1), Some(9));
        assert_eq!(reading.gap(13, 2), None, "no gap");
    }

    #[test]
    fn without_a_commit_the_first_offset_is_no_gap() {
        let mut assigned = Assigned::default();
        assigned.insert(TopicPartition::new("jobs", 0), 1, None, 0);
        assert_eq!(assigned.get("jobs", 0).unwrap().gap(7, 0), None);
    }
}
