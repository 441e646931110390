//! Topics: questions about those that exist, and the creation of missing ones.

use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic as Creation, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::RDKafkaErrorCode;

use super::asking::{Asking, Found, Refusal};
use super::error::code_of;
use super::observer::{ErrorKind, ObserverContext};
use super::{Blocking, ConfigError, KafkaConfig};
use crate::record::{Topic, TopicId};

/// How long the brokers may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long it may take until every broker has answered.
const REACH_LIMIT: Duration = Duration::from_secs(6);

/// The largest record of a topic that is created here, in bytes: as much as the producer sends.
const MAX_MESSAGE_BYTES: &str = "2097152";

/// A topic that should exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Topic,
    /// Its partitions, if it is created.
    pub partitions: i32,
    /// The replicas of each partition, if it is created.
    pub replicas: i32,
    /// Further settings of the topic, such as `cleanup.policy`, if it is created.
    pub settings: Vec<(String, String)>,
}

impl NewTopic {
    /// A topic for keyed state: `cleanup.policy=compact` and nothing else, so that the last value of
    /// a key is never deleted by age.
    pub fn compacted(name: impl Into<Topic>, partitions: i32, replicas: i32) -> Self {
        let settings = vec![("cleanup.policy".to_owned(), "compact".to_owned())];
        Self { name: name.into(), partitions, replicas, settings }
    }

    /// Sets Kafka's `min.insync.replicas`: a record is acknowledged once this many replicas have
    /// it, and refused while fewer are in sync. The broker's setting holds by default.
    #[must_use]
    pub fn min_insync_replicas(mut self, replicas: i32) -> Self {
        self.settings.push(("min.insync.replicas".to_owned(), replicas.to_string()));
        self
    }
}

/// How a topic is spread over its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The brokers of the cluster.
    pub brokers: usize,
    /// The replicas of the partition that has the fewest; `None` if the topic does not exist, or
    /// the brokers do not list its partitions yet.
    pub replicas: Option<usize>,
}

/// The result of [`Topics::ensure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicState {
    /// It was missing, and was created.
    Created,
    /// It existed with this many partitions, and stays as it is.
    Existed {
        /// Its partitions.
        partitions: usize,
    },
}

/// A question about topics that was not answered, or was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct TopicError {
    /// The kind of error; [`ErrorKind::Unreachable`] passes.
    pub kind: ErrorKind,
    /// What was asked, and why it failed.
    pub reason: String,
}

/// Asks the brokers about topics, and creates them. After the drop, its clients end on a thread of
/// their own.
#[derive(Debug)]
pub struct Topics {
    clients: Blocking<Clients>,
}

struct Clients {
    admin: AdminClient<ObserverContext>,
    asking: Asking,
}

