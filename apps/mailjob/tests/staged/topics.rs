//! What is in a topic, as a `read_committed` reader finds it; and records that no job is made of.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use jobstream::kafka::KafkaConfig;
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::metadata::MetadataPartition;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout};

use crate::stage::{LIMIT, LOOK_AGAIN_AFTER};

const POLL: Duration = Duration::from_millis(100);

/// A record that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) partition: i32,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

/// What a test looks at in a result.
#[derive(Deserialize)]
pub(crate) struct Outcome {
    #[serde(rename = "Id")]
    pub(crate) id: String,
    #[serde(rename = "Status")]
    pub(crate) status: i64,
}

impl Found {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }

    pub(crate) fn outcome(&self) -> Outcome {
        serde_json::from_slice(self.value.as_ref().expect("a value")).unwrap()
    }
}

impl From<&BorrowedMessage<'_>> for Found {
    fn from(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let header = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.unwrap_or_default().to_owned())
        };
        Self {
            partition: message.partition(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers.map(header).collect(),
        }
    }
}

/// Reads a whole topic, which exists.
pub(crate) struct Reader {
    pub(crate) config: ClientConfig,
    pub(crate) topic: String,
}

impl Reader {
    /// All that is there, once there is a result of each of so many jobs.
    pub(crate) async fn of_jobs(self, jobs: usize) -> Vec<Found> {
        let mut ids = BTreeSet::new();
        let mut seen = 0;
        self.until(move |found| {
            ids.extend(found[seen..].iter().map(|result| result.outcome().id));
            seen = found.len();
            ids.len() >= jobs
        })
        .await
    }

    /// All that is there, once it is `enough`; panics when nothing comes for long.
    pub(crate) async fn until(
        self,
        enough: impl FnMut(&[Found]) -> bool + Send + 'static,
    ) -> Vec<Found> {
        blocking(move || self.read(enough)).await
    }

    fn read(&self, mut enough: impl FnMut(&[Found]) -> bool) -> Vec<Found> {
        let (consumer, partitions) = self.consumer();
        let (mut found, mut at_end) = (Vec::new(), BTreeSet::new());
        let mut until = Instant::now() + LIMIT;
        while at_end.len() < partitions || !enough(&found) {
            assert!(Instant::now() < until, "{}: found {} records", self.topic, found.len());
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    at_end.remove(&message.partition());
                    until = Instant::now() + LIMIT;
                    found.push(Found::from(&message));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_end.insert(partition);
                }
                // Brokers that are away come back.
                Some(Err(_)) | None => {}
            }
        }
        found
    }

    /// A consumer without a group, at the begin of every partition, and their number.
    fn consumer(&self) -> (BaseConsumer, usize) {
        let mut config = self.config.clone();
        let consumer: BaseConsumer = config
            .set("group.id", "unused")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        let partitions = partitions(&consumer, &self.topic);
        let mut assigned = TopicPartitionList::new();
        for partition in &partitions {
            let begin = Offset::Beginning;
            assigned.add_partition_offset(&self.topic, partition.id, begin).unwrap();
        }
        consumer.assign(&assigned).unwrap();
        (consumer, partitions.len())
    }
}

#[expect(clippy::disallowed_methods, reason = "librdkafka's questions block")]
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(call).await.unwrap()
}

/// A partition, and the broker that leads it.
struct Led {
    id: i32,
    leader: i32,
    in_sync: usize,
}

fn partitions(consumer: &BaseConsumer, topic: &str) -> Vec<Led> {
    let until = Instant::now() + LIMIT;
    loop {
        if let Ok(metadata) = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)) {
            let found = metadata.topics()[0].partitions();
            if !found.is_empty() {
                let led = |partition: &MetadataPartition| Led {
                    id: partition.id(),
                    leader: partition.leader(),
                    in_sync: partition.isr().len(),
                };
                return found.iter().map(led).collect();
            }
        }
        assert!(Instant::now() < until, "no topic {topic}");
    }
}

/// The broker that coordinates a group (`__consumer_offsets`) or a transactional id
/// (`__transaction_state`): the one that leads the partition of its name's hash, as Java has it.
pub(crate) async fn coordinator(bootstrap: &str, topic: &'static str, name: &str) -> i32 {
    let hash = name
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    let partitions = partitions_of(bootstrap, topic).await;
    let own = (hash & i32::MAX) % i32::try_from(partitions.len()).unwrap();
    partitions.iter().find(|partition| partition.id == own).expect("a partition").leader
}

/// Completes when every partition of a topic has so many replicas in sync.
pub(crate) async fn replicated(bootstrap: &str, topic: &'static str, replicas: usize) {
    let replicated = async {
        while partitions_of(bootstrap, topic).await.iter().any(|p| p.in_sync < replicas) {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, replicated).await.expect("replicas in sync");
}

async fn partitions_of(bootstrap: &str, topic: &'static str) -> Vec<Led> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    blocking(move || partitions(&config.create().unwrap(), topic)).await
}

/// A key and a value, each of which may be missing.
pub(crate) type KeyAndValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Produces records as they are given, with keys or without, with values or without.
pub(crate) async fn produce(bootstrap: &str, topic: &str, records: &[KeyAndValue<'_>]) {
    let bytes = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    let record = |(key, value): &KeyAndValue<'_>| ProducerRecord {
        key: key.map(bytes),
        value: value.map(bytes),
        ..ProducerRecord::to(topic)
    };
    let sink = KafkaSink::new(&KafkaConfig::new(bootstrap)).unwrap();
    let outputs = records.iter().map(record).collect();
    sink.publish(&Batch { outputs, positions: Vec::new() }).await.unwrap();
    sink.close().await.unwrap();
}

/// How often each job has a result.
pub(crate) fn results_by_id(results: &[Found]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for result in results {
        *counts.entry(result.outcome().id).or_default() += 1;
    }
    counts
}
