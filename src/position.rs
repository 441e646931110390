//! The position of a partition: what a commit says of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::record::{Generation, TopicPartition};

/// How far a partition has been worked off: every record below the frontier is finished, and so is
/// each record of a set above it.
///
/// The frontier is what Kafka commits as the offset; the set travels in the commit's metadata, as
/// the base64 of a bitmap whose bit `i` (least significant first) is the offset `frontier + i`.
/// Whoever takes the partition over starts at the frontier and passes over the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    frontier: i64,
    finished: Vec<u8>,
}

/// A commit's metadata that is no set of finished offsets.
#[derive(Debug, thiserror::Error)]
#[error(
    "the commit's metadata is no set of finished offsets: found {found:?}, expected the base64 of \
     at most {} bytes",
    Position::WINDOW_OFFSETS / 8
)]
pub struct MetadataError {
    found: String,
}

impl Position {
    /// How far above the frontier a finished offset can be, in offsets. 16,384 bits are 2,732
    /// characters of base64; Kafka takes 4,095 (`offset.metadata.max.bytes` is 4,096).
    pub const WINDOW_OFFSETS: i64 = 16_384;

    /// The position at which everything below `frontier` is finished, and nothing above it.
    pub const fn at(frontier: i64) -> Self {
        Self { frontier, finished: Vec::new() }
    }

    /// Reads a commit: its offset and its metadata. Empty metadata is an empty set, as other
    /// clients commit it.
    ///
    /// # Errors
    /// If the metadata is anything else; the frontier alone is then still true.
    pub fn from_commit(offset: i64, metadata: &str) -> Result<Self, MetadataError> {
        match BASE64.decode(metadata) {
            Ok(finished) if finished.len() as i64 <= Self::WINDOW_OFFSETS / 8 => {
                Ok(Self { frontier: offset, finished })
            }
            _ => Err(MetadataError { found: metadata.chars().take(64).collect() }),
        }
    }

    /// The set above the frontier as a commit's metadata; empty if the set is.
    pub fn metadata(&self) -> String {
        BASE64.encode(&self.finished)
    }

    /// The lowest offset that may be unfinished.
    pub const fn frontier(&self) -> i64 {
        self.frontier
    }

    /// Adds an offset to the set of finished ones.
    ///
    /// # Panics
    /// If the offset is not within the window above the frontier.
    pub fn finish(&mut self, offset: i64) {
        let bit = offset - self.frontier;
        assert!((0..Self::WINDOW_OFFSETS).contains(&bit), "offset {offset} is out of the window");
        let byte = (bit / 8) as usize;
        if self.finished.len() <= byte {
            self.finished.resize(byte + 1, 0);
        }
        self.finished[byte] |= 1 << (bit % 8);
    }

    /// Whether the record at this offset is finished.
    pub fn is_finished(&self, offset: i64) -> bool {
        let bit = offset - self.frontier;
        bit < 0
            || self.finished.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// The finished offsets at or above the frontier, ascending.
    pub fn finished_above(&self) -> impl Iterator<Item = i64> + '_ {
        let bits = self.finished.len() as i64 * 8;
        (self.frontier..self.frontier + bits).filter(|&offset| self.is_finished(offset))
    }
}

/// A position, with the partition and the assignment it belongs to: what is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionPosition {
    /// The partition.
    pub partition: TopicPartition,
    /// The assignment under which its records were read.
    pub generation: Generation,
    /// Its position.
    pub position: Position,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_window_fits_into_a_commits_metadata() {
        let mut position = Position::at(7);
        (7..7 + Position::WINDOW_OFFSETS).for_each(|offset| position.finish(offset));
        assert_eq!(position.metadata().len(), 2_732);
        let read = Position::from_commit(7, &position.metadata()).unwrap();
        assert_eq!(read, position);
        assert_eq!(read.finished_above().count() as i64, Position::WINDOW_OFFSETS);
    }

    #[test]
    fn another_clients_empty_metadata_is_an_empty_set() {
        let position = Position::from_commit(3, "").unwrap();
        assert!(position.is_finished(2) && !position.is_finished(3));
        assert_eq!(Position::at(3).metadata(), "");
    }

    #[test]
    fn foreign_metadata_is_named_in_the_error() {
        let error = Position::from_commit(3, "consumer-7@host").unwrap_err().to_string();
        assert!(error.contains("consumer-7@host") && error.contains("2048 bytes"), "{error}");
    }
}
