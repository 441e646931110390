//! The topics before the first record.

use std::time::Duration;

use jobstream::kafka::{ErrorKind, KafkaConfig, NewTopic, TopicError, TopicState, Topics};
use jobstream_service::{EnsureError, KafkaLog, ensure_topic};
use mailjob::settings::{Settings, TopicSettings};
use tokio::time::sleep;
use tracing::{info, warn};

use super::ServiceError;

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
        let state = ensure_topic(&topics, topic, settings.topics.create, log).await;
        say(topic, state.map_err(refused)?);
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
        match try_ledger(&topics, &settings.topics, log).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(Failure::Asking(error)) if error.kind == ErrorKind::Unreachable => {
                log.is_away(&error.reason);
            }
            Err(Failure::Asking(error)) => return Err(ServiceError::Kafka(named(&error))),
            Err(Failure::Ended(error)) => return Err(error),
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

enum Failure {
    Asking(TopicError),
    Ended(ServiceError),
}

/// Whether the input topic is there, and with it the ledger's.
async fn try_ledger(
    topics: &Topics,
    settings: &TopicSettings,
    log: &KafkaLog,
) -> Result<bool, Failure> {
    let jobs = &settings.topics.jobs;
    let Some(inputs) = topics.partitions(jobs).await.map_err(Failure::Asking)? else {
        return Ok(false);
    };
    let partitions = i32::try_from(inputs).unwrap_or(i32::MAX);
    let topic = NewTopic { partitions, ..settings.ledger.clone() };
    let name = &topic.name;
    let state = ensure_topic(topics, &topic, settings.create, log).await;
    let state = state.map_err(|error| Failure::Ended(refused(error)))?;
    let unfit = |found| Err(Failure::Ended(ServiceError::Ledger(found)));
    match state {
        // It is being made by somebody else.
        TopicState::Existed { partitions: 0 } => return Ok(false),
        TopicState::Existed { partitions } if partitions < inputs => {
            return unfit(format!(
                "topic '{name}': found {partitions} partitions, expected at least the {inputs} of \
                 '{jobs}'",
            ));
        }
        TopicState::Existed { .. } | TopicState::Created => {}
    }
    match policy(topics, name).await.map_err(Failure::Asking)?.as_deref() {
        Some("compact") => {}
        Some(found) => {
            return unfit(format!(
                "topic '{name}': found cleanup.policy={found}, expected compact alone"
            ));
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

fn refused(error: EnsureError) -> ServiceError {
    match error {
        EnsureError::Missing(topic) => ServiceError::TopicMissing(topic.to_string()),
        EnsureError::Refused(error) => ServiceError::Kafka(named(&error)),
    }
}

/// Says what of a topic that was there is not as it is set.
fn say(topic: &NewTopic, state: TopicState) {
    let (name, expected) = (&topic.name, topic.partitions);
    if let TopicState::Existed { partitions } = state
        && i32::try_from(partitions) != Ok(expected)
    {
        info!("Topic '{name}' has {partitions} partitions, not {expected}; it stays so");
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
