//! The ends of a worker.

use jobstream::kafka::{ConfigError, KafkaConfig, exactly_once};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sources::kafka::KafkaSource;
use jobstream::state::Store;
use jobstream::state::kafka::KafkaStore;
use jobstream::topology::Worker;
use jobstream_service::{PropertyError, random_id};
use mailjob::settings::{Delivery, Settings};

use super::ServiceError;

/// The source, the sink and the store of the worker with this number, from 1.
///
/// In exactly-once mode it completes when older producers of its id are fenced.
///
/// # Errors
/// If the clients can't be made, or the brokers refuse them for good.
pub(super) async fn worker(
    config: &KafkaConfig,
    settings: &Settings,
    number: usize,
) -> Result<Worker, ServiceError> {
    let (group, topics) = (&settings.topics.group, [settings.topics.topics.jobs.clone()]);
    let id = settings.job.instance_id.as_ref().map(|id| format!("{id}-{number}"));
    let config = match &id {
        Some(id) => config.clone().instance_id(id),
        None => config.clone(),
    };
    let refused = |error: ConfigError| {
        let variable = settings.kafka.variable(&error);
        ServiceError::Property(PropertyError { variable, reason: error.to_string() })
    };
    match settings.job.delivery {
        Delivery::AtLeastOnce => Ok(Worker {
            source: Box::new(KafkaSource::new(&config, group, topics).map_err(refused)?),
            sink: Box::new(KafkaSink::new(&config).map_err(refused)?),
            store: None,
        }),
        Delivery::ExactlyOnce => {
            let own = || format!("{:016x}-{number}", random_id());
            let transactional_id = format!("{group}-{}", id.unwrap_or_else(own));
            let config = match settings.job.ledger {
                Some(_) => config.commit_soon(),
                None => config,
            };
            let pair = exactly_once(&config, group, topics, &transactional_id).await;
            let (source, sink) = pair.map_err(|error| ServiceError::Kafka(error.to_string()))?;
            let store = match settings.job.ledger {
                Some(_) => Some(store(&config, settings).map_err(refused)?),
                None => None,
            };
            Ok(Worker { source: Box::new(source), sink: Box::new(sink), store })
        }
    }
}

/// Where the ledger's entries are.
fn store(config: &KafkaConfig, settings: &Settings) -> Result<Box<dyn Store>, ConfigError> {
    Ok(Box::new(KafkaStore::new(config, settings.topics.ledger.name.clone())?))
}
