//! The ends of a worker on Kafka.

use jobstream::kafka::{ConfigError, KafkaConfig, exactly_once};
use jobstream::record::Topic;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sources::kafka::KafkaSource;
use jobstream::state::Store;
use jobstream::state::kafka::KafkaStore;
use jobstream::topology::Worker;

use crate::Delivery;

/// The ends of a worker on Kafka: in which group it is, what it consumes, how it delivers, and where
/// its keyed state is.
#[derive(Clone, Debug)]
pub struct Ends {
    /// The consumer group.
    pub group: String,
    /// The topics that it consumes.
    pub topics: Vec<Topic>,
    /// How its outputs are delivered.
    pub delivery: Delivery,
    /// The compacted topic of its keyed state, if it has any.
    pub state: Option<Topic>,
}

/// Why a worker has no ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndsError {
    /// librdkafka refuses the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The brokers refuse the member for good.
    #[error("{0}")]
    Refused(String),
}

impl Ends {
    /// The ends of the worker that this instance names among all live ones of the group. With
    /// exactly-once delivery it completes when older producers of the instance are fenced.
    ///
    /// # Errors
    /// If the clients can't be made, or the brokers refuse them for good.
    pub async fn worker(&self, kafka: &KafkaConfig, instance: &str) -> Result<Worker, EndsError> {
        let Self { group, topics, .. } = self;
        let store = match &self.state {
            Some(topic) => Some(Box::new(KafkaStore::new(kafka, topic.clone())?) as Box<dyn Store>),
            None => None,
        };
        match self.delivery {
            Delivery::AtLeastOnce => {
                let source = Box::new(KafkaSource::new(kafka, group, topics.iter().cloned())?);
                Ok(Worker { source, sink: Box::new(KafkaSink::new(kafka)?), store })
            }
            Delivery::ExactlyOnce => {
                let id = format!("{group}-{instance}");
                let pair = exactly_once(kafka, group, topics.iter().cloned(), &id).await;
                let (source, sink) = pair.map_err(|error| EndsError::Refused(error.to_string()))?;
                Ok(Worker { source: Box::new(source), sink: Box::new(sink), store })
            }
        }
    }
}
