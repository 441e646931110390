//! The configuration of a topic: Kafka's names, defaults and limits, and what the broker does by
//! them.

use std::collections::BTreeMap;

use super::topic::DEFAULT_MAX_MESSAGE_BYTES;

/// What values an entry takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Text(&'static [&'static str]),
    /// At least and at most.
    Int(i32, i32),
    Long(i64),
    Double(f64, f64),
    List(&'static [&'static str]),
}

impl Kind {
    /// As DescribeConfigs numbers it.
    pub(crate) const fn number(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text(_) => 2,
            Self::Int(..) => 3,
            Self::Long(_) => 5,
            Self::Double(..) => 6,
            Self::List(_) => 7,
        }
    }

    /// Says what is wrong with a value.
    fn check(self, name: &str, value: &str) -> Result<(), String> {
        let invalid =
            |why: &str| Err(format!("Invalid value {value} for configuration {name}: {why}"));
        let number = |kind: &str| format!("Not a number of type {kind}");
        match self {
            Self::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => invalid("Expected value to be either true or false"),
            },
            Self::Text(known) if known.is_empty() || known.contains(&value) => Ok(()),
            Self::Text(known) => invalid(&format!("String must be one of: {}", known.join(", "))),
            Self::Int(least, most) => match value.trim().parse::<i32>() {
                Err(_) => invalid(&number("INT")),
                Ok(found) if found < least => invalid(&format!("Value must be at least {least}")),
                Ok(found) if found > most => invalid(&format!("Value must be no more than {most}")),
                Ok(_) => Ok(()),
            },
            Self::Long(least) => match value.trim().parse::<i64>() {
                Err(_) => invalid(&number("LONG")),
                Ok(found) if found < least => invalid(&format!("Value must be at least {least}")),
                Ok(_) => Ok(()),
            },
            Self::Double(least, most) => match value.trim().parse::<f64>() {
                Err(_) => invalid(&number("DOUBLE")),
                Ok(found) if found < least => invalid(&format!("Value must be at least {least}")),
                Ok(found) if found > most => invalid(&format!("Value must be no more than {most}")),
                Ok(_) => Ok(()),
            },
            Self::List(known) => {
                let mut words = words(value);
                match words.find(|word| !known.is_empty() && !known.contains(word)) {
                    Some(_) => {
                        let known = known.join(", ");
                        invalid(&format!("String must be one of: {known}"))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What Kafka knows of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// The name of the same in a broker's configuration.
    pub(crate) of_broker: &'static str,
}

const fn entry(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    of_broker: &'static str,
) -> Entry {
    Entry { name, kind, default, of_broker }
}

const FOREVER: &str = "9223372036854775807";
const ANY: Kind = Kind::List(&[]);

/// Every entry of a topic's configuration, by name.
pub(crate) const ENTRIES: &[Entry] = &[
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

/// What is said of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TopicConfig(BTreeMap<&'static str, String>);

impl TopicConfig {
    /// Of a topic that is created by the traits: nothing goes by its age.
    pub(crate) fn in_memory(max_message_bytes: usize) -> Self {
        let mut config = Self::default();
        config.0.insert("retention.ms", "-1".to_owned());
        if max_message_bytes != DEFAULT_MAX_MESSAGE_BYTES {
            config.0.insert("max.message.bytes", max_message_bytes.to_string());
        }
        config
    }

    /// The entry of this name.
    ///
    /// # Errors
    /// Says that there is none.
    pub(crate) fn entry(name: &str) -> Result<&'static Entry, String> {
        let entry = ENTRIES.iter().find(|entry| entry.name == name);
        entry.ok_or_else(|| format!("Unknown topic config name: {name}"))
    }

    /// What was said of it; nothing if the default holds.
    pub(crate) fn said(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn value(&self, name: &str) -> &str {
        let default = || ENTRIES.iter().find(|entry| entry.name == name).map(|entry| entry.default);
        self.said(name).or_else(default).unwrap_or_default()
    }

    /// Sets an entry.
    ///
    /// # Errors
    /// Says what is wrong with the name or the value; nothing has changed then.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let entry = Self::entry(name)?;
        entry.kind.check(name, value)?;
        self.0.insert(entry.name, value.to_owned());
        Ok(())
    }

    /// Lets the default hold again. As in Kafka it is no error if there is no such entry.
    pub(crate) fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Adds words to a list, or takes them out.
    ///
    /// # Errors
    /// If there is no such entry, it is no list, or a word is none of those that it takes.
    pub(crate) fn change_list(
        &mut self,
        name: &str,
        value: &str,
        adds: bool,
    ) -> Result<(), String> {
        let operation = if adds { "APPEND" } else { "SUBTRACT" };
        if !matches!(Self::entry(name)?.kind, Kind::List(_)) {
            return Err(format!("Can't {operation} to key {name} because its type is not LIST."));
        }
        let mut list: Vec<_> = words(self.value(name)).map(str::to_owned).collect();
        for word in words(value) {
            match list.iter().position(|known| known == word) {
                Some(place) if !adds => drop(list.remove(place)),
                None if adds => list.push(word.to_owned()),
                _ => {}
            }
        }
        self.set(name, &list.join(","))
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
