//! Reads ranges of a topic to their ends, by assignment and in no group (librdkafka wants a
//! `group.id` all the same: the topic's name).
//!
//! An end is reached when the fetch position is there, and not when a fetch finds nothing: a new
//! leader serves records up to its high watermark, which may lie below what the former leader
//! acknowledged for up to `replica.lag.time.max.ms` (30 s). The last record need not be at the end
//! either: markers of transactions are not records, and compaction leaves offsets without a record.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::KafkaConfig;
use super::observer::ObserverContext;
use crate::record::Topic;

/// How long a question may take before it is asked again.
pub(super) const QUESTION_LIMIT: Duration = Duration::from_secs(1);

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

/// The opened ranges that have not been read to their ends, by partition.
#[derive(Default)]
pub(crate) struct Open(BTreeMap<i32, Unread>);

struct Unread {
    range: PartitionRange,
    /// Where the end of the partition was last found.
    end_at: i64,
}

impl Open {
    fn of(ranges: &[PartitionRange]) -> Self {
        let unread = |range: &PartitionRange| Unread { range: *range, end_at: range.start };
        Self(ranges.iter().map(|range| (range.partition, unread(range))).collect())
    }

    /// Whether everything has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The first range that has not been read to its end, and where the end of its partition was
    /// last found.
    pub(crate) fn first(&self) -> Option<(PartitionRange, i64)> {
        self.0.values().next().map(|unread| (unread.range, unread.end_at))
    }

    /// Whether a record is in one of the ranges. Its range is closed if this is the last record.
    pub(super) fn take(&mut self, partition: i32, offset: i64) -> bool {
        let Some(Unread { range: PartitionRange { start, end, .. }, .. }) = self.0.get(&partition)
        else {
            return false;
        };
        let is_of_it = (*start..*end).contains(&offset);
        if offset + 1 >= *end {
            self.0.remove(&partition);
        }
        is_of_it
    }

    /// Notes that a partition ends here for now.
    fn end(&mut self, partition: i32, end_at: i64) {
        if let Some(unread) = self.0.get_mut(&partition) {
            unread.end_at = end_at;
            if end_at >= unread.range.end {
                self.0.remove(&partition);
            }
        }
    }
}

/// The result of a poll.
pub(crate) enum Fetched<'a> {
    Record(BorrowedMessage<'a>),
    /// The end of a partition, for now. A range that ends there is closed.
    End,
    Nothing,
}

/// A client that reads ranges of a topic. Its calls block.
pub(crate) struct RangeReader {
    client: BaseConsumer<Ends>,
    topic: Topic,
}

impl RangeReader {
    /// A reader with this `isolation.level`. No broker need be reachable yet.
    pub(crate) fn new(config: &KafkaConfig, topic: &Topic, isolation: &str) -> KafkaResult<Self> {
        let mut properties = config.consumer(topic);
        properties
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            // librdkafka reports the end when a fetch finds nothing, so a fetch must not wait for
            // long.
            .set("fetch.wait.max.ms", "10")
            .set("isolation.level", isolation);
        let ends = Ends { observer: config.observer_context(), end: Mutex::new(None) };
        let client = BaseConsumer::from_config_and_context(&properties, ends)?;
        Ok(Self { client, topic: topic.clone() })
    }

    pub(crate) const fn client(&self) -> &BaseConsumer<impl ConsumerContext> {
        &self.client
    }

    pub(crate) fn observer(&self) -> &ObserverContext {
        &self.client.context().observer
    }

    /// The whole of a partition now, up to where this reader's isolation allows. Blocks up to 1 s.
    pub(crate) fn range(&self, partition: i32) -> KafkaResult<PartitionRange> {
        let watermarks = self.client.fetch_watermarks(&self.topic, partition, QUESTION_LIMIT);
        watermarks.map(|(start, end)| PartitionRange { partition, start, end })
    }

