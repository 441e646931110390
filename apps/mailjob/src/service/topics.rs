//! The topics before the first record.

use std::time::Duration;

use jobstream::kafka::{ErrorKind, KafkaConfig, NewTopic, TopicError, TopicState, Topics};
use mailjob::settings::Settings;
use tokio::time::sleep;
use tracing::{info, warn};

use super::ServiceError;
use crate::log::KafkaLog;

/// The wait before the brokers are asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

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
        loop {
            match ensure(&topics, topic, settings.topics.create).await {
                Ok(state) => {
                    log.is_back();
                    say(topic, state);
                    break;
                }
                Err(Failure::Missing) => {
                    return Err(ServiceError::TopicMissing(topic.name.to_string()));
                }
                Err(Failure::Asking(error)) if error.kind == ErrorKind::Unreachable => {
                    log.is_away(&error.reason);
                    sleep(ASK_AGAIN_AFTER).await;
                }
                Err(Failure::Asking(error)) => return Err(ServiceError::Kafka(named(&error))),
            }
        }
    }
    Ok(())
}

/// Says that the input topic is missing, if it is: the source finds it when it is there.
///
/// # Errors
/// If the brokers refuse.
pub(super) async fn input(config: &KafkaConfig, settings: &Settings) -> Result<(), ServiceError> {
    let topic = &settings.topics.topics.jobs;
    match client(config)?.partitions(topic).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            warn!("Topic '{topic}' does not exist yet, waiting");
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::Unreachable => Ok(()),
        Err(error) => Err(ServiceError::Kafka(named(&error))),
    }
}

enum Failure {
    Missing,
    Asking(TopicError),
}

async fn ensure(topics: &Topics, topic: &NewTopic, create: bool) -> Result<TopicState, Failure> {
    if create {
        return topics.ensure(topic).await.map_err(Failure::Asking);
    }
    let partitions = topics.partitions(&topic.name).await.map_err(Failure::Asking)?;
    let partitions = partitions.ok_or(Failure::Missing)?;
    Ok(TopicState::Existed { partitions })
}

fn say(topic: &NewTopic, state: TopicState) {
    let name = &topic.name;
    match state {
        TopicState::Created => info!("Topic '{name}' created successfully."),
        TopicState::Existed { partitions } => {
            info!("Topic '{name}' already exists.");
            if i32::try_from(partitions) != Ok(topic.partitions) {
                let expected = topic.partitions;
                info!("Topic '{name}' has {partitions} partitions, not {expected}; it stays so");
            }
        }
    }
}

fn client(config: &KafkaConfig) -> Result<Topics, ServiceError> {
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
