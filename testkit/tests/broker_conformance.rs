//! The conformance suite on the in-memory broker, one test a behaviour.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic, TopicPartition};
use jobstream::sinks::Sink;
use jobstream::state::Store;
use jobstream_testkit::broker::{
    Assignor, Broker, CommittedOffset, Consumer, Isolation, Protocol, TopicOptions,
};
use jobstream_testkit::conformance::{self, Backend, Features};
use jobstream_testkit::conformance_tests;

struct InMemory {
    broker: Broker,
    protocol: Protocol,
    topics: AtomicU32,
}

fn cooperative() -> InMemory {
    InMemory { broker: Broker::new(), protocol: Protocol::Cooperative, topics: AtomicU32::new(0) }
}

#[async_trait]
impl Backend for InMemory {
    type Source = Consumer;

    fn features(&self) -> Features {
        Features {
            transactions: true,
            cooperative: self.protocol == Protocol::Cooperative,
            truncation: true,
            recreation: true,
            crashes: true,
            expiry: true,
            static_members: true,
        }
    }

    async fn create_topic(&self, partitions: i32) -> Topic {
        let name = format!("topic-{}", self.topics.fetch_add(1, Ordering::Relaxed));
        let options = TopicOptions::partitions(partitions).max_message_bytes(2 << 20);
        assert!(self.broker.create_topic(name.as_str(), options));
        name.into()
    }

    async fn source(&self, group: &str, topic: &Topic) -> Consumer {
        self.broker.consumer(group, [topic.clone()]).protocol(self.protocol).build()
    }

    async fn static_source(&self, group: &str, topic: &Topic, instance: &str) -> Consumer {
        let consumer = self.broker.consumer(group, [topic.clone()]).protocol(self.protocol);
        consumer.instance_id(instance).build()
    }

    async fn ranges(&self, group: &str, topics: &[Topic]) -> Consumer {
        let consumer = self.broker.consumer(group, topics.iter().cloned());
        consumer.protocol(self.protocol).assignor(Assignor::Range).build()
    }

    async fn sink(&self) -> Box<dyn Sink> {
        Box::new(self.broker.producer())
    }

    async fn exactly_once(
        &self,
        group: &str,
        topic: &Topic,
        transactional_id: &str,
    ) -> (Consumer, Box<dyn Sink>) {
        let consumer = self.broker.consumer(group, [topic.clone()]).protocol(self.protocol);
        let (source, sink) = consumer.exactly_once(transactional_id);
        (source, Box::new(sink))
    }

    async fn store(&self, topic: &Topic) -> Box<dyn Store> {
        Box::new(self.broker.store(topic.clone()))
    }

    async fn read(&self, topic: &Topic, isolation: Isolation) -> Vec<ConsumerRecord> {
        self.broker.records(topic, isolation)
    }

    async fn high_watermark(&self, partition: &TopicPartition) -> i64 {
        self.broker.high_watermark(partition).unwrap()
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Option<CommittedOffset> {
        self.broker.committed(group).remove(partition)
    }

    async fn alter_committed(
        &self,
        group: &str,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    ) {
        self.broker.alter_committed(group, partition, offset, metadata);
    }

    async fn recreate_topic(&self, topic: &Topic, partitions: i32) {
        self.broker.recreate_topic(topic.clone(), partitions);
    }

    async fn truncate(&self, partition: &TopicPartition, before: i64) {
        self.broker.truncate(partition, before);
    }

    async fn crash(&self, source: Consumer) {
        self.broker.crash(source.member());
    }

    async fn kill(&self, source: Consumer) {
        self.broker.crash(source.member());
    }

    async fn expire(&self, source: &Consumer) {
        self.broker.expire(source.member());
    }

    async fn abort(&self, transactional_id: &str, outputs: &[ProducerRecord]) {
        let producer = self.broker.transactional_producer(transactional_id);
        producer.begin().await.unwrap();
        producer.send(outputs).await.unwrap();
        producer.abort().await.unwrap();
    }

    async fn abandon(&self, transactional_id: &str, outputs: &[ProducerRecord]) {
        let producer = self.broker.transactional_producer(transactional_id);
        producer.begin().await.unwrap();
        producer.send(outputs).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_eager_group_keeps_every_behaviour_too() {
    conformance::all(&InMemory { protocol: Protocol::Eager, ..cooperative() }).await;
}

conformance_tests!(
    #[tokio::test(start_paused = true)]
    cooperative()
);
