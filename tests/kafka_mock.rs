//! The conformance suite on librdkafka's own cluster, which lives in this process.
//!
//! What it can't do, and why: transactions (its EndTxn does nothing, so that aborted records are
//! visible), truncation (it has no DeleteRecords), crashes and expiry (it has no DescribeGroups, so
//! that a member can't be taken out from outside). Real Kafka runs them: `kafka_real.rs`.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with a thread")]

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::kafka::{KafkaConfig, KafkaEvent, KafkaObserver};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::ProducerRecord;
use jobstream::record::TopicPartition;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Published, Sink as _, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{CommitError, Source as _, SourceError, SourceEvent};
use jobstream_testkit::conformance::Features;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use kafka_support::{Cluster, Kafka, check};

mod kafka_support;

type Order = Box<dyn FnOnce(&MockCluster<'static, DefaultProducerContext>) + Send>;

/// The cluster stays on the thread that has made it: it must not move.
struct Mock {
    bootstrap: String,
    orders: Sender<Order>,
}

impl Mock {
    fn start() -> Arc<Self> {
        let (orders, asked) = channel::<Order>();
        let (started, bootstrap) = channel();
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).unwrap();
            started.send(cluster.bootstrap_servers()).unwrap();
            asked.into_iter().for_each(|order| order(&cluster));
        });
        Arc::new(Self { bootstrap: bootstrap.recv().unwrap(), orders })
    }

    /// Does something with the cluster, on its thread.
    async fn order(
        &self,
        order: impl FnOnce(&MockCluster<'static, DefaultProducerContext>) + Send + 'static,
    ) {
        let (done, finished) = oneshot::channel();
        let order = move |cluster: &_| {
            order(cluster);
            done.send(()).unwrap();
        };
        self.orders.send(Box::new(order)).unwrap();
        finished.await.unwrap();
    }
}

#[async_trait]
impl Cluster for Mock {
    fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    fn features(&self) -> Features {
        Features {
            transactions: false,
            cooperative: true,
            truncation: false,
            recreation: false,
            crashes: false,
            expiry: false,
        }
    }

    /// They wait more than they work: each join of a group takes 3 s.
    fn at_once(&self) -> usize {
        32
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        let topic = topic.to_owned();
        self.order(move |cluster| cluster.create_topic(&topic, partitions, 1).unwrap()).await;
    }

    async fn recreate_topic(&self, _topic: &str, _partitions: i32) {
        unreachable!("the mock cluster has no DeleteTopics")
    }

    async fn truncate(&self, _partition: &TopicPartition, _before: i64) {
        unreachable!("the mock cluster has no DeleteRecords")
    }
}

/// It refuses every commit while a rebalance is under way; Kafka takes those of the old generation.
/// In a cooperative group too, a rebalance may follow the one that has asked a partition back.
const REFUSED_COMMITS: [&str; 1] = ["a_revoked_partition_stays_until_it_is_released"];

