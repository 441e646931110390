//! The topics before the first record.

use std::time::Duration;

use jobstream::kafka::{ErrorKind, KafkaConfig, NewTopic, TopicError, TopicState, Topics};
use mailjob::settings::{Settings, TopicSettings};
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
                Err(Failure::Unfit(found)) => return Err(ServiceError::Ledger(found)),
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

/// Completes when the ledger's topic is there, with a partition for each one of the input topic;
/// waits for that one.
///
/// # Errors
/// If the brokers refuse, or the topic is none for a ledger.
pub(super) async fn ledger(
    config: &KafkaConfig,
    settings: &Settings,
    log: &KafkaLog,
) -> Result<(), ServiceError> {
    let topics = client(config)?;
    loop {
        match try_ledger(&topics, &settings.topics).await {
            Ok(true) => {
                log.is_back();
                return Ok(());
            }
            Ok(false) => {}
            Err(Failure::Missing) => {
                let name = settings.topics.ledger.name.to_string();
                return Err(ServiceError::TopicMissing(name));
            }
            Err(Failure::Asking(error)) if error.kind == ErrorKind::Unreachable => {
                log.is_away(&error.reason);
            }
            Err(Failure::Asking(error)) => return Err(ServiceError::Kafka(named(&error))),
            Err(Failure::Unfit(found)) => return Err(ServiceError::Ledger(found)),
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Whether the input topic is there, and with it the ledger's.
async fn try_ledger(topics: &Topics, settings: &TopicSettings) -> Result<bool, Failure> {
    let jobs = &settings.topics.jobs;
    let Some(inputs) = topics.partitions(jobs).await.map_err(Failure::Asking)? else {
        return Ok(false);
    };
    let partitions = i32::try_from(inputs).unwrap_or(i32::MAX);
    let topic = NewTopic { partitions, ..settings.ledger.clone() };
    let name = &topic.name;
    let state = ensure(topics, &topic, settings.create).await?;
    let found = match state {
        TopicState::Created => inputs,
        // It is being made by somebody else.
        TopicState::Existed { partitions: 0 } => return Ok(false),
        TopicState::Existed { partitions } => partitions,
    };
    if found < inputs {
        return Err(Failure::Unfit(format!(
            "topic '{name}': found {found} partitions, expected at least the {inputs} of '{jobs}'",
        )));
    }
    match policy(topics, name).await.map_err(Failure::Asking)?.as_deref() {
        Some("compact") => {}
        Some(found) => {
            return Err(Failure::Unfit(format!(
                "topic '{name}': found cleanup.policy={found}, expected compact alone"
            )));
        }
        None => return Ok(false),
    }
    say(&topic, state);
    Ok(true)
}

/// What is done with old records of a topic; `None` if the brokers do not all know it yet.
async fn policy(topics: &Topics, name: &str) -> Result<Option<String>, TopicError> {
    match topics.setting(name, "cleanup.policy").await {
        Err(error) if error.kind == ErrorKind::UnknownTopic => Ok(None),
        policy => policy,
    }
}

enum Failure {
    Unfit(String),
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