impl Topics {
    /// A client for questions. No broker need be reachable yet.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn new(config: &KafkaConfig) -> Result<Self, ConfigError> {
        let admin =
            AdminClient::from_config_and_context(&config.admin(), config.observer_context())?;
        let asking = Asking::new(&config.admin(), config.observer_context())?;
        Ok(Self { clients: Blocking::start("kafka-topics", Clients { admin, asking })? })
    }

    /// How many partitions a topic has; `None` if there is no such topic. Takes up to 10 s.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse to answer.
    pub async fn partitions(&self, topic: &str) -> Result<Option<usize>, TopicError> {
        Ok(self.ask(topic).await?.partitions.map(|partitions| partitions.len()))
    }

    /// The id of a topic; `None` if there is no such topic, or the brokers know no ids (before Apache
    /// Kafka 2.8). A topic that is deleted and created again has another one. Takes up to 10 s.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse to answer.
    pub async fn id(&self, topic: &str) -> Result<Option<TopicId>, TopicError> {
        let name = topic.to_owned();
        let asked = self.clients.call(move |clients| clients.asking.id(&name, ANSWER_LIMIT));
        asked.await.unwrap_or_else(panicked).map_err(|refusal| of_topic(topic, refusal))
    }

    /// How a topic is spread over its cluster. Takes up to 10 s.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse to answer.
    pub async fn spread(&self, topic: &str) -> Result<Spread, TopicError> {
        let Found { brokers, partitions } = self.ask(topic).await?;
        Ok(Spread { brokers, replicas: partitions.and_then(|all| all.into_iter().min()) })
    }

    async fn ask(&self, topic: &str) -> Result<Found, TopicError> {
        let name = topic.to_owned();
        let asked = self.clients.call(move |clients| clients.asking.topic(&name, ANSWER_LIMIT));
        asked.await.unwrap_or_else(panicked).map_err(|refusal| of_topic(topic, refusal))
    }

    /// Waits until every broker of the cluster has answered at the address under which the cluster
    /// knows it (`advertised.listeners`), and returns their number: the bootstrap address may
    /// answer where the brokers can't be reached. `topic` is a topic that may be described. Takes
    /// up to 6 s.
    ///
    /// # Errors
    /// If a broker can't be reached; the error names it.
    pub async fn reach(&self, topic: &str) -> Result<usize, TopicError> {
        let topic = topic.to_owned();
        let asked = self.clients.call(move |clients| clients.asking.reach(&topic, REACH_LIMIT));
        asked.await.unwrap_or_else(panicked).map_err(|(kind, reason)| TopicError { kind, reason })
    }

    /// Creates a topic if it is missing; the new topic takes records of 2 MiB. A topic that exists
    /// is accepted as it is. Takes up to 30 s.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse.
    pub async fn ensure(&self, topic: &NewTopic) -> Result<TopicState, TopicError> {
        if let Some(partitions) = self.partitions(&topic.name).await? {
            return Ok(TopicState::Existed { partitions });
        }
        match self.create(topic).await {
            Ok(()) => Ok(TopicState::Created),
            // Another process was faster.
            Err(RDKafkaErrorCode::TopicAlreadyExists) => {
                let partitions = self.partitions(&topic.name).await?.unwrap_or_default();
                Ok(TopicState::Existed { partitions })
            }
            Err(code) => Err(self.refused(&topic.name, "could not be created", code).await),
        }
    }

    /// Adds partitions to a topic that exists until it has this many. A topic that has as many, or
    /// more, stays as it is. Takes up to 20 s.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse.
    pub async fn grow(&self, topic: &str, partitions: usize) -> Result<(), TopicError> {
        if self.partitions(topic).await?.is_some_and(|found| found >= partitions) {
            return Ok(());
        }
        let asked = [&NewPartitions::new(topic, partitions)];
        let grown = self.clients.admin.create_partitions(asked, &change()).await;
        let grown = grown.map_err(|error| code_of(&error)).and_then(|grown| {
            grown.into_iter().try_for_each(|topic| topic.map(drop).map_err(|(_, code)| code))
        });
        match grown {
            Ok(()) => Ok(()),
            // Another process was faster.
            Err(_) if self.partitions(topic).await?.is_some_and(|found| found >= partitions) => {
                Ok(())
            }
            Err(code) => Err(TopicError {
                kind: ErrorKind::of(Some(code)),
                reason: format!("topic {topic} could not be given {partitions} partitions: {code}"),
            }),
        }
    }

    /// A setting of a topic that exists, such as `cleanup.policy`; `None` if the brokers do not know
    /// a setting of this name. Takes up to 20 s.
    ///
    /// # Errors
    /// If the brokers can't be asked, or refuse to answer.
    pub async fn setting(&self, topic: &str, name: &str) -> Result<Option<String>, TopicError> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
        let asked = [ResourceSpecifier::Topic(topic)];
        let described = self.clients.admin.describe_configs(&asked, &options).await;
        let found = described.map_err(|error| code_of(&error)).and_then(|described| {
            described.into_iter().next().unwrap_or(Err(RDKafkaErrorCode::Unknown))
        });
        match found {
            Ok(config) => Ok(config.get(name).and_then(|entry| entry.value.clone())),
            Err(code) => Err(self.refused(topic, "its settings can't be read", code).await),
        }
    }

    /// The most metadata that a commit may have (`offset.metadata.max.bytes`), in bytes, if the
    /// brokers answer. `topic` is a topic that may be described. Takes up to 20 s.
    pub async fn metadata_max_bytes(&self, topic: &str) -> Option<usize> {
        let topic = topic.to_owned();
        let asked = self.clients.call(move |clients| clients.asking.broker(&topic, ANSWER_LIMIT));
        metadata_max_bytes(&self.clients.admin, asked.await?.ok()??, ANSWER_LIMIT).await.ok()?
    }

    /// The error for a code. Where the code says only that there was no answer, asks the brokers to
    /// find which of them does not answer, and why.
    async fn refused(&self, topic: &str, what: &str, code: RDKafkaErrorCode) -> TopicError {
        let kind = ErrorKind::of(Some(code));
        let reason = match kind {
            ErrorKind::Unreachable => self.reach(topic).await.err().map(|error| error.reason),
            _ => None,
        };
        let reason = reason.unwrap_or_else(|| code.to_string());
        TopicError { kind, reason: format!("topic {topic}: {what}: {reason}") }
    }

    async fn create(&self, topic: &NewTopic) -> Result<(), RDKafkaErrorCode> {
        let replicas = TopicReplication::Fixed(topic.replicas);
        let mut creation = Creation::new(&topic.name, topic.partitions, replicas)
            .set("max.message.bytes", MAX_MESSAGE_BYTES);
        for (name, value) in &topic.settings {
            creation = creation.set(name, value);
        }
        let created = self.clients.admin.create_topics([&creation], &change()).await;
        let created = created.map_err(|error| code_of(&error))?;
        created.into_iter().try_for_each(|topic| topic.map(drop).map_err(|(_, code)| code))
    }
}

/// The error of a question about a topic.
fn of_topic(topic: &str, (kind, reason): Refusal) -> TopicError {
    let reason = match kind {
        // The topic has no part in it: the reason names the broker.
        ErrorKind::Unreachable | ErrorKind::Authentication | ErrorKind::Tls => reason,
        _ => format!("topic {topic}: {reason}"),
    };
    TopicError { kind, reason }
}

fn panicked<T>() -> Result<T, Refusal> {
    Err((ErrorKind::Fatal, "the question has panicked".to_owned()))
}

/// The options for a change of topics.
fn change() -> AdminOptions {
    let options = AdminOptions::new().request_timeout(Some(ANSWER_LIMIT));
    options.operation_timeout(Some(ANSWER_LIMIT))
}

/// `offset.metadata.max.bytes` of a broker, if its answer has it.
///
/// # Errors
/// If there is no answer within the limit, or a refusal.
pub(crate) async fn metadata_max_bytes(
    admin: &AdminClient<ObserverContext>,
    broker: i32,
    limit: Duration,
) -> Result<Option<usize>, RDKafkaErrorCode> {
    let options = AdminOptions::new().request_timeout(Some(limit));
    let asked = [ResourceSpecifier::Broker(broker)];
    let described = admin.describe_configs(&asked, &options).await;
    let described = described.map_err(|error| code_of(&error))?.into_iter().next();
    let config = described.transpose()?;
    let entry = config.as_ref().and_then(|config| config.get("offset.metadata.max.bytes"));
    Ok(entry.and_then(|entry| entry.value.as_ref()?.parse().ok()))
}
