//! Topics of the bench: made, filled, deleted.

use std::time::Duration;

use bytes::Bytes;
use jobstream::kafka::{KafkaConfig, NewTopic, Topics};
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::time::sleep;

use super::jobs::key;

pub(crate) const PARTITIONS: i32 = 6;
/// How often the broker is asked whether it knows a new topic.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const BATCH_RECORDS: usize = 10_000;

pub(crate) async fn create(bootstrap: &str, topic: &str) {
    let topics = Topics::new(&KafkaConfig::new(bootstrap)).expect("a client");
    let new =
        NewTopic { name: topic.into(), partitions: PARTITIONS, replicas: 1, settings: Vec::new() };
    topics.ensure(&new).await.expect("the topic can be made");
    while topics.partitions(&new.name).await.expect("an answer") != Some(PARTITIONS as usize) {
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Makes a topic and gives it so many jobs, each with its own key.
pub(crate) async fn fill(
    bootstrap: &str,
    topic: &str,
    records: usize,
    job: impl Fn(usize) -> Bytes,
) {
    create(bootstrap, topic).await;
    let sink = KafkaSink::new(&KafkaConfig::new(bootstrap)).expect("a client");
    for first in (0..records).step_by(BATCH_RECORDS) {
        let record = |number| ProducerRecord::to(topic).key(key(number)).value(job(number));
        let outputs = (first..records.min(first + BATCH_RECORDS)).map(record).collect();
        sink.publish(&Batch { outputs, positions: Vec::new() }).await.expect("no fault is set");
    }
    sink.close().await.expect("no fault is set");
}

pub(crate) async fn delete(bootstrap: &str, topics: &[&str]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("a client");
    let deleted = admin.delete_topics(topics, &AdminOptions::new()).await.expect("an answer");
    for topic in deleted {
        topic.expect("the topic can be deleted");
    }
}
