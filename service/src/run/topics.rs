//! The topics before the first record.

use jobstream::kafka::{ErrorKind, NewTopic, TopicState, Topics};
use jobstream::record::Topic;
use tracing::{info, warn};

use super::ServiceError;
use crate::ensure::named;
use crate::settings::TopicSettings;
use crate::{Failure, Process, ensure_topic};

/// Completes when the output topics are there; waits for brokers that can't be reached.
///
/// # Errors
/// If the brokers refuse, or a topic is missing and is not to be created.
pub(super) async fn outputs(
    process: &Process,
    settings: &TopicSettings,
) -> Result<(), ServiceError> {
    let topics = process.topics()?;
    for topic in &settings.outputs {
        let state = ensure_topic(&topics, topic, settings.create, process.log()).await;
        say(topic, state.map_err(Failure::from)?);
        if let Some(compacted) = compacted(&topics, &topic.name, settings).await {
            warn!("{compacted}");
        }
    }
    Ok(())
}

/// What is wrong with an output topic that exists if it is compacted. Where the brokers do not say, it
/// is taken for none.
pub(crate) async fn compacted(
    topics: &Topics,
    topic: &Topic,
    settings: &TopicSettings,
) -> Option<String> {
    let policy = topics.setting(topic, "cleanup.policy").await.ok()??;
    let lost = match *topic == settings.topics.dead_letters {
        true => "dead letters without key are refused, and one replaces another with the same key",
        false => "a result replaces another with the same key, and none without key is taken",
    };
    policy
        .contains("compact")
        .then(|| format!("topic '{topic}': found cleanup.policy={policy}, expected delete: {lost}"))
}

/// Says that the input topic is missing, if it is: the source finds it when it is there.
///
/// # Errors
/// If the brokers refuse.
pub(super) async fn input(process: &Process, topic: &Topic) -> Result<(), ServiceError> {
    match process.topics()?.partitions(topic).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => {
            warn!("Topic '{topic}' does not exist yet, waiting");
            process.log().was_told(ErrorKind::UnknownTopic);
            Ok(())
        }
        Err(error) if error.kind == ErrorKind::Unreachable => Ok(()),
        Err(error) => Err(ServiceError::Kafka(named(&error))),
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
