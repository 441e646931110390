//! The conformance suite through librdkafka, on the listener of the in-memory broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::record::TopicPartition;
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use jobstream_testkit::wire::Listener;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

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
        let builder = broker.listener().nodes(nodes);
        let builder = builder.consumer_sessions(Duration::from_secs(6), Duration::from_millis(200));
        let listener = builder.listen("127.0.0.1:0").await;
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
    check(&Kafka::cooperative(wire.clone())).await;
    assert_eq!(wire.listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eager_group_keeps_every_behaviour() {
    let wire = Wire::start(1).await;
    check(&Kafka::eager(wire.clone())).await;
    assert_eq!(wire.listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_the_consumer_protocol_keeps_every_behaviour() {
    let wire = Wire::start(1).await;
    check(&Kafka::consumer_protocol(wire.clone())).await;
    assert_eq!(wire.listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_cannot_be_read_costs_nothing_else() {
    let wire = Wire::start(1).await;
    kafka_support::headers::a_header_that_cannot_be_read_costs_nothing_else(&*wire).await;
}

/// The one in Rust, word for word.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_documentation_runs() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::new();
    broker.create_topic("jobs", 6);
    let listener = broker.listen("127.0.0.1:0").await?;
    let producer: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", listener.bootstrap()).create()?;
    let record = FutureRecord::to("jobs").key("k").payload("v");
    producer.send(record, Duration::from_secs(5)).await.map_err(|(error, _)| error)?;
    assert_eq!(broker.records("jobs", Isolation::ReadCommitted).len(), 1);
    listener.faults().push("produce nth=2 apply-then-disconnect".parse()?);
    let page = include_str!("../docs/broker.md");
    let example = page.split("```rust,ignore\n").nth(1).and_then(|rest| rest.split("```").next());
    let joined = |text: &str| text.split_whitespace().collect::<String>();
    let example = joined(example.expect("an example in Rust"));
    assert!(joined(include_str!("kafka_wire_conformance.rs")).contains(&example), "{example}");
    Ok(())
}
