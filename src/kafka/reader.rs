//! Reads a range of a topic, and ends: for whoever looks at what is there.
//!
//! ```text
//!  ranges (the ends now) ─▶ since (a time) ─▶ open ─▶ next ─▶ next ─▶ nothing left
//! ```
//!
//! It reads as `read_committed`, by assignment, and belongs to no group (librdkafka wants a
//! `group.id` all the same: the topic's name).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::observer::ErrorKind;
use super::reading::{Reading, reached};
use super::{Calls, ConfigError, KafkaConfig, TopicError};
use crate::record::{Block, ConsumerRecord, Timestamp, Topic, TopicPartition};
use crate::sources::kafka::own;

/// How long a question, or the wait for a record, takes before it is asked again.
const QUESTION_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait for a record before it is looked whether the ends are reached.
const POLL: Duration = Duration::from_millis(50);
/// How long there may be neither a record nor an end.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// The most that one call gives, in bytes of keys, values and headers.
const NEXT_LIMIT_BYTES: usize = 4 << 20;

/// A part of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// The partition's number.
    pub partition: i32,
    /// The first offset.
    pub start: i64,
    /// The offset after the last one.
    pub end: i64,
}

/// Reads ranges of a topic that exists. Dropped, its client ends on a thread of its own, which
/// nobody waits for.
pub struct TopicReader {
    /// Taken by the drop, so that the client ends on the thread of the calls.
    core: Option<Arc<Core>>,
    calls: Calls,
}

struct Core {
    client: BaseConsumer<Reading>,
    topic: Topic,
    open: Mutex<Open>,
}

/// What is not read yet.
type Open = BTreeMap<i32, Unread>;

struct Unread {
    range: PartitionRange,
    /// Where the partition's end was found at last.
    end_at: i64,
}

impl Unread {
    const fn of(range: PartitionRange) -> Self {
        Self { range, end_at: range.start }
    }
}

impl TopicReader {
    /// A reader of this topic. No broker need be there yet.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn new(config: &KafkaConfig, topic: impl Into<Topic>) -> Result<Self, ConfigError> {
        let topic = topic.into();
        let mut properties = config.consumer(&topic);
        properties
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            // The end is told by a fetch that finds nothing.
            .set("fetch.wait.max.ms", "10");
        let client =
            BaseConsumer::from_config_and_context(&properties, Reading::new(config.told()))?;
        let calls = Calls::start("kafka-reader");
        let calls = calls.map_err(|error| ConfigError::Refused(error.to_string()))?;
        Ok(Self { core: Some(Arc::new(Core { client, topic, open: Mutex::default() })), calls })
    }

    /// All that is in the partitions below this number now, as far as `read_committed` goes: what
    /// lies behind an open transaction is not in it. Takes up to 30 s.
    ///
    /// # Errors
    /// If the brokers do not tell, or the topic has fewer partitions.
    pub async fn ranges(&self, partitions: usize) -> Result<Vec<PartitionRange>, TopicError> {
        self.call(move |core| {
            let numbers = (0_i32..).take(partitions);
            let ranges: Result<_, _> = numbers.map(|partition| core.range(partition)).collect();
            ranges.map_err(|error| core.of_fewer(partitions, error))
        })
        .await
    }

    /// The ranges without what lies before the first record of each that is as young as this.
    ///
    /// # Errors
    /// If the brokers do not tell.
    pub async fn since(
        &self,
        ranges: Vec<PartitionRange>,
        timestamp: Timestamp,
    ) -> Result<Vec<PartitionRange>, TopicError> {
        self.call(move |core| core.since(&ranges, timestamp)).await
    }

    /// Reads these ranges from now on, in place of what was open.
    ///
    /// # Errors
    /// If librdkafka refuses them.
    pub async fn open(&self, ranges: Vec<PartitionRange>) -> Result<(), TopicError> {
        self.call(move |core| core.open(&ranges)).await
    }

    /// Some of the next records, at most so many and at most about 4 MiB, those of a partition in
    /// the order of their offsets; none if everything that was open has been read. Cancelled, what
    /// it has read is not given again.
    ///
    /// # Errors
    /// If there has been neither a record nor the end of a range for 30 s. A partition that ends
    /// before its range does is waited for: a new leader may be behind for a while.
    pub async fn next(&self, records_max: usize) -> Result<Vec<ConsumerRecord>, TopicError> {
        self.call(move |core| core.next(records_max)).await
    }

    /// The record at an offset, in place of what was open; `None` if there is none, or no longer.
    ///
    /// # Errors
    /// If the brokers do not tell.
    pub async fn find(
        &self,
        partition: i32,
        offset: i64,
    ) -> Result<Option<ConsumerRecord>, TopicError> {
        self.call(move |core| {
            let range = core.range(partition)?;
            if !(range.start..range.end).contains(&offset) {
                return Ok(None);
            }
            core.open(&[PartitionRange { partition, start: offset, end: offset + 1 }])?;
            Ok(core.next(1)?.pop())
        })
        .await
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Core) -> Result<T, TopicError> + Send + 'static,
    ) -> Result<T, TopicError> {
        let core = self.core.as_ref().expect("taken by the drop only").clone();
        let called = self.calls.call(move || call(&core)).await;
        called.unwrap_or_else(|| {
            let reason = "a call of the client has panicked".to_owned();
            Err(TopicError { kind: ErrorKind::Fatal, reason })
        })
    }
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        let core = self.core.take();
        self.calls.tell(move || drop(core));
    }
}

