//! The settings of sources and sinks on Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::types::RDKafkaConfRes;

use super::observer::{Observer, ObserverContext};

/// Properties on which the promises rest. Their value is fixed, or is an argument of a constructor.
const RESERVED: [&str; 8] = [
    "acks",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "transactional.id",
];

/// The prefix of properties that replace the named brokers by mocks inside of this process, which
/// lose everything that they acknowledged when the process ends.
const MOCK: &str = "test.mock.";

/// The values of `auto.offset.reset` that let a partition go on, and whether it then goes on at the
/// end of the log. With librdkafka's `error` the partition would stand still for ever.
const RESETS: [(&str, bool); 6] = [
    ("smallest", false),
    ("earliest", false),
    ("beginning", false),
    ("largest", true),
    ("latest", true),
    ("end", true),
];

/// The levels of librdkafka's log that include its warnings. A warning is the only way in which it
/// reports that an offset was reset.
const LOG_LEVELS: [(&str, RDKafkaLogLevel); 4] = [
    ("4", RDKafkaLogLevel::Warning),
    ("5", RDKafkaLogLevel::Notice),
    ("6", RDKafkaLogLevel::Info),
    ("7", RDKafkaLogLevel::Debug),
];

/// How long a close may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// How long records of a transaction wait for others where jobs wait for commits.
const COMMITS_SOON_LINGER_MS: &str = "0";

/// The addresses of Kafka's brokers, and the properties of its clients. Its `Debug` shows no value
/// of a property.
///
/// A record may be 2 MiB. Queues are small: 2 MiB of fetched records
/// (`queued.max.messages.kbytes`), fetched 1 MiB at a time (`fetch.max.bytes`), and 16 MiB of
/// records to be produced (`queue.buffering.max.kbytes`).
#[derive(Clone)]
pub struct KafkaConfig {
    properties: BTreeMap<String, String>,
    instance_id: Option<String>,
    observer: Arc<dyn Observer>,
    close_limit: Duration,
    keeps_places: bool,
    commits_soon: bool,
}

