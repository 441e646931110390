//! The properties that librdkafka has.

use std::collections::BTreeSet;

use crate::KafkaSettings;
use jobstream::kafka::{ConfigError, KafkaConfig, Topics};

/// Settings that clients can be made from.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The settings.
    pub config: KafkaConfig,
    /// The variables that set no property, such as `KAFKA_PORT`, which Kubernetes injects.
    pub unknown: Vec<String>,
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
                let unknown = unknown.iter().map(|name| KafkaSettings::name(name)).collect();
                return Ok(Accepted { config, unknown });
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
