//! The lives of partitions. A new life begins when a partition loses records.
//!
//! ```text
//!  life 0  0 1 2 3 4 5 6
//!                  └────── its end is lost
//!  life 1          4 5 6 7
//!          └────────────── the topic is deleted and created again
//!  life 2  0 1 2
//! ```
//!
//! A record of a later life than the first has its life in a header, which members do not read. So
//! it can be distinguished from an earlier record at the same offset, whenever a member has read
//! it.

use jobstream::record::{ConsumerRecord, Header, Topic, TopicPartition};

use super::history::{History, What};

/// The header with the life of a record; records of the first life have none.
const LIFE: &str = "simulation-life";

/// The header of a record in this life of a topic.
pub(super) fn header(topic: &Topic, life: u32) -> Header {
    Header::new(LIFE, format!("{life} {topic}"))
}

/// The life in which a record was produced. Outputs may carry the header of a job, which does not
/// count for them.
pub(super) fn life(record: &ConsumerRecord) -> u32 {
    let header = record.headers.get(LIFE).and_then(|header| std::str::from_utf8(header).ok());
    let (life, _) = header
        .and_then(|header| header.split_once(' '))
        .filter(|(_, topic)| **topic == *record.partition.topic)
        .unwrap_or(("0", ""));
    life.parse().unwrap_or_default()
}

/// A partition has lost its records from an offset on; the next records belong to a new life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLife {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that is lost.
    pub from: i64,
    /// The life that begins, from 1.
    pub life: u32,
    /// Whether its topic was deleted and created again; else its log has lost its end.
    pub is_recreated: bool,
}

/// Which records existed in each life of their partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Lives<'a>(Vec<&'a NewLife>);

impl<'a> Lives<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let new_lives = history.entries.iter().filter_map(|entry| match &entry.what {
            What::BeganAnew(new_life) => Some(new_life),
            _ => None,
        });
        Self(new_lives.collect())
    }

    /// Whether a record existed in this life of its partition: produced in it, or still there from
    /// before.
    pub(super) fn had(&self, record: &ConsumerRecord, life: u32) -> bool {
        self::life(record) <= life && !self.has_lost(record, life)
    }

    /// Whether a record was lost with a life of its partition.
    pub(super) fn have_lost(&self, record: &ConsumerRecord) -> bool {
        self.has_lost(record, u32::MAX)
    }

    /// Whether it was lost up to the beginning of this life.
    fn has_lost(&self, record: &ConsumerRecord, life: u32) -> bool {
        let loses = |new: &&NewLife| {
            new.partition == record.partition
                && new.from <= record.offset
                && (self::life(record) + 1..=life).contains(&new.life)
        };
        self.0.iter().any(loses)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::simulation::{Occurrence, Place};

    fn record(offset: i64, life: u32) -> ConsumerRecord {
        let partition = TopicPartition::new("jobs", 0);
        let headers = [header(&partition.topic, life)].into_iter().collect();
        ConsumerRecord::new(partition, offset, 1).headers(headers)
    }

    #[test]
    fn a_records_life_counts_on_its_own_topic_only() {
        let mut record = record(3, 2);
        assert_eq!((Place::from(&record).life, Place::from(&record).is_of(&record)), (2, true));
        record.partition.topic = "outputs".into();
        assert_eq!(Place::from(&record).life, 0);
    }

    #[test]
    fn a_life_has_the_records_that_were_left_and_those_produced_in_it() {
        let began = |from, life| {
            let (partition, is_recreated) = (record(0, 0).partition, from == 0);
            let what = What::BeganAnew(NewLife { partition, from, life, is_recreated });
            Occurrence { at: Duration::ZERO, step: 0, who: None, what }
        };
        let entries = vec![began(4, 1), began(0, 2)];
        let (groups, outputs) = (Vec::new(), std::collections::BTreeMap::new());
        let uncommitted_outputs = outputs.clone();
        let history = History {
            seed: 0,
            entries,
            groups,
            outputs,
            uncommitted_outputs,
            sets_fit: true,
            settled: true,
        };
        let lives = Lives::of(&history);
        let had = |record| [0, 1, 2].map(|life| lives.had(&record, life));
        assert_eq!(had(record(3, 0)), [true, true, false]);
        assert_eq!(had(record(4, 0)), [true, false, false]);
        assert_eq!(had(record(4, 1)), [false, true, false]);
        assert_eq!(had(record(4, 2)), [false, false, true]);
        assert!(lives.have_lost(&record(4, 1)) && !lives.have_lost(&record(4, 2)));
    }
}