impl fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicReader").finish_non_exhaustive()
    }
}

impl Core {
    fn range(&self, partition: i32) -> Result<PartitionRange, TopicError> {
        let (start, end) =
            self.ask(|client| client.fetch_watermarks(&self.topic, partition, QUESTION_LIMIT))?;
        Ok(PartitionRange { partition, start, end })
    }

    /// The error of who has asked for so many partitions: where a topic that exists has fewer, it
    /// says so.
    fn of_fewer(&self, partitions: usize, error: TopicError) -> TopicError {
        if error.kind != ErrorKind::UnknownTopic {
            return error;
        }
        let asked = self.ask(|client| client.fetch_metadata(Some(&self.topic), QUESTION_LIMIT));
        let found = asked.ok().and_then(|metadata| {
            let topic = metadata.topics().iter().find(|found| found.name() == &*self.topic)?;
            topic.error().is_none().then(|| topic.partitions().len())
        });
        match found {
            Some(found) if found < partitions => {
                let topic = &self.topic;
                let reason =
                    format!("topic {topic}: found {found} partitions, expected {partitions}");
                TopicError { kind: ErrorKind::Other, reason }
            }
            _ => error,
        }
    }

    fn since(
        &self,
        ranges: &[PartitionRange],
        timestamp: Timestamp,
    ) -> Result<Vec<PartitionRange>, TopicError> {
        let times = self.list(ranges, |_| timestamp)?;
        let found = self.ask(|client| client.offsets_for_times(times.clone(), QUESTION_LIMIT))?;
        let first = |range: &PartitionRange| {
            let element = found.find_partition(&self.topic, range.partition);
            match element.map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => offset.clamp(range.start, range.end),
                // Nothing is as young.
                _ => range.end,
            }
        };
        Ok(ranges.iter().map(|range| PartitionRange { start: first(range), ..*range }).collect())
    }

    /// The partitions, each with a number where an offset belongs.
    fn list(
        &self,
        ranges: &[PartitionRange],
        number: impl Fn(&PartitionRange) -> i64,
    ) -> Result<TopicPartitionList, TopicError> {
        let mut list = TopicPartitionList::new();
        for range in ranges {
            let offset = Offset::Offset(number(range));
            list.add_partition_offset(&self.topic, range.partition, offset)
                .map_err(|error| self.error(&error))?;
        }
        Ok(list)
    }

    fn open(&self, ranges: &[PartitionRange]) -> Result<(), TopicError> {
        let ranges: Vec<_> = ranges.iter().copied().filter(|r| r.start < r.end).collect();
        let list = self.list(&ranges, |range| range.start)?;
        self.client.assign(&list).map_err(|error| self.error(&error))?;
        let unread = |range: PartitionRange| (range.partition, Unread::of(range));
        *self.opened() = ranges.into_iter().map(unread).collect();
        Ok(())
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, records_max: usize) -> Result<Vec<ConsumerRecord>, TopicError> {
        let mut open = self.opened();
        let (mut records, mut bytes) = (Vec::new(), 0);
        let (mut since, mut last_error) = (Instant::now(), None);
        let mut block = Block::default();
        while !open.is_empty() && records.len() < records_max && bytes < NEXT_LIMIT_BYTES {
            match self.client.poll(POLL) {
                Some(Ok(message)) => {
                    since = Instant::now();
                    let partition = TopicPartition::new(self.topic.clone(), message.partition());
                    let record = own(&mut block, &message, partition, 0, usize::MAX);
                    if take(&mut open, &record) {
                        bytes += record.size_bytes();
                        records.push(record);
                    }
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    let end_at = reached(&self.client, &self.topic, partition);
                    if let Some(unread) = open.get_mut(&partition) {
                        unread.end_at = end_at;
                    }
                }
                Some(Err(error)) => last_error = Some(error),
                None if !records.is_empty() => break,
                None => {}
            }
            let before = open.len();
            open.retain(|_, Unread { range, end_at }| *end_at < range.end);
            if open.len() < before {
                since = Instant::now();
            }
            if since.elapsed() >= SILENCE_LIMIT {
                let silence = || self.silence(&open);
                return Err(last_error.map_or_else(silence, |error| self.error(&error)));
            }
        }
        Ok(records)
    }

    /// Asks until there is an answer.
    fn ask<T>(
        &self,
        question: impl Fn(&BaseConsumer<Reading>) -> KafkaResult<T>,
    ) -> Result<T, TopicError> {
        let since = Instant::now();
        loop {
            let error = match question(&self.client) {
                Ok(answer) => return Ok(answer),
                Err(error) => self.error(&error),
            };
            let passes = matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Passing);
            if !passes || since.elapsed() >= SILENCE_LIMIT {
                return Err(error);
            }
        }
    }

    fn error(&self, error: &KafkaError) -> TopicError {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        TopicError { kind, reason: format!("topic {}: {error}", self.topic) }
    }

    fn silence(&self, open: &Open) -> TopicError {
        let (topic, seconds) = (&self.topic, SILENCE_LIMIT.as_secs());
        let waits = open.values().next().map(|Unread { range, end_at }| {
            let PartitionRange { partition, end, .. } = range;
            format!("; [{partition}] was read to {end_at}, expected to {end}")
        });
        let waits = waits.unwrap_or_default();
        let reason = format!("topic {topic}: found no record in {seconds} s{waits}");
        TopicError { kind: ErrorKind::Unreachable, reason }
    }
}