impl KafkaConfig {
    /// Brokers as `host:port`, separated by commas.
    pub fn new(brokers: impl Into<String>) -> Self {
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), brokers.into())]);
        let (observer, close_limit) = (Arc::new(()), CLOSE_LIMIT);
        Self {
            properties,
            instance_id: None,
            observer,
            close_limit,
            keeps_places: false,
            commits_soon: false,
        }
    }

    /// Makes sinks return the partition and offset of each output of a batch
    /// ([`Published::places`](crate::sinks::Published::places)). By default they do not keep them.
    #[must_use]
    pub const fn keep_places(mut self) -> Self {
        self.keeps_places = true;
        self
    }

    pub(crate) const fn keeps_places(&self) -> bool {
        self.keeps_places
    }

    /// For topologies with state, whose jobs wait for commits: sends the records of a transaction at
    /// once (without it they wait 5 ms to be sent together, `linger.ms`), and lets two producers of an
    /// [exactly-once pair](super::exactly_once) take turns, so that a transaction does not wait until
    /// the coordinator has finished the one before. Others pay for it with CPU time.
    ///
    /// The second producer's `transactional.id` is the pair's with `-second` behind it.
    #[must_use]
    pub const fn commit_soon(mut self) -> Self {
        self.commits_soon = true;
        self
    }

    pub(super) const fn commits_soon(&self) -> bool {
        self.commits_soon
    }

    /// Sets a property of librdkafka (its `CONFIGURATION.md`), for consumers, producers or both.
    ///
    /// # Errors
    /// If the promises rest on the property (`acks`, `enable.auto.commit`,
    /// `enable.auto.offset.store`, `enable.idempotence`, `group.id`, `group.instance.id`,
    /// `isolation.level`, `transactional.id`); if `auto.offset.reset` would let a partition stand
    /// still (`error`); if `log_level` would hide librdkafka's warnings (below 4); or if the
    /// property replaces the brokers by a mock (`test.mock.*`). An unknown property is found only
    /// when a client is made.
    pub fn property(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Self, ConfigError> {
        let (name, value) = (name.into(), value.into());
        if RESERVED.contains(&name.as_str()) {
            return Err(ConfigError::Reserved { name });
        }
        if name.starts_with(MOCK) {
            let reason = "found a mock of brokers inside of this process, expected brokers that keep \
                          what they acknowledge";
            return Err(ConfigError::Property { name, reason: reason.to_owned() });
        }
        let expected = match &*name {
            "auto.offset.reset" if reset(&value).is_none() => "earliest, or latest",
            "log_level" if log_level(&value).is_none() => {
                "a whole number from 4 to 7: below, it is not told that an offset was reset"
            }
            _ => {
                self.properties.insert(name, value);
                return Ok(self);
            }
        };
        Err(ConfigError::Property { name, reason: format!("found {value:?}, expected {expected}") })
    }

    /// Whether a partition without a valid position goes on at the end of its log
    /// (`auto.offset.reset=latest`). The records before the end are then never read.
    pub fn starts_at_the_end(&self) -> bool {
        self.properties.get("auto.offset.reset").and_then(|value| reset(value)) == Some(true)
    }

    /// Makes the member static in the classic protocol (`group.instance.id`, KIP-345): a restart
    /// takes its partitions over at once, and a close does not give them up. The id must be unique
    /// among live members. Under KIP-848 (`group.protocol=consumer`) it has no effect, since a
    /// static member that is restarted there before its session has ended is refused for good.
    #[must_use]
    pub fn instance_id(mut self, id: impl Into<String>) -> Self {
        self.instance_id = Some(id.into());
        self
    }

    /// Reports events to this observer, which replaces the one set before.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// How long a close of a source or sink may take; 10 s by default.
    #[must_use]
    pub const fn close_limit(mut self, limit: Duration) -> Self {
        self.close_limit = limit;
        self
    }

    /// The properties of librdkafka's client for a member of `group`, ordered by name.
    pub fn consumer_properties(&self, group: &str) -> BTreeMap<String, String> {
        sorted(&self.consumer(group))
    }

    /// The properties of librdkafka's client for a producer, a transactional one if there is an id;
    /// ordered by name.
    pub fn producer_properties(&self, transactional_id: Option<&str>) -> BTreeMap<String, String> {
        sorted(&self.producer(transactional_id))
    }

    pub(crate) const fn closes_within(&self) -> Duration {
        self.close_limit
    }

    pub(crate) fn observer_context(&self) -> ObserverContext {
        ObserverContext::new(self.observer.clone())
    }

    /// The properties of a member of `group`.
    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut defaults = vec![
            ("auto.offset.reset", "earliest"),
            ("fetch.error.backoff.ms", "100"),
            // The queues are small: a fetch that found no room must not wait for a whole second.
            ("fetch.queue.backoff.ms", "5"),
            ("fetch.max.bytes", "1048576"),
            ("max.poll.interval.ms", "300000"),
            ("queued.max.messages.kbytes", "2048"),
            ("queued.min.messages", "4000"),
            // A topic that is created later is found within seconds.
            ("topic.metadata.refresh.interval.ms", "5000"),
        ];
        defaults.extend(self.member());
        let mut config = self.client(&defaults);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed");
        if let Some(id) = self.instance_id.as_ref().filter(|_| !self.is_consumer_protocol()) {
            config.set("group.instance.id", id);
        }
        config
    }

    /// The properties of an idempotent producer; of a transactional one, if there is an id.
    pub(crate) fn producer(&self, transactional_id: Option<&str>) -> ClientConfig {
        let mut defaults = vec![
            // With 1 ms, the threads of librdkafka take up to a third more CPU time a record.
            ("linger.ms", "5"),
            ("message.max.bytes", "2097152"),
            ("partitioner", "consistent_random"),
            ("queue.buffering.max.kbytes", "16384"),
            // librdkafka reports only after this time that a topic does not exist. Records of a
            // topic that does not exist are sent again in any case.
            ("topic.metadata.propagation.max.ms", "3000"),
            // A producer that sends nothing learns by this whether brokers answer.
            ("topic.metadata.refresh.interval.ms", "5000"),
        ];
        match transactional_id {
            Some(_) => defaults.extend([
                ("transaction.timeout.ms", "10000"),
                // A call that waits for a group's former coordinator looks for the new one only
                // when some connection opens or closes (librdkafka #5511, #5456).
                ("connections.max.idle.ms", "4000"),
            ]),
            None => defaults.push(("message.timeout.ms", "0")),
        }
        if transactional_id.is_some() && self.commits_soon {
            defaults.push(("linger.ms", COMMITS_SOON_LINGER_MS));
        }
        let mut config = self.client(&defaults);
        config.set("enable.idempotence", "true").set("acks", "all");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
        }
        config
    }

    /// The properties of a client that neither consumes nor produces. librdkafka validates the
    /// properties of a group member for every client, so they are set here too.
    pub(crate) fn admin(&self) -> ClientConfig {
        self.client(&self.member())
    }

    /// The defaults of a member of a group.
    fn member(&self) -> Vec<(&'static str, &'static str)> {
        if self.is_consumer_protocol() {
            return Vec::new();
        }
        vec![
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("session.timeout.ms", "10000"),
        ]
    }

    fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        // The first initialization decides whether OpenSSL is torn down at the exit of the process.
        // This one says no, since threads of dropped clients may still use it.
        openssl_sys::init();
        let mut config = ClientConfig::new();
        config.set_log_level(self.log_level());
        config
            .set("client.id", "jobstream")
            .set("log.connection.close", "false")
            .set("reconnect.backoff.max.ms", "2000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        config.extend(self.properties.clone());
        config
    }

    /// The level of librdkafka's log. It is set on the client, in place of the property.
    fn log_level(&self) -> RDKafkaLogLevel {
        let set = self.properties.get("log_level").and_then(|value| log_level(value));
        match set {
            Some(level) => level,
            None if self.properties.contains_key("debug") => RDKafkaLogLevel::Debug,
            None => RDKafkaLogLevel::Info,
        }
    }

    /// Whether the group is of KIP-848.
    fn is_consumer_protocol(&self) -> bool {
        self.properties.get("group.protocol").is_some_and(|name| name == "consumer")
    }
}

