//! The position of a partition, as a commit stores it.
//!
//! A commit's metadata has a mark of this format and names its offset and topic, because other
//! clients write metadata of their own, some of it valid base64, and tools copy metadata to other
//! offsets and topics. A set that is read for the wrong offset or topic would hide jobs that were
//! not done.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::record::{Generation, TopicId, TopicPartition};

/// The mark of this format: the first field of a commit's metadata.
const FORMAT: &str = "js1";

/// The longest metadata of an empty set: `js1`, 19 digits, 22 characters of a topic id, 8 of the
/// checksum, and four colons.
const HEAD_BYTES: usize = 56;

/// The progress of a partition: every record below the frontier is finished, and so is each record
/// of a set above it.
///
/// Kafka commits the frontier as the offset; the commit's metadata holds the set, with a mark of
/// this format and the offset and topic that it belongs to:
///
/// ```text
/// js1:FRONTIER:TOPICID:CRC32C:SET
/// ```
///
/// - FRONTIER is the committed offset in decimal: a set that a tool has copied to another offset
///   (as `MirrorMaker` 2 does) is not read there;
/// - TOPICID is the topic's id in base64url, or `-` where it is not known: a topic that was deleted
///   and created again has another id;
/// - CRC32C is the checksum of the metadata without this field and its colon, in 8 hexadecimal
///   digits;
/// - SET is the base64 of a bitmap whose bit `i` (least significant first) is the offset
///   `FRONTIER + i`; empty if nothing above the frontier is finished.
///
/// The next owner of the partition starts at the frontier, and skips the records of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    frontier: i64,
    finished: Vec<u8>,
}

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The position.
    pub position: Position,
    /// The topic that it was committed for, if the commit names it.
    pub topic_id: Option<TopicId>,
}

/// A commit's metadata that has another format, or belongs to another offset.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the commit's metadata is no set of finished offsets: found {found:?}, expected \
     js1:{offset}:TOPICID:CRC32C:SET"
)]
pub struct MetadataError {
    found: String,
    offset: i64,
}

impl Position {
    /// The most metadata that a broker accepts by default, in bytes: Kafka's default of
    /// `offset.metadata.max.bytes`.
    pub const METADATA_MAX_BYTES: usize = 4_096;

    /// How far above the frontier a finished offset can be, in offsets: 16,384 bits are 2,732
    /// characters of base64.
    pub const WINDOW_OFFSETS: i64 = 16_384;

    /// The position at which everything below `frontier` is finished, and nothing above it.
    pub const fn at(frontier: i64) -> Self {
        Self { frontier, finished: Vec::new() }
    }

    /// Reads a commit: its offset and its metadata. Empty metadata, or a single NUL, as other
    /// clients commit it, is an empty set.
    ///
    /// # Errors
    /// If the metadata has another format, or belongs to another offset. The offset is still valid
    /// as a frontier.
    pub fn from_commit(offset: i64, metadata: &str) -> Result<Commit, MetadataError> {
        if metadata.is_empty() || metadata == "\0" {
            return Ok(Commit { position: Self::at(offset), topic_id: None });
        }
        read(offset, metadata).ok_or_else(|| {
            let found = metadata.chars().take(64).collect();
            MetadataError { found, offset }
        })
    }

    /// The metadata of a commit of this position for this topic. If it is longer than `max_bytes`
    /// and has no set, it is left empty, since nothing is lost. With a set it may be longer;
    /// [`window_offsets`](Self::window_offsets) limits that.
    pub fn metadata(&self, topic_id: Option<TopicId>, max_bytes: usize) -> String {
        let topic_id = topic_id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let head = format!("{FORMAT}:{}:{topic_id}", self.frontier);
        let set = BASE64.encode(&self.finished);
        let metadata = format!("{head}:{:08x}:{set}", checksum(&head, &set));
        if metadata.len() > max_bytes && set.is_empty() { String::new() } else { metadata }
    }

    /// The window that fits into metadata of this many bytes, in offsets: finished offsets must be
    /// less than this above the frontier.
    pub const fn window_offsets(metadata_bytes: usize) -> i64 {
        let set_bytes = metadata_bytes.saturating_sub(HEAD_BYTES) / 4 * 3;
        let offsets = set_bytes.saturating_mul(8);
        if offsets < Self::WINDOW_OFFSETS as usize { offsets as i64 } else { Self::WINDOW_OFFSETS }
    }