/// Whether a record is one of the open ranges; what is read is open no longer.
fn take(open: &mut Open, record: &ConsumerRecord) -> bool {
    let partition = record.partition.partition;
    let Some(unread) = open.get(&partition) else { return false };
    let PartitionRange { start, end, .. } = unread.range;
    if record.offset + 1 >= end {
        open.remove(&partition);
    }
    (start..end).contains(&record.offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(partition: i32, offset: i64) -> ConsumerRecord {
        ConsumerRecord::new(TopicPartition::new("topic", partition), offset, 0)
    }

    #[test]
    fn a_record_beyond_the_end_ends_its_partition_and_is_not_taken() {
        let range = PartitionRange { partition: 1, start: 5, end: 8 };
        let mut open = Open::from([(1, Unread::of(range))]);
        assert!(!take(&mut open, &record(0, 5)), "another partition");
        assert!(!take(&mut open, &record(1, 4)), "before the start");
        assert!(take(&mut open, &record(1, 5)));
        assert!(!take(&mut open, &record(1, 9)), "offsets 6 to 8 are gone");
        assert!(open.is_empty());
    }

    #[test]
    fn the_last_record_of_a_range_ends_its_partition() {
        let range = PartitionRange { partition: 0, start: 0, end: 1 };
        let mut open = Open::from([(0, Unread::of(range))]);
        assert!(take(&mut open, &record(0, 0)));
        assert!(open.is_empty());
    }
}
