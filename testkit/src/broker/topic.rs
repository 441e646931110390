//! Topics: how many partitions, how large a record, how long records are kept.

use jobstream::record::{ProducerRecord, Topic, TopicId};

use super::log::Log;

/// `max.message.bytes` of a topic where nothing else is said: 1 MiB and Kafka's 12 bytes of log
/// overhead.
pub const DEFAULT_MAX_MESSAGE_BYTES: usize = 1_048_588;

/// How a topic is made.
#[derive(Clone, Debug)]
pub struct TopicOptions {
    partitions: i32,
    max_message_bytes: usize,
    retention: Retention,
    is_compacted: bool,
}

/// Which records a topic keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retention {
    /// All of them, until [`truncate`](super::Broker::truncate).
    #[default]
    Everything,
    /// Those at or above the lowest offset that a group has committed, of all the groups that have
    /// ever subscribed to the topic.
    Unconsumed,
    /// The last so many offsets of each partition. With 0, records are acknowledged and gone.
    Latest(usize),
}

impl TopicOptions {
    /// A topic with so many partitions, [`DEFAULT_MAX_MESSAGE_BYTES`] and
    /// [`Retention::Everything`].
    ///
    /// # Panics
    /// If it is not at least one.
    pub fn partitions(partitions: i32) -> Self {
        assert!(partitions > 0, "a topic has at least one partition, not {partitions}");
        Self {
            partitions,
            max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES,
            retention: Retention::default(),
            is_compacted: false,
        }
    }

    /// Refuses record batches that are larger, as Kafka's `max.message.bytes`. A record counts as
    /// an uncompressed batch of its own.
    #[must_use]
    pub const fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// Keeps these records.
    #[must_use]
    pub const fn retention(mut self, retention: Retention) -> Self {
        self.retention = retention;
        self
    }

    /// Keeps the last record of each key, as Kafka's `cleanup.policy=compact`: a record without a key
    /// is refused. A listener compacts the topic now and then; without one,
    /// [`compact`](super::Broker::compact) does.
    #[must_use]
    pub const fn compacted(mut self) -> Self {
        self.is_compacted = true;
        self
    }
}

impl From<i32> for TopicOptions {
    fn from(partitions: i32) -> Self {
        Self::partitions(partitions)
    }
}

#[derive(Debug)]
pub(crate) struct TopicState {
    pub(crate) name: Topic,
    pub(crate) id: TopicId,
    pub(crate) max_message_bytes: usize,
    pub(crate) retention: Retention,
    /// Whether every record has to have a key.
    pub(crate) is_compacted: bool,
    /// Whether records get the broker's time instead of the producer's; clients on the wire can ask
    /// for that.
    pub(crate) stamps: bool,
    #[cfg(feature = "wire")]
    pub(crate) config: super::topic_config::TopicConfig,
    pub(crate) logs: Vec<Log>,
}

impl TopicState {
    pub(crate) fn new(name: Topic, id: TopicId, options: &TopicOptions) -> Self {
        Self {
            name,
            id,
            max_message_bytes: options.max_message_bytes,
            retention: options.retention,
            is_compacted: options.is_compacted,
            stamps: false,
            #[cfg(feature = "wire")]
            config: super::topic_config::TopicConfig::in_memory(
                options.max_message_bytes,
                options.is_compacted,
            ),
            logs: (0..options.partitions).map(|_| Log::default()).collect(),
        }
    }

    #[cfg(feature = "wire")]
    pub(super) fn configure(&mut self, config: super::topic_config::TopicConfig) {
        self.max_message_bytes = config.max_message_bytes();
        self.stamps = config.stamps();
        self.is_compacted = config.compacts();
        self.config = config;
    }

    pub(crate) const fn partitions(&self) -> i32 {
        self.logs.len() as i32
    }

    /// Gives it empty partitions, up to so many.
    pub(crate) fn grow(&mut self, partitions: i32) {
        let partitions = usize::try_from(partitions).unwrap_or_default();
        self.logs.resize_with(partitions.max(self.logs.len()), Log::default);
    }
}

/// Bytes of an uncompressed batch of magic 2 that holds this record alone: 61 bytes of batch
/// header, then the record with its lengths as varints.
pub(crate) fn batch_bytes(record: &ProducerRecord) -> usize {
    const BATCH_HEADER_BYTES: usize = 61;
    const ATTRIBUTES_AND_DELTAS_BYTES: usize = 3;
    let field = |bytes: Option<usize>| bytes.map_or(1, |bytes| varint_bytes(bytes) + bytes);
    let headers: usize = record
        .headers
        .iter()
        .map(|header| {
            field(Some(header.name.len())) + field(header.value.as_ref().map(bytes::Bytes::len))
        })
        .sum();
    let body = ATTRIBUTES_AND_DELTAS_BYTES
        + field(record.key.as_ref().map(bytes::Bytes::len))
        + field(record.value.as_ref().map(bytes::Bytes::len))
        + varint_bytes(record.headers.len())
        + headers;
    BATCH_HEADER_BYTES + varint_bytes(body) + body
}

/// Bytes of a length as a zigzag varint: seven bits a byte, one of them the sign.
const fn varint_bytes(length: usize) -> usize {
    let bits = usize::BITS - length.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}
