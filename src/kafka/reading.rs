//! How far a partition has been read, by a client that reads to an end.
//!
//! An end is reached when the fetch is there, and not when a fetch finds nothing: a new leader gives
//! records up to its high watermark, which may lie below what the former one had acknowledged for as
//! long as `replica.lag.time.max.ms` (30 s). Nor need the last record be at the end: markers of
//! transactions are no records, and compaction leaves offsets at which there is nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, Offset};

use super::observer::Told;

/// Tells what happens to a client, and keeps where its fetch has found the end of a partition.
pub(crate) struct Reading {
    told: Told,
    /// The offset of the latest end, which the client is about to be given.
    end: Mutex<Option<i64>>,
}

impl Reading {
    pub(crate) const fn new(told: Told) -> Self {
        Self { told, end: Mutex::new(None) }
    }

    pub(crate) const fn told(&self) -> &Told {
        &self.told
    }

    fn end(&self) -> MutexGuard<'_, Option<i64>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reading {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.told.log(level, facility, line);
    }

    /// Called within the poll that gives the error. The end of a partition is none.
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => *self.end() = offset_in(reason),
            _ => self.told.error(&error, reason),
        }
    }
}

impl ConsumerContext for Reading {}

/// The offset in librdkafka's words for the end of a partition.
fn offset_in(reason: &str) -> Option<i64> {
    let (_, offset) = reason.split_once("end of partition at offset ")?;
    offset.split(' ').next()?.parse().ok()
}

/// The offset up to which a partition has been read and delivered, markers included; asked when a
/// poll has given its end.
pub(crate) fn reached(client: &BaseConsumer<Reading>, topic: &str, partition: i32) -> i64 {
    let end = client.context().end().take().unwrap_or(0);
    end.max(position(client, topic, partition))
}

/// The offset after the last one that was delivered, markers included; 0 where there is none.
fn position(client: &BaseConsumer<Reading>, topic: &str, partition: i32) -> i64 {
    let positions = client.position().ok();
    let found = positions.and_then(|positions| {
        positions.find_partition(topic, partition).map(|found| found.offset())
    });
    match found {
        Some(Offset::Offset(offset)) => offset,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_its_offset_in_librdkafkas_words() {
        let words =
            "Fetch from broker 3 reached end of partition at offset 4711 (HighwaterMark 4712)";
        assert_eq!(offset_in(words), Some(4711));
        for other in ["", "Fetch from broker 3 reached end of partition", "at offset 7"] {
            assert_eq!(offset_in(other), None, "{other}");
        }
    }
}
