//! The properties that librdkafka has.

use std::collections::BTreeSet;

use super::KafkaSettings;
use jobstream::kafka::{ConfigError, KafkaConfig, Topics};

/// Settings that clients can be made from.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The settings.
    pub config: KafkaConfig,
    /// What is odd and ends nothing, for people: variables that set no property, such as
    /// `KAFKA_PORT`, which Kubernetes injects, and a setting that gives a promise up.
    pub warnings: Vec<String>,
}

/// librdkafka refuses a property, or all of them together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct PropertyError {
    /// The variable that it is about, as far as librdkafka says that.
    pub variable: String,
    /// What it says.
    pub reason: String,
}

/// Passes over the properties that librdkafka does not have.
///
/// # Errors
/// If it refuses one that it has, or what one names can't be read.
pub fn accept(settings: &KafkaSettings) -> Result<Accepted, PropertyError> {
    let mut unknown = BTreeSet::new();
    loop {
        let config = settings.without(&unknown);
        match Topics::new(&config) {
            Ok(_) => {
                let warnings = warnings(settings, &config, &unknown);
                return Ok(Accepted { config, warnings });
            }
            Err(ConfigError::UnknownProperty { name }) if !unknown.contains(&name) => {
                unknown.insert(name);
            }
            Err(error) => {
                let variable = settings.variable(&error);
                return Err(PropertyError { variable, reason: error.to_string() });
            }
        }
    }
}

/// The longest interval of statistics, in ms, at which readiness sees each 30 s whether brokers
/// answer.
const STATISTICS_INTERVAL_MAX_MS: u64 = 10_000;

fn warnings(
    settings: &KafkaSettings,
    config: &KafkaConfig,
    unknown: &BTreeSet<String>,
) -> Vec<String> {
    let unknown = unknown.iter().map(|name| {
        format!("{}: unknown setting, and no property of librdkafka", KafkaSettings::name(name))
    });
    let reset = config.starts_at_the_end().then(|| {
        let name = KafkaSettings::name("auto.offset.reset");
        format!(
            "{name}: records can be lost with it: a new group, a new partition and one whose \
             position is gone begin behind all that stands in the topic, and what is passed over \
             gets neither a result nor a line; with earliest nothing is lost"
        )
    });
    let is_rare = |value: &&str| {
        !value.parse().is_ok_and(|ms| (1..=STATISTICS_INTERVAL_MAX_MS).contains(&ms))
    };
    let interval = "statistics.interval.ms";
    let rare = settings.value(interval).filter(is_rare).map(|value| {
        let name = KafkaSettings::name(interval);
        format!(
            "{name}: found {value:?}, expected 1 to {STATISTICS_INTERVAL_MAX_MS}: /readyz says no \
             where it has not heard of an answer for 30 s"
        )
    });
    reset.into_iter().chain(rare).chain(unknown).collect()
}
