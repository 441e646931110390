//! The configuration of brokers: every entry that Kafka describes, and what is said of some of them at
//! run time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use crate::broker::config::{ConfigEntry, Kind, Said};
use crate::broker::state::State;
use crate::broker::topic_config::{Defaults, ENTRIES};

/// Name, type, limits, default and update mode of each entry that is no default of topics, as
/// `KafkaConfig` of Apache Kafka 4.1 has them.
const TABLE: &str = include_str!("broker_config.tsv");

/// Where an entry can be altered at run time, in the words of Kafka's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpdateMode {
    ReadOnly,
    PerListener,
    PerBroker,
    ClusterWide,
}

/// Every entry, by name. Those that are the defaults of topics have their limits from there.
pub(super) static BROKER_ENTRIES: LazyLock<BTreeMap<&str, (ConfigEntry, UpdateMode)>> =
    LazyLock::new(|| {
        let of_topics = ENTRIES.iter().filter(|entry| !entry.of_broker.is_empty());
        let of_topics = of_topics.map(|entry| {
            let of_broker = ConfigEntry { name: entry.of_broker, ..*entry };
            (entry.of_broker, (of_broker, UpdateMode::ClusterWide))
        });
        TABLE.lines().filter_map(of_line).chain(of_topics).collect()
    });

fn of_line(line: &'static str) -> Option<(&'static str, (ConfigEntry, UpdateMode))> {
    let mut columns = line.split('\t');
    let mut column = || columns.next();
    let (name, kind, limits, default) = (column()?, column()?, column()?, column()?);
    let mode = match column()? {
        "cluster-wide" => UpdateMode::ClusterWide,
        "per-broker" => UpdateMode::PerBroker,
        "per-listener" => UpdateMode::PerListener,
        _ => UpdateMode::ReadOnly,
    };
    let (least, most) = limits.split_once("..").unwrap_or_default();
    let kind = match kind {
        "BOOLEAN" => Kind::Boolean,
        "INT" => Kind::Int(least.parse().unwrap_or(i32::MIN), most.parse().unwrap_or(i32::MAX)),
        "LONG" => Kind::Long(least.parse().unwrap_or(i64::MIN)),
        "DOUBLE" => Kind::Double(f64::MIN, f64::MAX),
        "LIST" => Kind::List(&[]),
        "SHORT" => Kind::Short,
        "CLASS" => Kind::Class,
        "PASSWORD" => Kind::Password,
        _ if limits.is_empty() => Kind::Text(&[]),
        _ => Kind::Text(limits.split('|').collect::<Vec<_>>().leak()),
    };
    Some((name, (ConfigEntry { name, kind, default, of_broker: "" }, mode)))
}

/// What is said of a broker, or of all of them.
#[derive(Clone, Debug)]
pub(super) struct BrokerConfig {
    pub(super) said: Said,
    /// The names that Kafka does not know. It takes any, for plugins, and shows no value.
    pub(super) custom: BTreeSet<String>,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        let find = |name: &str| BROKER_ENTRIES.get(name).map(|(entry, _)| *entry);
        Self { said: Said::nothing("broker", find), custom: BTreeSet::new() }
    }
}

impl UpdateMode {
    /// Says which of these names have this mode, and so can't be altered where they are.
    pub(super) fn refuse(self, names: &BTreeSet<&str>) -> Result<(), String> {
        let why = match self {
            Self::ReadOnly => "Cannot update these configs dynamically",
            Self::PerListener => {
                "These security configs can be dynamically updated only per-listener using the \
                 listener prefix"
            }
            Self::PerBroker => {
                "Cannot update these configs at default cluster level, broker id must be specified"
            }
            Self::ClusterWide => return Ok(()),
        };
        let has_it = |name: &&str| BROKER_ENTRIES.get(name).is_some_and(|(_, mode)| *mode == self);
        let wrong: Vec<_> = names.iter().copied().filter(has_it).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{why}: Set({})", wrong.join(", "))) }
    }
}

/// Numbers of threads that change by a factor of two at most.
const THREADS: &[&str] = &[
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

impl BrokerConfig {
    fn threads(&self, name: &str) -> Option<i32> {
        let default = || BROKER_ENTRIES.get(name).map(|(entry, _)| entry.default);
        self.said.get(name).or_else(default)?.trim().parse().ok()
    }

    /// Says that a number of threads grows or shrinks too much.
    pub(super) fn check_threads(&self, before: &Self) -> Result<(), String> {
        for name in THREADS {
            let (Some(now), Some(asked)) = (before.threads(name), self.threads(name)) else {
                continue;
            };
            let wrong = if asked < now / 2 {
                format!("value should be at least half the current value {now}")
            } else if asked > now.saturating_mul(2) {
                format!("value should not be greater than double the current value {now}")
            } else {
                continue;
            };
            return Err(format!(
                "Dynamic thread count update validation failed for {name}={asked}, {wrong}"
            ));
        }
        Ok(())
    }
}

/// By the name of a broker; those without a name hold for all.
#[derive(Clone, Debug, Default)]
pub(super) struct BrokerConfigs(BTreeMap<String, BrokerConfig>);

impl BrokerConfigs {
    pub(super) fn of(&self, broker: &str) -> BrokerConfig {
        self.0.get(broker).cloned().unwrap_or_default()
    }

    pub(super) fn set(&mut self, broker: &str, config: BrokerConfig) {
        self.0.insert(broker.to_owned(), config);
    }

    /// What all of them say of an entry: topics have one place, whichever node leads them.
    pub(super) fn said(&self, name: &str) -> Option<&str> {
        self.0.values().rev().find_map(|config| config.said.get(name))
    }

    /// What topics take from them.
    pub(super) fn topic_defaults(&self) -> Defaults {
        let said = ENTRIES.iter().filter_map(|entry| {
            let value = Some(entry.of_broker).filter(|name| !name.is_empty());
            Some((entry.name, self.said(value?)?.to_owned()))
        });
        Arc::new(said.collect())
    }
}

impl State {
    /// Lets every broker say how large a partition may get.
    pub(super) fn set_retention_bytes(&mut self, bytes: u64) {
        let mut config = self.wire.broker_configs.of("");
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // It is an entry, and takes every number.
        let _ = config.said.set("log.retention.bytes", &bytes.to_string());
        self.wire.broker_configs.set("", config);
        let defaults = self.wire.broker_configs.topic_defaults();
        self.set_topic_defaults(&defaults);
    }
}
