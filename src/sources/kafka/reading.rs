//! What the poller reads: partitions, each with its position, and copies of records, so that no
//! memory of librdkafka is held.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::Message as _;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _};

use super::buffer::Chunk;
use crate::record::{Block, ConsumerRecord, Generation, Header, Headers, Topic, TopicPartition};

/// Replaces a header's name that is not UTF-8. Kafka's protocol requires UTF-8, but brokers do not
/// check it. The value of such a header can't be read either.
const NAME_UNREADABLE: &str = "\u{fffd}";

/// The read position of one partition.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    /// The offset after the last record; before the first, the committed one, if any.
    next: Option<i64>,
    /// Whether no record has come yet.
    is_first: bool,
    /// The total number of reset offsets when the last record came.
    resets: u64,
}

impl Reading {
    /// Notes a record, and compares its offset with the expected one.
    pub(super) fn step(&mut self, offset: i64, resets: u64) -> Continuity {
        let expected = self.next.replace(offset.saturating_add(1));
        let was_first = std::mem::replace(&mut self.is_first, false);
        let had_resets = std::mem::replace(&mut self.resets, resets);
        match expected {
            Some(expected) if offset < expected => Continuity::Back(expected),
            Some(expected) if offset > expected && (was_first || had_resets != resets) => {
                Continuity::Gap(expected)
            }
            _ => Continuity::Next,
        }
    }
}

/// How a record's offset relates to the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// The expected one, or one after offsets that have no record.
    Next,
    /// Above the expected one, maybe because of retention: it is the first record, or offsets were
    /// reset.
    Gap(i64),
    /// Below the expected one.
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

    /// All of them.
    pub(super) fn all(&self) -> Vec<TopicPartition> {
        let readings = self.0.values().flat_map(BTreeMap::values);
        readings.map(|reading| reading.partition.clone()).collect()
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

/// Consecutive records of one partition.
#[derive(Debug)]
pub(super) struct Stretch {
    /// Not shared with other threads: a shared reference count would move from core to core with
    /// every record.
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) records: Chunk,
}

/// The records that one turn of the poller has polled, in order.
#[derive(Debug, Default)]
pub(super) struct Polled(Vec<Stretch>);

impl Polled {
    /// The stretch for the next record of a partition, if the partition is read.
    pub(super) fn stretch(
        &mut self,
        topic: &str,
        partition: i32,
        assigned: &mut Assigned,
    ) -> Option<&mut Stretch> {
        let is_of_it = |name: &TopicPartition| name.partition == partition && *name.topic == *topic;
        if self.0.last().is_none_or(|last| !is_of_it(&last.partition)) {
            self.0.push(Stretch::of(assigned.get(topic, partition)?));
        }
        self.0.last_mut()
    }

    pub(super) fn into_chunks(self) -> Vec<Chunk> {
        self.0.into_iter().map(|stretch| stretch.records).collect()
    }
}

impl Stretch {
    fn of(Reading { partition, generation, .. }: &mut Reading) -> Self {
        let partition = TopicPartition::new(&*partition.topic, partition.partition);
        Self { partition, generation: *generation, records: Chunk::new() }
    }
}

/// Whether a record has a header that could not be read.
pub(super) fn has_unreadable_header(record: &ConsumerRecord) -> bool {
    let is_unreadable = |header: &Header| header.name == NAME_UNREADABLE && header.value.is_none();
    record.headers.iter().any(is_unreadable)
}

/// Copies a record with at most this many headers; small records share a block.
pub(crate) fn own(
    block: &mut Block,
    message: &BorrowedMessage<'_>,
    partition: TopicPartition,
    generation: Generation,
    headers_max: usize,
) -> ConsumerRecord {
    let parts = [message.key().unwrap_or_default(), message.payload().unwrap_or_default()];
    let mut copied = block.concat(&parts);
    let key = message.key().map(|key| copied.split_to(key.len()));
    let value = message.payload().map(|_| copied);
    ConsumerRecord {
        partition,
        offset: message.offset(),
        generation,
        timestamp: message.timestamp().to_millis(),
        key,
        value,
        headers: message.headers().map(|all| headers(all, headers_max)).unwrap_or_default(),
    }
}

fn headers(headers: &BorrowedHeaders, max: usize) -> Headers {
    // rdkafka panics on a name that is not UTF-8; a record must not end the source.
    let header = |index| match catch_unwind(AssertUnwindSafe(|| headers.get(index))) {
        Ok(header) => Header {
            name: Cow::Owned(header.key.to_owned()),
            value: header.value.map(Bytes::copy_from_slice),
        },
        Err(_) => Header { name: Cow::Borrowed(NAME_UNREADABLE), value: None },
    };
    (0..headers.count().min(max)).map(header).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_noticed_only_at_the_first_record_and_after_a_reset() {
        let mut assigned = Assigned::default();
        assigned.insert(TopicPartition::new("jobs", 0), 1, Some(3), 0);
        let reading = assigned.get("jobs", 0).unwrap();
        assert_eq!(reading.step(5, 0), Continuity::Gap(3));
        assert_eq!(reading.step(8, 0), Continuity::Next, "a transaction's marker, or compaction");
        assert_eq!(reading.step(12, 1), Continuity::Gap(9));
        assert_eq!(reading.step(13, 2), Continuity::Next, "no gap");
        assert_eq!(reading.step(13, 2), Continuity::Back(14));
        assert_eq!(reading.step(2, 3), Continuity::Back(14));
    }

    #[test]
    fn without_a_commit_the_first_offset_is_not_a_gap() {
        let mut assigned = Assigned::default();
        assigned.insert(TopicPartition::new("jobs", 0), 1, None, 0);
        assert_eq!(assigned.get("jobs", 0).unwrap().step(7, 0), Continuity::Next);
    }
}
