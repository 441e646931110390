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
    /// Takes note of a record.
    pub(super) fn step(&mut self, offset: i64, resets: u64) -> Step {
        let expected = self.next.replace(offset.saturating_add(1));
        let was_first = std::mem::replace(&mut self.is_first, false);
        let had_resets = std::mem::replace(&mut self.resets, resets);
        match expected {
            Some(expected) if offset < expected => Step::Back(expected),
            Some(expected) if offset > expected && (was_first || had_resets != resets) => {
                Step::Gap(expected)
            }
            _ => Step::Next,
        }
    }
}

/// What a record's offset is to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next one, or one behind offsets that have no record.
    Next,
    /// Above the one that was expected, and that may be due to retention: it is the first record, or
    /// offsets were reset.
    Gap(i64),
    /// Below the one that was expected.
    Back(i64),
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

    /// The topics of all of them.
    pub(super) fn topics(&self) -> impl Iterator<Item = Topic> + '_ {
        self.0.iter().filter(|(_, readings)| !readings.is_empty()).map(|(topic, _)| topic.clone())
    }

    /// The partitions of a topic.
    pub(super) fn of_topic(&self, topic: &str) -> Vec<TopicPartition> {
        let readings = self.0.get(topic).into_iter().flat_map(BTreeMap::values);
        readings.map(|reading| reading.partition.clone()).collect()
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
        assert_eq!(reading.step(5, 0), Step::Gap(3));
        assert_eq!(reading.step(8, 0), Step::Next, "a transaction's marker, or compaction");
        assert_eq!(reading.step(12, 1), Step::Gap(9));
        assert_eq!(reading.step(13, 2), Step::Next, "no gap");
        assert_eq!(reading.step(13, 2), Step::Back(14));
        assert_eq!(reading.step(2, 3), Step::Back(14));
    }

    #[test]
    fn without_a_commit_the_first_offset_is_no_gap() {
        let mut assigned = Assigned::default();
        assigned.insert(TopicPartition::new("jobs", 0), 1, None, 0);
        assert_eq!(assigned.get("jobs", 0).unwrap().step(7, 0), Step::Next);
    }
}