    /// The partitions of the ranges, each with this number in the place of an offset.
    pub(super) fn list(
        &self,
        ranges: &[PartitionRange],
        number: impl Fn(&PartitionRange) -> i64,
    ) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for range in ranges {
            let offset = Offset::Offset(number(range));
            list.add_partition_offset(&self.topic, range.partition, offset)?;
        }
        Ok(list)
    }

    /// Reads these ranges from now on, in place of those that were open.
    pub(crate) fn open(&self, ranges: &[PartitionRange]) -> KafkaResult<Open> {
        let ranges: Vec<_> = ranges.iter().copied().filter(|r| r.start < r.end).collect();
        self.client.assign(&self.list(&ranges, |range| range.start)?)?;
        Ok(Open::of(&ranges))
    }

    /// Takes the next record. Blocks up to the limit.
    pub(crate) fn poll(&self, open: &mut Open, limit: Duration) -> KafkaResult<Fetched<'_>> {
        match self.client.poll(limit) {
            Some(Ok(message)) => Ok(Fetched::Record(message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.end(partition, self.reached(partition));
                Ok(Fetched::End)
            }
            Some(Err(error)) => Err(error),
            None => Ok(Fetched::Nothing),
        }
    }

    /// The offset up to which a partition has been read and delivered, markers included. Called
    /// when a poll has returned the partition's end.
    fn reached(&self, partition: i32) -> i64 {
        let end = self.client.context().end().take().unwrap_or(0);
        let positions = self.client.position().ok();
        let found = positions.and_then(|positions| {
            positions.find_partition(&self.topic, partition).map(|found| found.offset())
        });
        match found {
            Some(Offset::Offset(position)) => end.max(position),
            _ => end,
        }
    }
}

/// Reports the events of a client, and keeps where a fetch has found the end of a partition.
struct Ends {
    observer: ObserverContext,
    /// The offset of the latest end, which the poll under way is about to return.
    end: Mutex<Option<i64>>,
}

impl Ends {
    fn end(&self) -> MutexGuard<'_, Option<i64>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Ends {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.observer.log(level, facility, line);
    }

    /// Called within the poll that returns the error. The end of a partition is not an error here.
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => *self.end() = offset_in(reason),
            _ => self.observer.error(&error, reason),
        }
    }
}

impl ConsumerContext for Ends {}

/// The offset in librdkafka's message for the end of a partition.
fn offset_in(reason: &str) -> Option<i64> {
    let (_, offset) = reason.split_once("end of partition at offset ")?;
    offset.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_an_end_is_read_from_librdkafkas_message() {
        let words =
            "Fetch from broker 3 reached end of partition at offset 4711 (HighwaterMark 4712)";
        assert_eq!(offset_in(words), Some(4711));
        for other in ["", "Fetch from broker 3 reached end of partition", "at offset 7"] {
            assert_eq!(offset_in(other), None, "{other}");
        }
    }

    #[test]
    fn a_record_beyond_the_range_closes_it_and_is_not_taken() {
        let mut open = Open::of(&[PartitionRange { partition: 1, start: 5, end: 8 }]);
        assert!(!open.take(0, 5), "another partition");
        assert!(!open.take(1, 4), "before the start");
        assert!(open.take(1, 5));
        assert!(!open.take(1, 9), "offsets 6 to 8 are gone");
        assert!(open.is_empty());
    }

    #[test]
    fn the_last_record_of_a_range_closes_it() {
        let mut open = Open::of(&[PartitionRange { partition: 0, start: 0, end: 1 }]);
        assert!(open.take(0, 0));
        assert!(open.is_empty());
    }

    #[test]
    fn the_end_of_a_partition_before_the_end_of_its_range_keeps_the_range_open() {
        let range = PartitionRange { partition: 0, start: 0, end: 4 };
        let mut open = Open::of(&[range]);
        open.end(0, 3);
        assert_eq!(open.first(), Some((range, 3)));
        open.end(0, 4);
        assert!(open.is_empty());
    }
}
