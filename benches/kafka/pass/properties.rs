//! The librdkafka properties of both contenders: those that the topology's clients have.

use jobstream::kafka::KafkaConfig;
use rdkafka::ClientConfig;

use crate::process::Role;

/// The properties of the topology's source and sink.
pub(super) fn config(role: &Role) -> KafkaConfig {
    KafkaConfig::new(&role.bootstrap)
}

/// The loop's consumer.
pub(super) fn consumer(role: &Role) -> ClientConfig {
    ClientConfig::from_iter(config(role).consumer_properties(&role.output))
}

/// The loop's producer.
pub(super) fn producer(role: &Role) -> ClientConfig {
    let transactional_id = role.is_exactly_once.then_some(role.output.as_str());
    ClientConfig::from_iter(config(role).producer_properties(transactional_id))
}
