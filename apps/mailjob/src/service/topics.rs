//! The topics before the first record.

use jobstream::kafka::{ErrorKind, KafkaConfig, NewTopic, TopicError, TopicState, Topics};
use jobstream_service::{EnsureError, KafkaLog, ensure_topic};
use mailjob::settings::Settings;
use tracing::{info, warn};

use super::ServiceError;

/// Completes when the output topics are there; waits for brokers that can't be reached.
///
/// # Errors
/// If the brokers refuse, or a topic is missing and is not to be created.
pub(super) async fn outputs(
    config: &KafkaConfig,
    settings: &Settings,
    log: &KafkaLog,
) -> Result<(), ServiceError> {
    let topics = client(config)?;
    for topic in &settings.topics.outputs {
        let state = ensure_topic(&topics, topic, settings.topics.create, log).await;
        say(topic, state.map_err(refused)?);
    }
    Ok(())
}

/// Says that the input topic is missing, if it is: the source finds it when it is there.
///
/// # Errors
/// If the brokers refuse.
pub(super) async fn input(
    config: &KafkaConfig,
    settings: &Settings,
    log: &KafkaLog,
) -> Result<(), ServiceError> {
    let topic = &settings.topics.topics.jobs;
    match client(config)?.partitions(topic).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            warn!("Topic '{topic}' does not exist yet, waiting");
            log.was_told(ErrorKind::UnknownTopic);
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::Unreachable => Ok(()),
        Err(error) => Err(ServiceError::Kafka(named(&error))),
    }
}

pub(super) fn refused(error: EnsureError) -> ServiceError {
    match error {
        EnsureError::Missing(topic) => ServiceError::TopicMissing(topic.to_string()),
        EnsureError::Refused(error) => ServiceError::Kafka(named(&error)),
    }
}

/// Says what of a topic that was there is not as it is set.
pub(super) fn say(topic: &NewTopic, state: TopicState) {
    let (name, expected) = (&topic.name, topic.partitions);
    if let TopicState::Existed { partitions } = state
        && i32::try_from(partitions) != Ok(expected)
    {
        info!("Topic '{name}' has {partitions} partitions, not {expected}; it stays so");
    }
}

pub(super) fn client(config: &KafkaConfig) -> Result<Topics, ServiceError> {
    Topics::new(config).map_err(|error| ServiceError::Kafka(error.to_string()))
}

/// The error, with the settings that may mend it.
pub(crate) fn named(error: &TopicError) -> String {
    let see = match error.kind {
        ErrorKind::Authentication => "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD",
        ErrorKind::Tls => "KAFKA_SECURITY_PROTOCOL and KAFKA_SSL_CA_LOCATION",
        ErrorKind::Unreachable => "KAFKA_BROKERS",
        _ => return error.reason.clone(),
    };
    format!("{}; see {see}", error.reason)
}

/// The error of a client that asks every broker, after one broker has named them all.
pub(crate) fn unreached(error: &TopicError) -> String {
    match error.kind {
        ErrorKind::Unreachable => {
            let reason = &error.reason;
            format!("{reason}; see advertised.listeners of the brokers, who name this address")
        }
        _ => named(error),
    }
}
