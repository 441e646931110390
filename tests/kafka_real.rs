//! The conformance suite on Apache Kafka, started by `scripts/kafka`; `KAFKA_BOOTSTRAP` names one
//! that runs already, without any security.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use async_trait::async_trait;
use jobstream::kafka::{KafkaConfig, NewTopic, TopicState, Topics};
use jobstream::record::TopicPartition;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use kafka_broker::Broker;
use kafka_support::{Cluster, Kafka, check};

mod kafka_broker;
mod kafka_support;

#[async_trait]
impl Cluster for Broker {
    fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    fn at_once(&self) -> usize {
        6
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        let topics = Topics::new(&KafkaConfig::new(&self.bootstrap)).unwrap();
        let topic = NewTopic { name: topic.into(), partitions, replicas: 1, settings: Vec::new() };
        assert_eq!(topics.ensure(&topic).await, Ok(TopicState::Created));
        // The answer may come before every broker knows the topic.
        while topics.partitions(&topic.name).await != Ok(Some(partitions as usize)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let existed = TopicState::Existed { partitions: partitions as usize };
        assert_eq!(topics.ensure(&topic).await, Ok(existed));
    }

    async fn recreate_topic(&self, topic: &str, partitions: i32) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        admin.delete_topics(&[topic], &AdminOptions::new()).await.unwrap();
        // The answer may come before the broker has forgotten the topic.
        let topics = Topics::new(&KafkaConfig::new(&self.bootstrap)).unwrap();
        while topics.partitions(topic).await != Ok(None) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.create_topic(topic, partitions).await;
    }

    async fn truncate(&self, partition: &TopicPartition, before: i64) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let mut offsets = TopicPartitionList::new();
        let (topic, number) = (&*partition.topic, partition.partition);
        offsets.add_partition_offset(topic, number, Offset::Offset(before)).unwrap();
        admin.delete_records(&offsets, &AdminOptions::new()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_cooperative_group_keeps_every_behaviour() {
    check(&Kafka::cooperative(Broker::shared())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn an_eager_group_keeps_every_behaviour() {
    check(&Kafka::eager(Broker::shared())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_group_of_kip_848_keeps_every_behaviour() {
    check(&Kafka::consumer_protocol(Broker::shared())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_header_that_cannot_be_read_costs_nothing_else() {
    let broker = Broker::shared();
    kafka_support::headers::a_header_that_cannot_be_read_costs_nothing_else(&*broker).await;
}
