//! The properties that librdkafka has.

use std::collections::BTreeSet;

use jobstream::kafka::{ConfigError, KafkaConfig, Topics};
use mailjob::settings::KafkaSettings;

use super::ServiceError;

/// Settings that clients can be made from.
pub(crate) struct Accepted {
    pub(crate) config: KafkaConfig,
    /// The variables that set no property, such as `KAFKA_PORT`, which Kubernetes injects.
    pub(crate) unknown: Vec<String>,
}

/// Passes over the properties that librdkafka does not have.
///
/// # Errors
/// If it refuses one that it has, or what one names can't be read.
pub(crate) fn accept(settings: &KafkaSettings) -> Result<Accepted, ServiceError> {
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
                return Err(ServiceError::Property { variable, reason: error.to_string() });
            }
        }
    }
}
