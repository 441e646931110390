//! Kafka, as the service's settings have it.

use jobstream::kafka::{ConfigError, KafkaConfig, TopicReader, Topics};
use jobstream::record::Topic;

use super::OperationError;
use crate::defaults::Defaults;
use crate::ensure::unreached;
use crate::environment;
use crate::run::ServiceError;
use crate::settings::{Accepted, ProducerSettings, TopicSettings, accept};

/// Where Kafka is, and the names of the topics and the group.
pub(crate) struct Brokers {
    pub(crate) config: KafkaConfig,
    pub(crate) settings: TopicSettings,
    topics: Topics,
}

impl Brokers {
    /// Reads the settings from where those of `run` are; no broker need be there yet.
    ///
    /// # Errors
    /// If a setting is wrong or missing.
    pub(crate) fn from_settings(defaults: &Defaults) -> Result<Self, OperationError> {
        let variables = environment::variables();
        let settings = ProducerSettings::read(defaults, &variables, &environment::read_file)?;
        let Accepted { config, .. } = accept(&settings.kafka).map_err(ServiceError::from)?;
        let topics = Topics::new(&config).map_err(|error| refused(&error))?;
        Ok(Self { config, settings: settings.topics, topics })
    }

    /// How many partitions a topic has, if there is such a topic.
    pub(crate) async fn partitions(&self, topic: &str) -> Result<Option<usize>, OperationError> {
        Ok(self.topics.partitions(topic).await?)
    }

    /// How many partitions a topic has that must be there, and whose records are to be read: every
    /// broker answers, or is named.
    pub(crate) async fn existing(&self, topic: &str) -> Result<usize, OperationError> {
        let missing = || OperationError::Missing(format!("the topic '{topic}' does not exist"));
        let partitions = self.partitions(topic).await?.ok_or_else(missing)?;
        let reached = self.topics.reach(topic).await;
        reached.map_err(|error| ServiceError::Kafka(unreached(&error)))?;
        Ok(partitions)
    }

    pub(crate) fn reader(&self, topic: &Topic) -> Result<TopicReader, OperationError> {
        Ok(TopicReader::new(&self.config, topic.clone()).map_err(|error| refused(&error))?)
    }
}

fn refused(error: &ConfigError) -> ServiceError {
    ServiceError::Kafka(error.to_string())
}
