//! Topics as requests name them: by name, or by id.

use jobstream::record::TopicId;
use kafka_protocol::ResponseError;
use regex::Regex;
use uuid::Uuid;

use super::call::Call;
use crate::broker::log::Log;
use crate::broker::state::State;
use crate::broker::topic::TopicState;

/// Characters of a topic's name, at most.
const TOPIC_NAME_MAX: usize = 249;

/// Whether Kafka takes it as the name of a topic.
pub(super) fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    !matches!(name, "" | "." | "..") && name.len() <= TOPIC_NAME_MAX && name.chars().all(legal)
}

/// A topic as a request names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum TopicKey<'a> {
    Name(&'a str),
    Id(Uuid),
}

impl State {
    /// The topic of this key.
    pub(super) fn topic(&self, key: TopicKey<'_>) -> Result<&TopicState, ResponseError> {
        match key {
            TopicKey::Name(name) => {
                self.topic_named(name).ok_or(ResponseError::UnknownTopicOrPartition)
            }
            TopicKey::Id(id) => {
                let wanted = TopicId::new(id.as_u128());
                let mut topics = self.all_topics();
                topics.find(|topic| topic.id == wanted).ok_or(ResponseError::UnknownTopicId)
            }
        }
    }

    /// A partition that the asked node leads, under the leader epoch that the client knows; a
    /// negative epoch is none.
    pub(super) fn led(
        &self,
        call: &Call,
        key: TopicKey<'_>,
        partition: i32,
        epoch: i32,
    ) -> Result<(&TopicState, &Log), ResponseError> {
        let topic = self.topic(key)?;
        let log = usize::try_from(partition).ok().and_then(|number| topic.logs.get(number));
        let log = log.ok_or(ResponseError::UnknownTopicOrPartition)?;
        if call.cluster().leader(&topic.name, partition).id != call.node().id {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        let known = call.cluster().placement().leader_epoch();
        if epoch > known {
            return Err(ResponseError::UnknownLeaderEpoch);
        }
        if (0..known).contains(&epoch) {
            return Err(ResponseError::FencedLeaderEpoch);
        }
        Ok((topic, log))
    }
}

/// An expression that matches all of a name or nothing, as Kafka asks it to.
pub(super) fn whole_match(expression: &str) -> Result<Regex, regex::Error> {
    // On its own first, so that no parenthesis of it closes the one around it.
    Regex::new(expression)?;
    Regex::new(&format!("^(?:{expression})$"))
}

/// The code of an outcome; 0 if it is no error.
pub(super) fn code(outcome: Result<(), ResponseError>) -> i16 {
    outcome.map_or_else(|error| error.code(), |()| 0)
}