    /// The lowest offset that may be unfinished.
    pub const fn frontier(&self) -> i64 {
        self.frontier
    }

    /// Adds an offset to the set of finished ones. Returns false if the offset is outside of the
    /// window above the frontier, and so was not added.
    pub fn finish(&mut self, offset: i64) -> bool {
        let bit = offset.wrapping_sub(self.frontier);
        if !(0..Self::WINDOW_OFFSETS).contains(&bit) {
            return false;
        }
        let byte = (bit / 8) as usize;
        if self.finished.len() <= byte {
            self.finished.resize(byte + 1, 0);
        }
        self.finished[byte] |= 1 << (bit % 8);
        true
    }

    /// Whether the record at this offset is finished.
    pub fn is_finished(&self, offset: i64) -> bool {
        let bit = offset.saturating_sub(self.frontier);
        bit < 0
            || self.finished.get((bit / 8) as usize).is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }

    /// The finished offsets at or above the frontier, ascending.
    pub fn finished_above(&self) -> impl Iterator<Item = i64> + '_ {
        let bits = self.finished.len() as i64 * 8;
        let above = self.frontier..self.frontier.saturating_add(bits);
        above.filter(|&offset| self.is_finished(offset))
    }
}

impl Commit {
    /// Whether it may have been made for this topic: false only if both ids are known and differ.
    pub fn is_of(&self, topic_id: Option<TopicId>) -> bool {
        self.topic_id.is_none() || topic_id.is_none() || self.topic_id == topic_id
    }
}

/// Reads metadata of this format; `None` if it has another format or offset.
fn read(offset: i64, metadata: &str) -> Option<Commit> {
    let mut fields = metadata.splitn(5, ':');
    let [format, frontier, topic_id, crc, set] = std::array::from_fn(|_| fields.next());
    let (frontier, topic_id, crc, set) = (frontier?, topic_id?, crc?, set?);
    let head = metadata.get(..metadata.len() - set.len() - crc.len() - 2)?;
    let is_ours = format == Some(FORMAT)
        && frontier == offset.to_string()
        && crc == format!("{:08x}", checksum(head, set));
    if !is_ours {
        return None;
    }
    let topic_id = match topic_id {
        "-" => None,
        id => Some(TopicId::from_base64url(id)?),
    };
    let finished = BASE64.decode(set).ok()?;
    let fits = finished.len() as i64 <= Position::WINDOW_OFFSETS / 8;
    fits.then_some(Commit { position: Position { frontier: offset, finished }, topic_id })
}

/// The checksum of metadata over the parts before and after it.
fn checksum(head: &str, set: &str) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(head.as_bytes()), format!(":{set}").as_bytes())
}

