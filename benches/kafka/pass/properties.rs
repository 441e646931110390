//! The librdkafka properties of both contenders: those that `KafkaConfig` sets by default, and those
//! that it reserves.

use jobstream::kafka::KafkaConfig;
use rdkafka::ClientConfig;

use crate::process::Role;

const BOTH: [(&str, &str); 3] = [
    ("client.id", "jobstream"),
    ("log.connection.close", "false"),
    ("reconnect.backoff.max.ms", "2000"),
];
const CONSUMER: [(&str, &str); 10] = [
    ("auto.offset.reset", "earliest"),
    ("fetch.error.backoff.ms", "100"),
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.max.bytes", "4194304"),
    ("max.poll.interval.ms", "300000"),
    ("queued.max.messages.kbytes", "4096"),
    ("queued.min.messages", "4000"),
    ("topic.metadata.refresh.interval.ms", "5000"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("session.timeout.ms", "10000"),
];
const PRODUCER: [(&str, &str); 4] = [
    ("linger.ms", "5"),
    ("message.max.bytes", "2097152"),
    ("partitioner", "consistent_random"),
    ("queue.buffering.max.kbytes", "16384"),
];

/// What the topology's source and sink are told: set explicitly, so that a default that changes can't
/// set the contenders apart.
pub(super) fn config(role: &Role) -> KafkaConfig {
    let all = BOTH.into_iter().chain(CONSUMER).chain(PRODUCER);
    all.fold(KafkaConfig::new(&role.bootstrap), |config, (name, value)| {
        config.property(name, value).expect("no property that the promises rest on")
    })
}

/// The loop's consumer.
pub(super) fn consumer(role: &Role) -> ClientConfig {
    let mut config = client(role, &CONSUMER);
    config
        .set("group.id", &role.output)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("isolation.level", "read_committed");
    config
}

/// The loop's producer.
pub(super) fn producer(role: &Role) -> ClientConfig {
    let mut config = client(role, &PRODUCER);
    config.set("enable.idempotence", "true").set("acks", "all");
    match role.is_exactly_once {
        true => config.set("transactional.id", &role.output).set("transaction.timeout.ms", "10000"),
        false => config.set("message.timeout.ms", "0"),
    };
    config
}

fn client(role: &Role, properties: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &role.bootstrap);
    for (name, value) in BOTH.iter().chain(properties) {
        config.set(*name, *value);
    }
    config
}
