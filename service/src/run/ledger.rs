//! The topic of the ledger: a partition for each one of the input topic, and compacted alone.
//!
//! Where the input topic is given partitions, the ledger's is, too, if topics may be created. If
//! not, the new partitions wait for theirs, and the others go on.

use std::convert::Infallible;
use std::time::Duration;

use jobstream::kafka::{ErrorKind, NewTopic, TopicError, TopicState, Topics};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{info, warn};

use super::ServiceError;
use super::topics::say;
use crate::ensure::named;
use crate::settings::TopicSettings;
use crate::{Failure, KafkaLog, Process, ensure_topic};

/// The wait before the brokers are asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Whether a topic that exists can hold the ledger.
pub(crate) enum Fitness {
    Fit,
    /// What was found, and expected.
    Unfit(String),
    /// The brokers do not all know it yet.
    Unknown,
}

impl Fitness {
    /// Judges a topic that has so many partitions, where the input topic has `inputs`.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse to answer.
    pub(crate) async fn of(
        topics: &Topics,
        settings: &TopicSettings,
        partitions: usize,
        inputs: usize,
    ) -> Result<Self, TopicError> {
        let (name, jobs) = (&settings.ledger.name, &settings.topics.jobs);
        if partitions < inputs {
            return Ok(Self::Unfit(format!(
                "topic '{name}': found {partitions} partitions, expected at least the {inputs} of \
                 '{jobs}'",
            )));
        }
        match topics.setting(name, "cleanup.policy").await {
            Ok(Some(policy)) if policy == "compact" => Ok(Self::Fit),
            Ok(Some(policy)) => Ok(Self::Unfit(format!(
                "topic '{name}': found cleanup.policy={policy}, expected compact alone"
            ))),
            Ok(None) => Ok(Self::Unknown),
            Err(error) if error.kind == ErrorKind::UnknownTopic => Ok(Self::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// Completes when the ledger's topic is there, and has what partitions it is to have; waits for the
/// input topic.
///
/// # Errors
/// If the brokers refuse, or the topic is none for a ledger.
pub(super) async fn ready(process: &Process, settings: &TopicSettings) -> Result<(), ServiceError> {
    let (topics, log) = (process.topics()?, process.log());
    loop {
        match is_ready(&topics, settings, log).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(NotReady::Asking(error)) if error.kind == ErrorKind::Unreachable => {
                log.is_away(&error.reason);
            }
            Err(NotReady::Asking(error)) => return Err(ServiceError::Kafka(named(&error))),
            Err(NotReady::Ended(error)) => return Err(error),
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

enum NotReady {
    Asking(TopicError),
    Ended(ServiceError),
}

/// Whether the input topic is there, and with it the ledger's.
async fn is_ready(
    topics: &Topics,
    settings: &TopicSettings,
    log: &KafkaLog,
) -> Result<bool, NotReady> {
    let inputs = topics.partitions(&settings.topics.jobs).await.map_err(NotReady::Asking)?;
    let Some(inputs) = inputs else { return Ok(false) };
    let partitions = i32::try_from(inputs).unwrap_or(i32::MAX);
    let topic = NewTopic { partitions, ..settings.ledger.clone() };
    let state = ensure_topic(topics, &topic, settings.create, log).await;
    let state = state.map_err(|error| NotReady::Ended(Failure::from(error).into()))?;
    let found = match state {
        // Another process is making it.
        TopicState::Existed { partitions: 0 } => return Ok(false),
        TopicState::Existed { partitions } => partitions,
        TopicState::Created => inputs,
    };
    if found < inputs {
        if settings.create {
            grow(topics, settings, inputs).await.map_err(NotReady::Asking)?;
        } else {
            let (name, jobs) = (&topic.name, &settings.topics.jobs);
            warn!(
                "Topic '{name}' has {found} partitions, '{jobs}' has {inputs}: those above wait; \
                 give '{name}' partitions, or set TOPIC_CREATE=true"
            );
        }
    }
    // Of the partitions it was said what there is to be said.
    match Fitness::of(topics, settings, inputs, inputs).await.map_err(NotReady::Asking)? {
        Fitness::Fit => {
            // What has grown is said already.
            if found >= inputs || !settings.create {
                say(&topic, state);
            }
            Ok(true)
        }
        Fitness::Unfit(found) => Err(NotReady::Ended(ServiceError::Ledger(found))),
        Fitness::Unknown => Ok(false),
    }
}

/// Gives the ledger's topic the partitions that it lacks whenever it is notified, and creates it where
/// it was deleted, if topics may be created; a failure is logged once, until that changes. Never completes.
pub(super) async fn keep_grown(
    process: &Process,
    settings: &TopicSettings,
    may_lack: &Notify,
) -> Result<Infallible, ServiceError> {
    let mut told = None;
    loop {
        may_lack.notified().await;
        if settings.create {
            let grown = grow_again(&process.topics()?, settings).await;
            let failed = grown.err().map(|error| named(&error));
            if let Some(error) = failed.as_ref().filter(|_| failed != told) {
                warn!("The ledger's topic was not given its partitions: {error}");
            }
            told = failed;
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

async fn grow_again(topics: &Topics, settings: &TopicSettings) -> Result<(), TopicError> {
    let inputs = topics.partitions(&settings.topics.jobs).await?;
    let found = topics.partitions(&settings.ledger.name).await?;
    match (inputs, found) {
        (Some(inputs), Some(found)) if found < inputs => grow(topics, settings, inputs).await,
        // It was deleted.
        (Some(inputs), None) => {
            let partitions = i32::try_from(inputs).unwrap_or(i32::MAX);
            let topic = NewTopic { partitions, ..settings.ledger.clone() };
            if let TopicState::Created = topics.ensure(&topic).await? {
                info!("Topic '{}' created successfully.", topic.name);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn grow(
    topics: &Topics,
    settings: &TopicSettings,
    partitions: usize,
) -> Result<(), TopicError> {
    let name = &settings.ledger.name;
    topics.grow(name, partitions).await?;
    info!("Topic '{name}' has {partitions} partitions now.");
    Ok(())
}