/// A position to commit, with its partition and assignment.
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
    use proptest::prelude::*;

    use super::*;

    const TOPIC: Option<TopicId> = Some(TopicId::new(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));

    const MAX: usize = Position::METADATA_MAX_BYTES;

    #[test]
    fn a_full_window_fits_into_a_commits_metadata() {
        let frontier = i64::MAX - 2 * Position::WINDOW_OFFSETS;
        let mut position = Position::at(frontier);
        assert!((0..Position::WINDOW_OFFSETS).all(|above| position.finish(frontier + above)));
        let metadata = position.metadata(TOPIC, MAX);
        assert_eq!(metadata.len(), HEAD_BYTES + 2_732);
        let read = Position::from_commit(frontier, &metadata).unwrap();
        assert_eq!(read, Commit { position: position.clone(), topic_id: TOPIC });
        assert_eq!(position.finished_above().count() as i64, Position::WINDOW_OFFSETS);
    }

    #[test]
    fn metadata_is_what_other_versions_can_read() {
        let mut position = Position::at(3);
        position.finish(5);
        let expected = "js1:3:ASNFZ4mrze8BI0VniavN7w:f1c7db24:BA==";
        assert_eq!(position.metadata(TOPIC, MAX), expected);
        assert!(Position::at(3).metadata(None, MAX).starts_with("js1:3:-:"));
    }

    #[test]
    fn another_clients_empty_metadata_is_an_empty_set() {
        for empty in ["", "\0"] {
            let commit = Position::from_commit(3, empty).unwrap();
            assert_eq!(commit, Commit { position: Position::at(3), topic_id: None });
        }
    }

    #[test]
    fn foreign_metadata_is_named_in_the_error() {
        let error = Position::from_commit(3, "consumer-7@host").unwrap_err().to_string();
        assert!(error.contains("consumer-7@host") && error.contains("js1:3:"), "{error}");
    }

    #[test]
    fn metadata_of_other_clients_is_never_a_set() {
        let hex = "0123456789abcdef0123456789abcdef";
        for foreign in ["null", "test", "none", "metadata", "AgAAAaDEUGwA", "IA==", hex, "js1", ":"]
        {
            assert!(Position::from_commit(0, foreign).is_err(), "{foreign}");
        }
    }

    #[test]
    fn metadata_without_a_set_is_left_out_where_it_does_not_fit() {
        assert_eq!(Position::at(3).metadata(TOPIC, 20), "");
        let mut position = Position::at(3);
        position.finish(5);
        assert!(position.metadata(TOPIC, 20).len() > 20, "the set would be lost");
    }

    #[test]
    fn a_commit_of_another_topic_is_recognized_by_its_id() {
        let of_topic = |id| Position::from_commit(3, &Position::at(3).metadata(id, MAX)).unwrap();
        assert!(of_topic(TOPIC).is_of(TOPIC) && !of_topic(TOPIC).is_of(Some(TopicId::new(1))));
        assert!(of_topic(TOPIC).is_of(None) && of_topic(None).is_of(TOPIC), "not known");
    }

    #[test]
    fn a_window_that_fits_is_a_set_that_fits() {
        for (bytes, offsets) in [(0, 0), (59, 0), (60, 24), (64, 48), (4_095, 16_384)] {
            assert_eq!(Position::window_offsets(bytes), offsets, "{bytes} bytes");
        }
    }

    proptest! {
        #[test]
        fn a_position_is_read_as_it_was_written_and_at_no_other_offset(
            frontier in 0..i64::MAX - 20_000,
            above in prop::collection::vec(1_i64..Position::WINDOW_OFFSETS, 0..40),
            id in prop::option::of(any::<u128>().prop_map(TopicId::new)),
            elsewhere in any::<i64>(),
        ) {
            let mut position = Position::at(frontier);
            above.iter().for_each(|offset| _ = position.finish(frontier + offset));
            let metadata = position.metadata(id, MAX);
            let commit = Commit { position, topic_id: id };
            prop_assert_eq!(Position::from_commit(frontier, &metadata), Ok(commit));
            prop_assume!(elsewhere != frontier);
            prop_assert!(Position::from_commit(elsewhere, &metadata).is_err());
        }

        #[test]
        fn metadata_that_was_changed_anywhere_is_not_ours(
            place in any::<prop::sample::Index>(),
            other in any::<char>(),
        ) {
            let mut position = Position::at(77);
            position.finish(80);
            let mut changed: Vec<char> = position.metadata(TOPIC, MAX).chars().collect();
            let place = place.index(changed.len());
            prop_assume!(changed[place] != other);
            changed[place] = other;
            let changed: String = changed.into_iter().collect();
            prop_assert!(Position::from_commit(77, &changed).is_err(), "{}", changed);
        }

        #[test]
        fn no_text_of_another_program_is_a_set(text in ".{1,40}|[A-Za-z0-9+/]{4,40}={0,2}") {
            prop_assume!(text != "\0");
            prop_assert!(Position::from_commit(0, &text).is_err());
        }

        #[test]
        fn whatever_fits_into_the_window_fits_into_the_metadata(
            bytes in HEAD_BYTES..4_096_usize,
            frontier in 0..i64::MAX - 20_000,
        ) {
            let mut position = Position::at(frontier);
            for above in 0..Position::window_offsets(bytes) {
                position.finish(frontier + above);
            }
            prop_assert!(position.metadata(TOPIC, MAX).len() <= bytes);
        }
    }
}
