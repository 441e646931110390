//! Kafka's misfortunes: producers that are fenced, a broker that is killed, a leader that lags,
//! credentials that are refused.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::kafka::{KafkaConfig, NewTopic, Topics};
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use jobstream::sources::{Assignment, SourceError, SourceEvent};
use tokio::time::timeout;

mod credentials;
#[path = "../kafka_broker/mod.rs"]
mod kafka_broker;
mod lagging;
mod pair;
mod topology;

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(120);

type Events<'a> = BoxStream<'a, Result<SourceEvent, SourceError>>;

async fn create(config: &KafkaConfig, topic: &str) {
    let topic = NewTopic { name: topic.into(), partitions: 1, replicas: 1, settings: Vec::new() };
    Topics::new(config).unwrap().ensure(&topic).await.unwrap();
}

/// Publishes records in no transaction.
async fn publish(config: &KafkaConfig, outputs: Vec<ProducerRecord>) {
    let sink = KafkaSink::new(config).unwrap();
    let batch = Batch { outputs, positions: Vec::new() };
    timeout(LIMIT, sink.publish(&batch)).await.unwrap().unwrap();
    sink.close().await.unwrap();
}

async fn assigned(events: &mut Events<'_>) -> Assignment {
    match timeout(LIMIT, events.next()).await.unwrap() {
        Some(Ok(SourceEvent::Assigned(assigned))) => assigned[0].clone(),
        other => panic!("found {other:?}, expected an assignment"),
    }
}