/// Whether this value of `auto.offset.reset` means the end; `None` if the value is refused.
fn reset(value: &str) -> Option<bool> {
    RESETS.iter().find(|(name, _)| *name == value).map(|(_, is_end)| *is_end)
}

/// The level that a value of `log_level` means, unless it hides warnings.
fn log_level(value: &str) -> Option<RDKafkaLogLevel> {
    LOG_LEVELS.iter().find(|(number, _)| *number == value).map(|(_, level)| *level)
}

fn sorted(config: &ClientConfig) -> BTreeMap<String, String> {
    config
        .config_map()
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("properties", &self.properties.keys())
            .field("instance_id", &self.instance_id)
            .field("close_limit", &self.close_limit)
            .finish_non_exhaustive()
    }
}

/// Settings with which no client can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The promises rest on this property.
    #[error("the property {name} can't be set: the delivery promises rest on its value")]
    Reserved {
        /// The property.
        name: String,
    },
    /// librdkafka has no such property.
    #[error("the property {name} does not exist")]
    UnknownProperty {
        /// The property.
        name: String,
    },
    /// librdkafka refuses this property.
    #[error("the property {name} is refused: {reason}")]
    Property {
        /// The property.
        name: String,
        /// Why.
        reason: String,
    },
    /// librdkafka refuses the properties together, or can't read what they name.
    #[error("Kafka's properties are refused: {0}")]
    Refused(String),
}

