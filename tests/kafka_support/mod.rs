//! Kafka as a backend of the conformance suite: any cluster that speaks the protocol.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that waits for Kafka")]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use jobstream::kafka::{KafkaConfig, exactly_once};
use jobstream::record::{ConsumerRecord, Header, ProducerRecord, Topic, TopicPartition};
use jobstream::sinks::Sink;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sources::kafka::KafkaSource;
use jobstream::state::Store;
use jobstream::state::kafka::KafkaStore;
use jobstream_testkit::broker::{CommittedOffset, Isolation};
use jobstream_testkit::conformance::{Backend, Features, behaviours};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Headers as _;
use rdkafka::producer::Producer as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use member::{Freezer, Handle, Member};

pub(crate) mod headers;
mod leave;
mod member;
mod raw;
mod transaction;
#[path = "../wrapped/mod.rs"]
mod wrapped;

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(120);

/// What differs between clusters.
#[async_trait]
pub(crate) trait Cluster: Send + Sync {
    fn bootstrap(&self) -> String;
    /// Behaviours that are checked at once.
    fn at_once(&self) -> usize;
    async fn create_topic(&self, topic: &str, partitions: i32);
    async fn recreate_topic(&self, topic: &str, partitions: i32);
    async fn truncate(&self, partition: &TopicPartition, before: i64);
}

/// A cluster, and the properties of the members.
pub(crate) struct Kafka {
    pub(crate) cluster: Arc<dyn Cluster>,
    properties: Vec<(&'static str, &'static str)>,
    cooperative: bool,
    /// Whether the pairs have two producers, which take turns.
    commits_soon: bool,
    /// Whether a member can be taken out of its group from outside.
    classic: bool,
    /// Distinguishes this run from others on the same cluster.
    run: u32,
    count: AtomicU32,
}

impl Kafka {
    pub(crate) fn cooperative(cluster: Arc<dyn Cluster>) -> Self {
        let properties = vec![("heartbeat.interval.ms", "200"), ("session.timeout.ms", "6000")];
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let run = now.subsec_nanos();
        Self {
            cluster,
            properties,
            cooperative: true,
            commits_soon: false,
            classic: true,
            run,
            count: 0.into(),
        }
    }

    /// A group whose rebalances revoke every partition; its pairs have two producers.
    pub(crate) fn eager(cluster: Arc<dyn Cluster>) -> Self {
        let mut kafka = Self::cooperative(cluster);
        kafka.properties.push(("partition.assignment.strategy", "range"));
        (kafka.cooperative, kafka.commits_soon) = (false, true);
        kafka
    }

    /// Groups of KIP-848. Their members can't be taken out by a LeaveGroup request, so that crashes and
    /// expiry are left out; librdkafka's static members of such a group can't be restarted.
    pub(crate) fn consumer_protocol(cluster: Arc<dyn Cluster>) -> Self {
        let properties = vec![("group.protocol", "consumer")];
        Self { properties, classic: false, ..Self::cooperative(cluster) }
    }

    fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    fn config(&self) -> KafkaConfig {
        KafkaConfig::new(self.cluster.bootstrap())
    }

    /// A member's settings, and its handle.
    fn member(&self, group: &str) -> (KafkaConfig, Handle) {
        let client_id = format!("member-{}-{}", self.run, self.next());
        let freezer = Arc::new(Freezer::default());
        let mut config = self.config().with_observer(freezer.clone());
        for (name, value) in &self.properties {
            config = config.property(*name, *value).unwrap();
        }
        // Causes log lines all the time, so that the brake is applied soon.
        config = config.property("debug", "cgrp").unwrap();
        config = config.property("client.id", &client_id).unwrap();
        (config, Handle { group: group.to_owned(), client_id, freezer })
    }

    fn plain(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap());
        config
    }
}

/// Runs what blocks off the test's thread.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(f).await.unwrap()
}

#[async_trait]
impl Backend for Kafka {
    type Source = Member;

