//! The topics that a service needs before its first record.

use std::time::Duration;

use jobstream::kafka::{ErrorKind, NewTopic, Spread, TopicError, TopicState, Topics};
use jobstream::record::Topic;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::Failure;
use crate::log::KafkaLog;

/// The wait before the brokers are asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a topic is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnsureError {
    /// It is missing, and is not to be created.
    #[error("the topic '{0}' is missing")]
    Missing(Topic),
    /// The brokers refuse what no time mends.
    #[error(transparent)]
    Refused(#[from] TopicError),
}

impl From<EnsureError> for Failure {
    fn from(error: EnsureError) -> Self {
        match error {
            EnsureError::Missing(topic) => Self::new(format!(
                "the topic '{topic}' is missing: expected it, or TOPIC_CREATE=true"
            )),
            EnsureError::Refused(error) => Self::new(format!("Kafka: {}", named(&error))),
        }
    }
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

/// Completes when the topic is there, created if it may be and was missing, and logs which; waits
/// for brokers that can't be reached. Dropped, it asks no more.
///
/// # Errors
/// If the brokers refuse, or the topic is missing and is not to be created.
pub async fn ensure_topic(
    topics: &Topics,
    topic: &NewTopic,
    create: bool,
    log: &KafkaLog,
) -> Result<TopicState, EnsureError> {
    let state = loop {
        match ask(topics, topic, create).await {
            Err(EnsureError::Refused(error)) if error.kind == ErrorKind::Unreachable => {
                log.is_away(&error.reason);
                sleep(ASK_AGAIN_AFTER).await;
            }
            // Another process is creating it: its partitions are not known yet.
            Ok(TopicState::Existed { partitions: 0 }) => sleep(ASK_AGAIN_AFTER).await,
            asked => break asked?,
        }
    };
    log.is_back();
    match state {
        TopicState::Created => info!("Topic '{}' created successfully.", topic.name),
        TopicState::Existed { .. } => info!("Topic '{}' already exists.", topic.name),
    }
    // Where the brokers do not say, there is nothing to warn of.
    if let Ok(Spread { brokers, replicas }) = topics.spread(&topic.name).await {
        let asked_for = usize::try_from(topic.replicas).ok();
        if brokers > 1 && replicas.or(asked_for) == Some(1) {
            let name = &topic.name;
            warn!(
                "Topic '{name}' has 1 replica on a cluster of {brokers} brokers: it is lost with one"
            );
        }
    }
    Ok(state)
}

async fn ask(topics: &Topics, topic: &NewTopic, create: bool) -> Result<TopicState, EnsureError> {
    if create {
        return Ok(topics.ensure(topic).await?);
    }
    let partitions = topics.partitions(&topic.name).await?;
    let partitions = partitions.ok_or_else(|| EnsureError::Missing(topic.name.clone()))?;
    Ok(TopicState::Existed { partitions })
}
