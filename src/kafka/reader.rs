//! Reads ranges of a topic to their ends, for tools that look at its records.
//!
//! ```text
//!  ranges (the ends now) ─▶ since (a time) ─▶ open ─▶ next ─▶ next ─▶ nothing left
//! ```
//!
//! The isolation level is `read_committed`.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{Message as _, Offset};
use tokio::time::Instant;

use super::blocking::ask;
use super::observer::ErrorKind;
use super::range::{Fetched, Open, PartitionRange, QUESTION_LIMIT, RangeReader};
use super::{Blocking, ConfigError, KafkaConfig, TopicError};
use crate::record::{Block, ConsumerRecord, Timestamp, Topic, TopicPartition};
use crate::sources::kafka::own;

/// The longest wait for a record before the reader checks whether the ends are reached.
const POLL: Duration = Duration::from_millis(50);
/// How long the reader waits for a record or an end before it fails.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// The most that one call returns, in bytes of keys, values and headers.
const NEXT_LIMIT_BYTES: usize = 4 << 20;

/// Reads ranges of a topic that exists. After the drop, its client ends on a thread of its own.
#[derive(Debug)]
pub struct TopicReader {
    core: Blocking<Core>,
}

struct Core {
    reader: RangeReader,
    topic: Topic,
    open: Mutex<Open>,
}

impl TopicReader {
    /// A reader of this topic. No broker need be reachable yet.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn new(config: &KafkaConfig, topic: impl Into<Topic>) -> Result<Self, ConfigError> {
        let topic = topic.into();
        let reader = RangeReader::new(config, &topic, "read_committed")?;
        let core = Core { reader, topic, open: Mutex::default() };
        Ok(Self { core: Blocking::start("kafka-reader", core)? })
    }

    /// The whole of each partition below this number, as it is now. A range ends before the first
    /// open transaction. Takes up to 30 s.
    ///
    /// # Errors
    /// If the brokers do not answer, or the topic has fewer partitions.
    pub async fn ranges(&self, partitions: usize) -> Result<Vec<PartitionRange>, TopicError> {
        self.call(move |core| {
            let numbers = (0_i32..).take(partitions);
            let ranges: Result<_, _> = numbers.map(|partition| core.range(partition)).collect();
            ranges.map_err(|error| core.of_fewer(partitions, error))
        })
        .await
    }

    /// The ranges, each starting at its first record that is not older than this time.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub async fn since(
        &self,
        ranges: Vec<PartitionRange>,
        timestamp: Timestamp,
    ) -> Result<Vec<PartitionRange>, TopicError> {
        self.call(move |core| core.since(&ranges, timestamp)).await
    }

    /// Reads these ranges from now on, in place of those that were open.
    ///
    /// # Errors
    /// If librdkafka refuses them.
    pub async fn open(&self, ranges: Vec<PartitionRange>) -> Result<(), TopicError> {
        self.call(move |core| core.open(&ranges)).await
    }

    /// Some of the next records: at most `records_max` and at most about 4 MiB, in the order of
    /// offsets within a partition. Empty once all open ranges have been read. Records that a
    /// cancelled call has read are not returned again.
    ///
    /// # Errors
    /// If there has been neither a record nor the end of a range for 30 s. The reader waits for a
    /// partition that ends before its range does, since a new leader may lag behind for a while.
    pub async fn next(&self, records_max: usize) -> Result<Vec<ConsumerRecord>, TopicError> {
        self.call(move |core| core.next(records_max)).await
    }

    /// The record at an offset; `None` if there is none, or no longer. Replaces the ranges that
    /// were open.
    ///
    /// # Errors
    /// If the brokers do not answer.
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
        self.core.call(call).await.unwrap_or_else(|| {
            let reason = "a call of the client has panicked".to_owned();
            Err(TopicError { kind: ErrorKind::Fatal, reason })
        })
    }
}

impl Core {
    fn range(&self, partition: i32) -> Result<PartitionRange, TopicError> {
        self.ask(|| self.reader.range(partition))
    }

    /// The error of a call for this many partitions: says so if the topic exists and has fewer.
    fn of_fewer(&self, partitions: usize, error: TopicError) -> TopicError {
        if error.kind != ErrorKind::UnknownTopic {
            return error;
        }
        let client = self.reader.client();
        let asked = self.ask(|| client.fetch_metadata(Some(&self.topic), QUESTION_LIMIT));
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
        let times = self.reader.list(ranges, |_| timestamp).map_err(|error| self.error(&error))?;
        let client = self.reader.client();
        let found = self.ask(|| client.offsets_for_times(times.clone(), QUESTION_LIMIT))?;
        let first = |range: &PartitionRange| {
            let element = found.find_partition(&self.topic, range.partition);
            match element.map(|element| element.offset()) {
                Some(Offset::Offset(offset)) => offset.clamp(range.start, range.end),
                // No record is that young.
                _ => range.end,
            }
        };
        Ok(ranges.iter().map(|range| PartitionRange { start: first(range), ..*range }).collect())
    }

    fn open(&self, ranges: &[PartitionRange]) -> Result<(), TopicError> {
        *self.opened() = self.reader.open(ranges).map_err(|error| self.error(&error))?;
        Ok(())
    }

    fn opened(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self, records_max: usize) -> Result<Vec<ConsumerRecord>, TopicError> {
        let mut open = self.opened();
        let (mut records, mut bytes) = (Vec::new(), 0);
        let (mut since, mut last_error) = (Instant::now(), None);
        let mut block = Block::default();
        while !open.is_empty() && records.len() < records_max && bytes < NEXT_LIMIT_BYTES {
            let before = open.len();
            match self.reader.poll(&mut open, POLL) {
                Ok(Fetched::Record(message)) => {
                    since = Instant::now();
                    let (partition, offset) = (message.partition(), message.offset());
                    if open.take(partition, offset) {
                        let partition = TopicPartition::new(self.topic.clone(), partition);
                        let record = own(&mut block, &message, partition, 0, usize::MAX);
                        bytes += record.size_bytes();
                        records.push(record);
                    }
                    continue;
                }
                Ok(Fetched::Nothing) if !records.is_empty() => break,
                Ok(Fetched::End | Fetched::Nothing) => {}
                Err(error) => last_error = Some(error),
            }
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

    fn ask<T>(&self, question: impl FnMut() -> KafkaResult<T>) -> Result<T, TopicError> {
        ask(SILENCE_LIMIT, question).map_err(|error| self.error(&error))
    }

    fn error(&self, error: &KafkaError) -> TopicError {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        TopicError { kind, reason: format!("topic {}: {error}", self.topic) }
    }

    fn silence(&self, open: &Open) -> TopicError {
        let (topic, seconds) = (&self.topic, SILENCE_LIMIT.as_secs());
        let waits = open.first().map(|(PartitionRange { partition, end, .. }, end_at)| {
            format!("; [{partition}] was read to {end_at}, expected to {end}")
        });
        let waits = waits.unwrap_or_default();
        let reason = format!("topic {topic}: found no record in {seconds} s{waits}");
        TopicError { kind: ErrorKind::Unreachable, reason }
    }
}