    fn features(&self) -> Features {
        Features {
            transactions: true,
            cooperative: self.cooperative,
            truncation: true,
            recreation: true,
            crashes: self.classic,
            expiry: self.classic,
            static_members: self.classic,
        }
    }

    fn patience(&self) -> Duration {
        LIMIT
    }

    async fn create_topic(&self, partitions: i32) -> Topic {
        let name = format!("topic-{}-{}", self.run, self.next());
        self.cluster.create_topic(&name, partitions).await;
        name.into()
    }

    async fn source(&self, group: &str, topic: &Topic) -> Member {
        let (config, with) = self.member(group);
        let source = KafkaSource::new(&config, group, [topic.clone()]).unwrap();
        Member { source, with }
    }

    async fn static_source(&self, group: &str, topic: &Topic, instance: &str) -> Member {
        let (config, with) = self.member(group);
        let source = KafkaSource::new(&config.instance_id(instance), group, [topic.clone()]);
        Member { source: source.unwrap(), with }
    }

    async fn ranges(&self, group: &str, topics: &[Topic]) -> Member {
        let (config, with) = self.member(group);
        let assignor = match self.classic {
            true => "partition.assignment.strategy",
            false => "group.remote.assignor",
        };
        let config = config.property(assignor, "range").unwrap();
        let source = KafkaSource::new(&config, group, topics.iter().cloned()).unwrap();
        Member { source, with }
    }

    async fn sink(&self) -> Box<dyn Sink> {
        Box::new(KafkaSink::new(&self.config()).unwrap())
    }

    async fn exactly_once(
        &self,
        group: &str,
        topic: &Topic,
        transactional_id: &str,
    ) -> (Member, Box<dyn Sink>) {
        let (config, with) = self.member(group);
        let config = if self.commits_soon { config.commit_soon() } else { config };
        let pair = exactly_once(&config, group, [topic.clone()], transactional_id).await;
        let (source, sink) = pair.unwrap();
        (Member { source, with }, Box::new(sink))
    }

    async fn store(&self, topic: &Topic) -> Box<dyn Store> {
        Box::new(KafkaStore::new(&self.config(), topic.clone()).unwrap())
    }

    async fn read(&self, topic: &Topic, isolation: Isolation) -> Vec<ConsumerRecord> {
        let mut config = self.plain();
        let level = match isolation {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        };
        config.set("isolation.level", level).set("enable.partition.eof", "true");
        config.set("group.id", "reader").set("enable.auto.commit", "false");
        let topic = topic.clone();
        blocking(move || read_to_end(&config, &topic)).await
    }

