//! The shop's ends on Kafka.

use jobstream::kafka::{ConfigError, KafkaConfig, NewTopic, TopicState, Topics, exactly_once};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sources::kafka::KafkaSource;
use jobstream::state::Store;
use jobstream::state::kafka::KafkaStore;
use jobstream::topology::Worker;
use jobstream_service::{EnsureError, KafkaLog, ensure_topic};

use crate::services::{Delivery, Service};
use crate::topics;

/// What can't be had of Kafka.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The clients can't be made.
    #[error("Kafka: {0}")]
    Config(#[from] ConfigError),
    /// The brokers refuse what no time mends.
    #[error("Kafka: {0}")]
    Topic(#[from] EnsureError),
    /// A topic does not fit: an order has one number of partition on all of them.
    #[error("Kafka: topic '{topic}': found {found} partitions, expected {}", topics::PARTITIONS)]
    Partitions {
        /// The topic.
        topic: &'static str,
        /// Its partitions.
        found: usize,
    },
}

/// Creates the topics that are missing; waits for brokers that can't be reached.
///
/// # Errors
/// If the brokers refuse, or a topic has another number of partitions.
pub async fn create_topics(
    config: &KafkaConfig,
    replicas: i32,
    min_insync_replicas: Option<i32>,
    log: &KafkaLog,
) -> Result<(), KafkaError> {
    let client = Topics::new(config)?;
    for topic in topics::ALL {
        let new = new_topic(topic, replicas);
        let new = match min_insync_replicas {
            Some(replicas) => new.min_insync_replicas(replicas),
            None => new,
        };
        let state = ensure_topic(&client, &new, true, log).await?;
        if let TopicState::Existed { partitions: found } = state
            && found != topics::PARTITIONS as usize
        {
            return Err(KafkaError::Partitions { topic, found });
        }
    }
    Ok(())
}

fn new_topic(topic: &'static str, replicas: i32) -> NewTopic {
    if topics::is_memory(topic) {
        return NewTopic::compacted(topic, topics::PARTITIONS, replicas);
    }
    let (name, partitions) = (topic.into(), topics::PARTITIONS);
    NewTopic { name, partitions, replicas, settings: Vec::new() }
}

/// The ends of an instance of a service; completes when those of the same instance that were before
/// are fenced.
///
/// # Errors
/// If the clients can't be made, or the brokers refuse them for good.
pub async fn worker(
    config: &KafkaConfig,
    service: &Service,
    instance: &str,
) -> Result<Worker, KafkaError> {
    let store = match service.remembers {
        Some(topic) => Some(Box::new(KafkaStore::new(config, topic)?) as Box<dyn Store>),
        None => None,
    };
    // An order has one number of partition on all topics, and one member has all of them.
    let config = match service.consumes {
        [_] => config.clone(),
        _ => config.clone().property("partition.assignment.strategy", "range")?,
    };
    let (group, consumes) = (service.group, service.consumes.iter().copied());
    match service.delivery {
        Delivery::ExactlyOnce => {
            let id = format!("{group}-{instance}");
            let (source, sink) = exactly_once(&config, group, consumes, &id).await?;
            Ok(Worker { source: Box::new(source), sink: Box::new(sink), store })
        }
        Delivery::AtLeastOnce => {
            let source = Box::new(KafkaSource::new(&config, group, consumes)?);
            Ok(Worker { source, sink: Box::new(KafkaSink::new(&config)?), store })
        }
    }
}
