//! The configuration of a topic: Kafka's names, defaults and limits, and what the broker does by
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::{ConfigEntry, Kind, Said, entry, words};
use super::topic::DEFAULT_MAX_MESSAGE_BYTES;

const FOREVER: &str = "9223372036854775807";
const ANY: Kind = Kind::List(&[]);

/// Every entry of a topic's configuration, by name.
pub(crate) const ENTRIES: &[ConfigEntry] = &[
    entry("cleanup.policy", Kind::List(&["compact", "delete"]), "delete", "log.cleanup.policy"),
    entry("compression.gzip.level", Kind::Int(-1, 9), "-1", "compression.gzip.level"),
    entry("compression.lz4.level", Kind::Int(1, 17), "9", "compression.lz4.level"),
    entry(
        "compression.type",
        Kind::Text(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "producer",
        "compression.type",
    ),
    entry("compression.zstd.level", Kind::Int(-131_072, 22), "3", "compression.zstd.level"),
    entry("delete.retention.ms", Kind::Long(0), "86400000", "log.cleaner.delete.retention.ms"),
    entry("file.delete.delay.ms", Kind::Long(0), "60000", "log.segment.delete.delay.ms"),
    entry("flush.messages", Kind::Long(1), FOREVER, "log.flush.interval.messages"),
    entry("flush.ms", Kind::Long(0), FOREVER, "log.flush.interval.ms"),
    entry("follower.replication.throttled.replicas", ANY, "", ""),
    entry("index.interval.bytes", Kind::Int(0, i32::MAX), "4096", "log.index.interval.bytes"),
    entry("leader.replication.throttled.replicas", ANY, "", ""),
    entry("local.retention.bytes", Kind::Long(-2), "-2", "log.local.retention.bytes"),
    entry("local.retention.ms", Kind::Long(-2), "-2", "log.local.retention.ms"),
    entry("max.compaction.lag.ms", Kind::Long(1), FOREVER, "log.cleaner.max.compaction.lag.ms"),
    entry("max.message.bytes", Kind::Int(0, i32::MAX), "1048588", "message.max.bytes"),
    entry(
        "message.timestamp.after.max.ms",
        Kind::Long(0),
        "3600000",
        "log.message.timestamp.after.max.ms",
    ),
    entry(
        "message.timestamp.before.max.ms",
        Kind::Long(0),
        FOREVER,
        "log.message.timestamp.before.max.ms",
    ),
    entry(
        "message.timestamp.type",
        Kind::Text(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "log.message.timestamp.type",
    ),
    entry(
        "min.cleanable.dirty.ratio",
        Kind::Double(0.0, 1.0),
        "0.5",
        "log.cleaner.min.cleanable.ratio",
    ),
    entry("min.compaction.lag.ms", Kind::Long(0), "0", "log.cleaner.min.compaction.lag.ms"),
    entry("min.insync.replicas", Kind::Int(1, i32::MAX), "1", "min.insync.replicas"),
    entry("preallocate", Kind::Boolean, "false", "log.preallocate"),
    entry("remote.log.copy.disable", Kind::Boolean, "false", ""),
    entry("remote.log.delete.on.disable", Kind::Boolean, "false", ""),
    entry("remote.storage.enable", Kind::Boolean, "false", ""),
    entry("retention.bytes", Kind::Long(i64::MIN), "-1", "log.retention.bytes"),
    entry("retention.ms", Kind::Long(-1), "-1", "log.retention.ms"),
    entry("segment.bytes", Kind::Int(1_048_576, i32::MAX), "1073741824", "log.segment.bytes"),
    entry("segment.index.bytes", Kind::Int(4, i32::MAX), "10485760", "log.index.size.max.bytes"),
    entry("segment.jitter.ms", Kind::Long(0), "0", "log.roll.jitter.ms"),
    entry("segment.ms", Kind::Long(1), "604800000", "log.roll.ms"),
    entry(
        "unclean.leader.election.enable",
        Kind::Boolean,
        "false",
        "unclean.leader.election.enable",
    ),
];

fn find(name: &str) -> Option<ConfigEntry> {
    ENTRIES.iter().find(|entry| entry.name == name).copied()
}

/// Values that hold for topics of which nothing else is said, by the names of a topic's entries.
pub(crate) type Defaults = Arc<BTreeMap<&'static str, String>>;

/// What is said of a topic, and of its broker.
#[derive(Clone, Debug)]
pub(crate) struct TopicConfig {
    said: Said,
    defaults: Defaults,
}

impl TopicConfig {
    pub(crate) const fn new(defaults: Defaults) -> Self {
        Self { said: Said::nothing("topic", find), defaults }
    }

    /// Of a topic that is created by the traits: nothing goes by its age.
    pub(crate) fn in_memory(max_message_bytes: usize, is_compacted: bool) -> Self {
        let mut config = Self::new(Defaults::default());
        // These are entries, and values that they take.
        let _ = config.said.set("retention.ms", "-1");
        if is_compacted {
            let _ = config.said.set("cleanup.policy", "compact");
        }
        if max_message_bytes != DEFAULT_MAX_MESSAGE_BYTES {
            // Kafka's number has 31 bits.
            let bytes = i32::try_from(max_message_bytes).unwrap_or(i32::MAX);
            let _ = config.said.set("max.message.bytes", &bytes.to_string());
        }
        config
    }

    pub(crate) const fn said(&self) -> &Said {
        &self.said
    }

    pub(crate) const fn said_mut(&mut self) -> &mut Said {
        &mut self.said
    }

    /// What the broker's configuration says of an entry.
    pub(crate) fn of_broker(&self, name: &str) -> Option<&str> {
        self.defaults.get(name).map(String::as_str)
    }

    pub(crate) fn set_defaults(&mut self, defaults: Defaults) {
        self.defaults = defaults;
    }

    fn value(&self, name: &str) -> &str {
        let default = || find(name).map_or("", |entry| entry.default);
        self.said.get(name).or_else(|| self.of_broker(name)).unwrap_or_else(default)
    }

    fn number(&self, name: &str) -> i64 {
        self.value(name).trim().parse().unwrap_or(-1)
    }

    /// A limit, which a negative number says is none.
    fn limit(&self, name: &str) -> Option<u64> {
        u64::try_from(self.number(name)).ok()
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        usize::try_from(self.number("max.message.bytes")).unwrap_or_default()
    }

    /// Whether records get the broker's time instead of the producer's.
    pub(crate) fn stamps(&self) -> bool {
        self.value("message.timestamp.type") == "LogAppendTime"
    }

    fn has_policy(&self, policy: &str) -> bool {
        words(self.value("cleanup.policy")).any(|word| word == policy)
    }

    pub(crate) fn deletes(&self) -> bool {
        self.has_policy("delete")
    }

    pub(crate) fn compacts(&self) -> bool {
        self.has_policy("compact")
    }

    /// How old a record may get; none if it may get as old as it likes.
    pub(crate) fn retention_ms(&self) -> Option<u64> {
        self.limit("retention.ms").filter(|_| self.deletes())
    }

    /// How large a partition may get.
    pub(crate) fn retention_bytes(&self) -> Option<u64> {
        self.limit("retention.bytes").filter(|_| self.deletes())
    }
}
