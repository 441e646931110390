//! Where Kafka is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jobstream::kafka::{ConfigError, KafkaConfig};

use super::SettingsError;
use super::Variables;
use super::address::{Address, is_ipv6};
use super::names::{self, KAFKA_PREFIX};

/// Names with the prefix that set no property.
const OURS: [&str; 1] = ["KAFKA_BROKERS"];

/// Properties that something else sets, and what does: librdkafka's other names for properties that
/// the promises rest on, too.
const SET_OTHERWISE: [(&str, &str); 5] = [
    ("auto.commit.enable", "nothing: the delivery promises rest on its value"),
    ("bootstrap.servers", "KAFKA_BROKERS instead"),
    ("group.instance.id", "INSTANCE_ID instead"),
    ("metadata.broker.list", "KAFKA_BROKERS instead"),
    ("request.required.acks", "nothing: the delivery promises rest on its value"),
];

/// Where Kafka is, and how to speak with it. Its `Debug` shows no value of a property.
#[derive(Clone)]
pub struct KafkaSettings {
    brokers: String,
    /// By their names at librdkafka; not all of them need exist.
    properties: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Reads them; `group` says what is to be set instead of `group.id`.
    ///
    /// # Errors
    /// If one is wrong or missing, or a file can't be read.
    pub fn read(variables: &Variables<'_>, group: &'static str) -> Result<Self, SettingsError> {
        let brokers = brokers(variables)?;
        let mut properties = BTreeMap::new();
        for name in property_names(variables) {
            let Some(property) = names::property(&name) else { continue };
            let value = match names::is_secret_property(&property) {
                true => variables.secret(&name)?,
                false => variables.text(&name),
            };
            let Some(value) = value else { continue };
            check(&name, &property, &value, group)?;
            properties.insert(property, value);
        }
        Ok(Self { brokers, properties })
    }

    /// The names of the properties that are set, at librdkafka.
    pub fn properties(&self) -> impl Iterator<Item = &str> {
        self.properties.keys().map(String::as_str)
    }

    /// The value of a property, if it is set.
    pub(crate) fn value(&self, property: &str) -> Option<&str> {
        self.properties.get(property).map(String::as_str)
    }

    /// Brokers and properties, without some of these.
    pub fn without(&self, left_out: &BTreeSet<String>) -> KafkaConfig {
        let config = KafkaConfig::new(&self.brokers);
        let kept = self.properties.iter().filter(|(name, _)| !left_out.contains(*name));
        kept.fold(config, |config, (name, value)| match config.property(name, value) {
            Ok(config) => config,
            Err(reserved) => unreachable!("checked when it was read: {reserved}"),
        })
    }

    /// The variable that sets a property.
    pub fn name(property: &str) -> String {
        names::of_property(property)
    }

    /// The variable that a refusal of librdkafka is about, as far as its words say that.
    pub fn variable(&self, error: &ConfigError) -> String {
        let text = match error {
            ConfigError::Reserved { name }
            | ConfigError::UnknownProperty { name }
            | ConfigError::Property { name, .. } => {
                return names::of_property(name);
            }
            ConfigError::Refused(reason) => reason,
        };
        let named = self.properties().filter(|name| text.contains(name));
        let longest = named.max_by_key(|name| name.len());
        longest.map_or_else(|| "KAFKA_*".to_owned(), names::of_property)
    }
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// The names that set a property, those that are given as a file without that ending.
fn property_names(variables: &Variables<'_>) -> Vec<String> {
    let names = variables.names(KAFKA_PREFIX).filter(|name| !OURS.contains(name));
    let bare = |name: &str| match name.strip_suffix("_FILE") {
        Some(bare) if names::is_secret(bare) => bare.to_owned(),
        _ => name.to_owned(),
    };
    let mut names: Vec<_> = names.map(bare).collect();
    names.dedup();
    names
}

/// The brokers, separated by commas. librdkafka passes over what it can't read, and takes another
/// port where a number is too large.
fn brokers(variables: &Variables<'_>) -> Result<String, SettingsError> {
    const NAME: &str = "KAFKA_BROKERS";
    const EXPECTED: &str = "the brokers as host:port, separated by commas";
    let text = variables.required(NAME, EXPECTED)?;
    let brokers: Vec<_> = text.split(',').map(str::trim).collect();
    for broker in &brokers {
        let fault = match Address::parse(broker) {
            Ok(_) if is_ipv6(broker) => "an IPv6 address stands in brackets".to_owned(),
            Ok(_) => continue,
            Err(fault) => fault,
        };
        let found = if broker.is_empty() { &text } else { *broker };
        return Err(SettingsError::invalid(NAME, found, format!("{EXPECTED}: {fault}")));
    }
    Ok(brokers.join(","))
}

/// A property that something else sets, or with a value that it can't have, ends the start.
fn check(
    name: &str,
    property: &str,
    value: &str,
    group: &'static str,
) -> Result<(), SettingsError> {
    const PROMISE: &str = "nothing: the delivery promises rest on its value";
    let otherwise = SET_OTHERWISE.iter().find(|(name, _)| *name == property);
    let expected = match otherwise {
        Some((_, expected)) => *expected,
        None if property == "group.id" => group,
        None => match KafkaConfig::new("").property(property, value) {
            Ok(_) => return Ok(()),
            Err(ConfigError::Property { reason, .. }) => {
                return Err(SettingsError::Property { name: name.to_owned(), reason });
            }
            Err(_) => PROMISE,
        },
    };
    Err(SettingsError::wrong(name, format!("the property {property}"), expected))
}