#[tokio::test(flavor = "multi_thread")]
async fn a_cooperative_group_keeps_every_behaviour() {
    check(&Kafka::cooperative(Mock::start()), &REFUSED_COMMITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eager_group_keeps_every_behaviour() {
    check(&Kafka::eager(Mock::start()), &REFUSED_COMMITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_cannot_be_read_costs_nothing_else() {
    kafka_support::headers::a_header_that_cannot_be_read_costs_nothing_else(&*Mock::start()).await;
}

const BROKER: i32 = 1;
/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(120);
/// The wait before a condition is looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

fn record(topic: &str, value: &str) -> ProducerRecord {
    ProducerRecord { partition: Some(0), ..ProducerRecord::to(topic).value(value.to_owned()) }
}

fn batch(outputs: Vec<ProducerRecord>) -> Batch {
    Batch { outputs, positions: Vec::new() }
}

/// A member that has been assigned the topic's only partition.
async fn member(mock: &Mock, config: &KafkaConfig) -> (KafkaSource, PartitionPosition) {
    mock.create_topic("jobs", 1).await;
    let source = KafkaSource::new(config, "group", ["jobs"]).unwrap();
    let position = assigned(&mut source.events()).await;
    (source, position)
}

/// Waits for the assignment of the topic's only partition, and gives its begin.
async fn assigned(
    events: &mut BoxStream<'_, Result<SourceEvent, SourceError>>,
) -> PartitionPosition {
    let first = timeout(LIMIT, events.next()).await.unwrap();
    let Some(Ok(SourceEvent::Assigned(assigned))) = first else { panic!("found {first:?}") };
    let (partition, generation) = (assigned[0].partition.clone(), assigned[0].generation);
    PartitionPosition { partition, generation, position: Position::at(0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_waits_for_a_broker_that_is_away() {
    let mock = Mock::start();
    mock.create_topic("results", 1).await;
    let sink = Arc::new(KafkaSink::new(&KafkaConfig::new(mock.bootstrap())).unwrap());
    sink.publish(&batch(vec![record("results", "0")])).await.unwrap();
    mock.order(|cluster| cluster.broker_down(BROKER).unwrap()).await;
    let publishing = tokio::spawn({
        let sink = sink.clone();
        async move { sink.publish(&batch(vec![record("results", "1")])).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!publishing.is_finished(), "published without a broker");
    mock.order(|cluster| cluster.broker_up(BROKER).unwrap()).await;
    let published = timeout(LIMIT, publishing).await.unwrap().unwrap();
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_in_time_while_the_broker_is_away() {
    let mock = Mock::start();
    let config = KafkaConfig::new(mock.bootstrap()).close_limit(Duration::from_secs(2));
    let (source, position) = member(&mock, &config).await;
    let sink = KafkaSink::new(&config).unwrap();
    mock.order(|cluster| cluster.broker_down(BROKER).unwrap()).await;
    let unsent = batch(vec![record("jobs", "never")]);
    assert!(timeout(Duration::from_millis(200), sink.publish(&unsent)).await.is_err());
    let commit = source.commit(std::slice::from_ref(&position));
    assert!(timeout(Duration::from_millis(200), commit).await.is_err());
    let flushed = timeout(LIMIT, sink.close()).await.expect("an end");
    assert!(matches!(flushed, Err(SinkError::Broken(_))), "found {flushed:?}");
    // Whether or not the group can be notified, there is an end.
    let _ = timeout(LIMIT, source.close()).await.expect("an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_does_not_wait_for_the_release_of_what_was_asked_back() {
    for strategy in ["cooperative-sticky", "range"] {
        let mock = Mock::start();
        mock.create_topic("jobs", 2).await;
        // A close that waited for the release would wait that long.
        let config = KafkaConfig::new(mock.bootstrap()).close_limit(10 * LIMIT);
        let config = config.property("partition.assignment.strategy", strategy).unwrap();
        let config = config.property("heartbeat.interval.ms", "100").unwrap();
        let first = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
        let mut events = first.events();
        let assigned = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(assigned, Some(Ok(SourceEvent::Assigned(_)))), "found {assigned:?}");
        let second = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
        let _joining = second.events();
        let revoked = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(revoked, Some(Ok(SourceEvent::Revoked(_)))), "found {revoked:?}");
        let closed = timeout(LIMIT, first.close()).await.expect("it waits for no broker");
        closed.unwrap_or_else(|error| panic!("{strategy}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_look_at_its_stream_loses_its_partitions() {
    let mock = Mock::start();
    mock.create_topic("jobs", 1).await;
    let properties = [
        ("heartbeat.interval.ms", "200"),
        ("session.timeout.ms", "3000"),
        ("max.poll.interval.ms", "3000"),
    ];
    let config = KafkaConfig::new(mock.bootstrap());
    let config = properties
        .iter()
        .fold(config, |config, (name, value)| config.property(*name, *value).unwrap());
    let hung = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let mut events = hung.events();
    let assigned = timeout(LIMIT, events.next()).await.unwrap();
    assert!(matches!(assigned, Some(Ok(SourceEvent::Assigned(_)))), "found {assigned:?}");
    let other = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let mut others = other.events();
    let taken = timeout(LIMIT, others.next()).await.unwrap();
    assert!(matches!(taken, Some(Ok(SourceEvent::Assigned(_)))), "found {taken:?}");
    let lost = async { while !matches!(events.next().await, Some(Ok(SourceEvent::Lost(_)))) {} };
    timeout(LIMIT, lost).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_does_not_wait_for_a_broker_that_is_away() {
    let mock = Mock::start();
    let config = KafkaConfig::new(mock.bootstrap()).close_limit(10 * LIMIT);
    let (source, _) = member(&mock, &config).await;
    let sink = KafkaSink::new(&config).unwrap();
    mock.order(|cluster| cluster.broker_down(BROKER).unwrap()).await;
    let unsent = batch(vec![record("jobs", "never")]);
    assert!(timeout(Duration::from_millis(200), sink.publish(&unsent)).await.is_err());
    let dropped = tokio::task::spawn_blocking(|| drop((source, sink)));
    timeout(LIMIT, dropped).await.expect("it waits for no broker").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_published_although_its_topic_comes_later() {
    let mock = Mock::start();
    mock.order(|cluster| {
        let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        cluster.create_topic("results", 1, 1).unwrap();
        cluster.topic_error("results", missing).unwrap();
    })
    .await;
    let seen = Arc::new(Seen::default());
    let config = KafkaConfig::new(mock.bootstrap()).with_observer(seen.clone());
    let config = config.property("topic.metadata.propagation.max.ms", "100").unwrap();
    let sink = Arc::new(KafkaSink::new(&config).unwrap());
    let publishing = tokio::spawn({
        let sink = sink.clone();
        async move { sink.publish(&batch(vec![record("results", "0")])).await }
    });
    let waits = async {
        while seen.0.lock().unwrap().is_empty() {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, waits).await.expect("a word");
    let expected = "topic results does not exist: its outputs wait until it is created";
    assert_eq!(seen.0.lock().unwrap()[0], expected);
    assert!(!publishing.is_finished(), "published to nowhere");
    let none = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    mock.order(move |cluster| cluster.topic_error("results", none).unwrap()).await;
    let published = timeout(LIMIT, publishing).await.unwrap().unwrap();
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_record_in_a_batch_that_is_refused_for_its_size_is_published_alone() {
    let mock = Mock::start();
    mock.create_topic("results", 1).await;
    let config = KafkaConfig::new(mock.bootstrap()).property("linger.ms", "50").unwrap();
    let sink = KafkaSink::new(&config).unwrap();
    mock.order(|cluster| {
        let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
        cluster.request_errors(RDKafkaApiKey::Produce, &[too_large]);
    })
    .await;
    let outputs = (0..10).map(|n| record("results", &n.to_string())).collect();
    let published = timeout(LIMIT, sink.publish(&batch(outputs))).await.unwrap();
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_says_whether_it_can_be_made_again() {
    use RDKafkaRespErr as Code;
    for (code, is_fenced) in [
        (Code::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, true),
        (Code::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, true),
        (Code::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, false),
    ] {
        let mock = Mock::start();
        let (source, position) = member(&mock, &KafkaConfig::new(mock.bootstrap())).await;
        mock.order(move |cluster| {
            cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[code]);
        })
        .await;
        let refused = source.commit(std::slice::from_ref(&position)).await;
        match refused {
            Err(CommitError::Fenced(_)) => assert!(is_fenced, "{code:?}"),
            Err(CommitError::Transient(_)) => assert!(!is_fenced, "{code:?}"),
            other => panic!("{code:?}: found {other:?}"),
        }
    }
}

const FENCED: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;

/// A static member, which loses its session soon.
async fn static_member(mock: &Mock) -> KafkaSource {
    let properties = [
        ("heartbeat.interval.ms", "200"),
        ("reconnect.backoff.max.ms", "100"),
        ("session.timeout.ms", "4000"),
    ];
    let config = KafkaConfig::new(mock.bootstrap()).instance_id("one");
    let config = properties
        .iter()
        .fold(config, |config, (name, value)| config.property(*name, *value).unwrap());
    mock.create_topic("jobs", 1).await;
    KafkaSource::new(&config, "group", ["jobs"]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_another_process_replaces_ends() {
    let mock = Mock::start();
    let source = static_member(&mock).await;
    let mut events = source.events();
    let position = assigned(&mut events).await;
    mock.order(|cluster| cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[FENCED])).await;
    let refused = source.commit(std::slice::from_ref(&position)).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
    let end = async {
        loop {
            match events.next().await {
                Some(Ok(SourceEvent::Lost(_))) => {}
                end => return end,
            }
        }
    };
    let end = timeout(LIMIT, end).await.unwrap();
    let Some(Err(error)) = end else { panic!("found {end:?}") };
    assert!(error.to_string().contains("group.instance.id"), "{error}");
}

/// The commit that waits for the coordinator goes without its member id once the session has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_has_lost_its_session_and_fences_itself_joins_again() {
    let mock = Mock::start();
    let source = static_member(&mock).await;
    let mut events = source.events();
    let position = assigned(&mut events).await;
    mock.order(|cluster| cluster.broker_down(BROKER).unwrap()).await;
    // A commit waits for its coordinator as long as a session lasts: it is to wait for longer than
    // the session does, whose last heartbeat was before, and no longer than the broker is away.
    sleep(Duration::from_secs(2)).await;
    let positions = [position];
    let mut commit = source.commit(&positions);
    let lost = tokio::select! {
        biased;
        answered = &mut commit => panic!("no broker is there: {answered:?}"),
        lost = timeout(LIMIT, events.next()) => lost.unwrap(),
    };
    assert!(matches!(lost, Some(Ok(SourceEvent::Lost(_)))), "found {lost:?}");
    mock.order(|cluster| {
        cluster.request_errors(RDKafkaApiKey::OffsetCommit, &[FENCED]);
        cluster.broker_up(BROKER).unwrap();
    })
    .await;
    let refused = timeout(LIMIT, commit).await.unwrap();
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
    let again = timeout(LIMIT, events.next()).await.unwrap();
    let Some(Ok(SourceEvent::Assigned(assigned))) = again else { panic!("found {again:?}") };
    let [mut newer] = positions;
    newer.generation += 1;
    let found = (&assigned[0].partition, assigned[0].generation);
    assert_eq!(found, (&newer.partition, newer.generation));
    source.commit(&[newer]).await.unwrap();
    source.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_another_client_is_reported_and_taken_as_an_empty_set() {
    let mock = Mock::start();
    mock.create_topic("jobs", 1).await;
    let mut plain = rdkafka::ClientConfig::new();
    plain.set("bootstrap.servers", mock.bootstrap()).set("group.id", "group");
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = plain.create().unwrap();
        let mut offsets = TopicPartitionList::new();
        let mut element = offsets.add_partition("jobs", 0);
        element.set_offset(Offset::Offset(3)).unwrap();
        element.set_metadata("consumer-7@host");
        consumer.commit(&offsets, CommitMode::Sync).unwrap();
    })
    .await
    .unwrap();
    let seen = Arc::new(Seen::default());
    let config = KafkaConfig::new(mock.bootstrap()).with_observer(seen.clone());
    let source = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let first = timeout(LIMIT, source.events().next()).await.unwrap();
    let Some(Ok(SourceEvent::Assigned(assigned))) = first else { panic!("found {first:?}") };
    assert_eq!(assigned[0].position, Some(Position::at(3)));
    let seen = seen.0.lock().unwrap().clone();
    assert!(seen.len() == 1 && seen[0].contains("consumer-7@host"), "found {seen:?}");
}

/// Keeps what is reported about foreign metadata, and about outputs that wait.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<String>>);

impl KafkaObserver for Seen {
    fn on(&self, event: &KafkaEvent<'_>) {
        if let KafkaEvent::ForeignMetadata { reason, .. }
        | KafkaEvent::PublishRetried { reason, .. } = event
        {
            self.0.lock().unwrap().push((*reason).to_owned());
        }
    }
}