impl From<rdkafka::error::KafkaError> for ConfigError {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        use rdkafka::error::KafkaError;
        match error {
            KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
                Self::UnknownProperty { name }
            }
            KafkaError::ClientConfig(_, reason, name, _) => Self::Property { name, reason },
            KafkaError::ClientCreation(reason) => Self::Refused(reason),
            other => Self::Refused(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_the_promises_rest_on_cannot_be_set() {
        for name in RESERVED {
            let refused = KafkaConfig::new("localhost:9092").property(name, "1").unwrap_err();
            assert!(refused.to_string().contains(name), "{refused}");
        }
    }

    #[test]
    fn no_mock_replaces_the_brokers() {
        for name in ["test.mock.num.brokers", "test.mock.broker.rtt"] {
            let refused = KafkaConfig::new("localhost:9092").property(name, "1").unwrap_err();
            let refused = refused.to_string();
            assert!(
                refused.contains(name) && refused.contains("inside of this process"),
                "{refused}"
            );
        }
    }

    #[test]
    fn a_partition_that_has_lost_its_position_goes_on_somewhere() {
        let reset = |value: &str| KafkaConfig::new("a:1").property("auto.offset.reset", value);
        for value in ["error", "none", "", "Latest"] {
            let refused = reset(value).unwrap_err().to_string();
            let expected = format!("found {value:?}, expected earliest, or latest");
            assert!(refused.contains(&expected), "{refused}");
        }
        for (value, is_end) in RESETS {
            assert_eq!(reset(value).unwrap().starts_at_the_end(), is_end, "{value}");
            use crate::sources::kafka::KafkaSource;
            let taken = KafkaSource::new(&reset(value).unwrap(), "group", ["jobs"]);
            assert!(taken.is_ok(), "{value}: {taken:?}");
        }
        assert!(!KafkaConfig::new("a:1").starts_at_the_end());
    }

    #[test]
    fn no_setting_hides_the_warning_that_an_offset_was_reset() {
        let with = |pairs: &[(&str, &str)]| {
            let config = KafkaConfig::new("a:1");
            pairs.iter().try_fold(config, |config, (name, value)| config.property(*name, *value))
        };
        for value in ["0", "3", "8", "-1", "warning", ""] {
            let refused = with(&[("log_level", value)]).unwrap_err();
            assert!(refused.to_string().contains("log_level is refused"), "{refused}");
        }
        for properties in [
            &[][..],
            &[("log_level", "4")],
            &[("log_level", "6"), ("debug", "all")],
            &[("debug", "consumer")],
            &[("log.queue", "false"), ("log.thread.name", "false")],
        ] {
            let config = with(properties).unwrap();
            for client in [config.consumer("group"), config.producer(None), config.admin()] {
                let level = client.log_level as i32;
                assert!(level >= RDKafkaLogLevel::Warning as i32, "{properties:?}: {level}");
            }
        }
    }

    #[test]
    fn a_property_replaces_a_default_but_no_promise() {
        let config = KafkaConfig::new("a:1").property("linger.ms", "50").unwrap();
        let producer = config.producer(None);
        assert_eq!(producer.get("linger.ms"), Some("50"));
        assert_eq!(producer.get("acks"), Some("all"));
    }

    #[test]
    fn an_unknown_property_and_a_refused_value_are_different_errors() {
        use crate::sinks::kafka::KafkaSink;
        let refused = |name: &str, value: &str| {
            let config = KafkaConfig::new("localhost:9092").property(name, value).unwrap();
            KafkaSink::new(&config).unwrap_err()
        };
        let unknown = ConfigError::UnknownProperty { name: "no.such.thing".to_owned() };
        assert_eq!(refused("no.such.thing", "1"), unknown);
        let value = refused("linger.ms", "soon");
        assert!(
            matches!(&value, ConfigError::Property { name, .. } if name == "linger.ms"),
            "{value:?}"
        );
    }

    #[test]
    fn a_client_for_questions_takes_every_property_that_a_member_may_have() {
        use crate::kafka::Topics;
        use crate::sources::kafka::KafkaSource;
        // Less than librdkafka's own session timeout, and more than ours.
        let config = KafkaConfig::new("a:1").property("max.poll.interval.ms", "25000").unwrap();
        assert!(KafkaSource::new(&config, "group", ["jobs"]).is_ok());
        assert!(Topics::new(&config).is_ok());
    }

    #[test]
    fn a_group_of_kip_848_gets_no_property_that_it_forbids() {
        let config = KafkaConfig::new("a:1").property("group.protocol", "consumer").unwrap();
        let consumer = config.instance_id("one").consumer("group");
        for name in ["session.timeout.ms", "partition.assignment.strategy", "group.instance.id"] {
            assert_eq!(consumer.get(name), None, "{name}");
        }
    }

    #[test]
    fn debug_shows_no_password() {
        let config = KafkaConfig::new("a:1").property("sasl.password", "s3cret").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
