//! The conformance suite through librdkafka, on the listener of the in-memory broker.

use std::sync::Arc;

use async_trait::async_trait;
use jobstream::record::TopicPartition;
use jobstream_testkit::broker::{Broker, TopicOptions};
use jobstream_testkit::conformance::Features;
use jobstream_testkit::wire::Listener;

use kafka_support::{Cluster, Kafka, check};

mod kafka_support;

/// `max.message.bytes` of the topics that we create.
const MAX_MESSAGE_BYTES: usize = 2 << 20;

struct Wire {
    broker: Broker,
    listener: Listener,
}

impl Wire {
    async fn start(nodes: usize) -> Arc<Self> {
        let broker = Broker::new();
        let listener = broker.listener().nodes(nodes).listen("127.0.0.1:0").await;
        Arc::new(Self { broker, listener: listener.expect("a free port") })
    }

    fn options(partitions: i32) -> TopicOptions {
        TopicOptions::partitions(partitions).max_message_bytes(MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl Cluster for Wire {
    fn bootstrap(&self) -> String {
        self.listener.bootstrap()
    }

    fn features(&self) -> Features {
        Features {
            transactions: false,
            cooperative: true,
            truncation: true,
            recreation: true,
            crashes: true,
            expiry: true,
        }
    }

    /// They wait more than they work.
    fn at_once(&self) -> usize {
        16
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        assert!(self.broker.create_topic(topic, Self::options(partitions)));
    }

    async fn recreate_topic(&self, topic: &str, partitions: i32) {
        self.broker.recreate_topic(topic, Self::options(partitions));
    }

    async fn truncate(&self, partition: &TopicPartition, before: i64) {
        self.broker.truncate(partition, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooperative_group_keeps_every_behaviour() {
    let wire = Wire::start(1).await;
    check(&Kafka::cooperative(wire.clone()), &[]).await;
    assert_eq!(wire.listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eager_group_keeps_every_behaviour() {
    let wire = Wire::start(1).await;
    check(&Kafka::eager(wire.clone()), &[]).await;
    assert_eq!(wire.listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_cannot_be_read_costs_nothing_else() {
    let wire = Wire::start(1).await;
    kafka_support::headers::a_header_that_cannot_be_read_costs_nothing_else(&*wire).await;
}