    async fn high_watermark(&self, partition: &TopicPartition) -> i64 {
        let (config, partition) = (self.plain(), partition.clone());
        let ask = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let (topic, number) = (&*partition.topic, partition.partition);
            consumer.fetch_watermarks(topic, number, LIMIT).unwrap().1
        };
        blocking(ask).await
    }

    async fn committed(&self, group: &str, partition: &TopicPartition) -> Option<CommittedOffset> {
        let mut config = self.plain();
        config.set("group.id", group);
        let partition = partition.clone();
        let ask = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition(&partition.topic, partition.partition);
            let found = consumer.committed_offsets(list, LIMIT).unwrap();
            let element = found.elements().into_iter().next().unwrap();
            let Offset::Offset(offset) = element.offset() else { return None };
            let metadata = element.metadata().to_owned();
            Some(CommittedOffset { offset, metadata, leader_epoch: None })
        };
        blocking(ask).await
    }

    async fn alter_committed(
        &self,
        group: &str,
        partition: &TopicPartition,
        offset: i64,
        metadata: &str,
    ) {
        let mut config = self.plain();
        config.set("group.id", group);
        let (partition, metadata) = (partition.clone(), metadata.to_owned());
        let commit = move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = TopicPartitionList::new();
            let mut element = list.add_partition(&partition.topic, partition.partition);
            element.set_offset(Offset::Offset(offset)).unwrap();
            element.set_metadata(metadata);
            consumer.commit(&list, CommitMode::Sync)
        };
        let until = Instant::now() + LIMIT;
        while let Err(error) = blocking(commit.clone()).await {
            // A member that has left may still be there for a moment.
            let code = error.rdkafka_error_code();
            assert_eq!(code, Some(RDKafkaErrorCode::UnknownMemberId));
            assert!(Instant::now() < until, "{group} still has a member");
        }
    }

    async fn recreate_topic(&self, topic: &Topic, partitions: i32) {
        self.cluster.recreate_topic(topic, partitions).await;
    }

    async fn truncate(&self, partition: &TopicPartition, before: i64) {
        self.cluster.truncate(partition, before).await;
    }

    async fn crash(&self, source: Member) {
        source.with.freezer.freeze().await;
        self.expire(&source).await;
        // Its threads stand still for as long as the test's process lives.
        std::mem::forget(source);
    }

    /// Its heartbeats go on.
    async fn kill(&self, source: Member) {
        source.with.freezer.freeze().await;
        std::mem::forget(source);
    }

    async fn expire(&self, source: &Member) {
        let (bootstrap, config) = (self.cluster.bootstrap(), self.plain());
        let (group, client_id) = (source.with.group.clone(), source.with.client_id.clone());
        blocking(move || leave::remove_member(&bootstrap, &config, &group, &client_id)).await;
    }

    async fn abort(&self, transactional_id: &str, outputs: &[ProducerRecord]) {
        tokio::task::block_in_place(|| {
            let producer = transaction::open(&self.plain(), transactional_id, outputs);
            producer.abort_transaction(LIMIT).unwrap();
        });
    }

    async fn abandon(&self, transactional_id: &str, outputs: &[ProducerRecord]) {
        let open = || drop(transaction::open(&self.plain(), transactional_id, outputs));
        tokio::task::block_in_place(open);
    }
}

fn read_to_end(config: &ClientConfig, topic: &Topic) -> Vec<ConsumerRecord> {
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let mut list = TopicPartitionList::new();
    for number in 0..partitions {
        list.add_partition_offset(topic, number as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let (mut records, mut ends) = (Vec::new(), 0);
    while ends < partitions {
        match consumer.poll(LIMIT).expect("an end of each partition") {
            Ok(message) => records.push(owned(&message, topic)),
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    records.sort_by_key(|record| (record.partition.partition, record.offset));
    records
}

fn owned(message: &rdkafka::message::BorrowedMessage<'_>, topic: &Topic) -> ConsumerRecord {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers = headers.map(|header| Header {
        name: header.key.to_owned().into(),
        value: header.value.map(Bytes::copy_from_slice),
    });
    let partition = TopicPartition::new(topic.clone(), message.partition());
    let mut record = ConsumerRecord::new(partition, message.offset(), 0).headers(headers.collect());
    record.timestamp = message.timestamp().to_millis();
    record.key = message.key().map(Bytes::copy_from_slice);
    record.value = message.payload().map(Bytes::copy_from_slice);
    record
}

/// Checks every behaviour that the backend's features allow, several at once, and names those that
/// do not hold. `CONFORMANCE=name` checks one.
pub(crate) async fn check(backend: &Kafka) {
    let features = backend.features();
    let only = std::env::var("CONFORMANCE").ok();
    let chosen = behaviours::<Kafka>().into_iter().filter(|behaviour| {
        (behaviour.applies)(&features) && only.as_ref().is_none_or(|only| behaviour.name == only)
    });
    let checks = futures::stream::iter(chosen).map(|behaviour| async move {
        let checked = AssertUnwindSafe((behaviour.check)(backend)).catch_unwind().await;
        checked.err().map(|_| behaviour.name)
    });
    let broken: Vec<_> =
        checks.buffer_unordered(backend.cluster.at_once()).filter_map(async |b| b).collect().await;
    assert!(broken.is_empty(), "do not hold: {broken:#?}");
}
