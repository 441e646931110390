//! Where Kafka is.

use jobstream::kafka::{ConfigError, KafkaConfig};

use super::error::SettingsError;
use super::names::{self, KAFKA_PREFIX};
use super::variables::Variables;

/// Names with the prefix that set no property.
const OURS: [&str; 1] = ["KAFKA_BROKERS"];

/// Properties that something else sets, and what does: librdkafka's other names for properties that
/// the promises rest on, too.
const SET_OTHERWISE: [(&str, &str); 6] = [
    ("auto.commit.enable", "nothing: the delivery promises rest on its value"),
    ("bootstrap.servers", "KAFKA_BROKERS instead"),
    ("group.id", "TOPIC_JOB_RUN_CONSUMER_GROUP_ID instead"),
    ("group.instance.id", "INSTANCE_ID instead"),
    ("metadata.broker.list", "KAFKA_BROKERS instead"),
    ("request.required.acks", "nothing: the delivery promises rest on its value"),
];

/// Where Kafka is, and how to speak with it.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Brokers and properties; not all of them need exist.
    pub config: KafkaConfig,
    /// The properties that were set, without their values.
    pub properties: Vec<String>,
}

impl KafkaSettings {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let expected = "the brokers as host:port, separated by commas";
        let brokers = variables.required("KAFKA_BROKERS", expected)?;
        let all: Vec<_> = brokers.split(',').map(str::trim).collect();
        if all.iter().any(|broker| broker.is_empty() || broker.contains(char::is_whitespace)) {
            return Err(SettingsError::invalid("KAFKA_BROKERS", &brokers, expected));
        }
        let mut config = KafkaConfig::new(all.join(","));
        let mut properties = Vec::new();
        for name in property_names(variables) {
            let Some(property) = names::property(&name) else { continue };
            let value = match names::is_secret_property(&property) {
                true => variables.secret(&name)?,
                false => variables.text(&name),
            };
            let Some(value) = value else { continue };
            config = set(config, &name, &property, value)?;
            properties.push(property);
        }
        Ok(Self { config, properties })
    }

    /// The variable that a refusal of librdkafka is about, as far as its words say that.
    pub fn variable(&self, error: &ConfigError) -> String {
        let text = match error {
            ConfigError::Reserved { name } | ConfigError::Property { name, .. } => {
                return names::of_property(name);
            }
            ConfigError::Refused(reason) => reason,
        };
        let named = self.properties.iter().filter(|name| text.contains(name.as_str()));
        let longest = named.max_by_key(|name| name.len());
        longest.map_or_else(|| "KAFKA_*".to_owned(), |name| names::of_property(name))
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

fn set(
    config: KafkaConfig,
    name: &str,
    property: &str,
    value: String,
) -> Result<KafkaConfig, SettingsError> {
    let found = || format!("the property {property}");
    if let Some((_, expected)) = SET_OTHERWISE.iter().find(|(name, _)| *name == property) {
        return Err(SettingsError::wrong(name, found(), *expected));
    }
    config.property(property, value).map_err(|_| {
        SettingsError::wrong(name, found(), "nothing: the delivery promises rest on its value")
    })
}
