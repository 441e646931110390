//! The source and the sink on Kafka while brokers and topics go away, and requests are refused: on the
//! listener of the in-memory broker.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that waits for Kafka")]

mod expelled;
mod pair;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::kafka::{Event, KafkaConfig, Observer};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Published, Sink as _, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{CommitError, Source as _, SourceError, SourceEvent};
use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use tokio::time::{sleep, timeout};

/// A broker, and the listener that serves it.
struct Brokers {
    broker: Broker,
    listener: Listener,
}

impl Brokers {
    async fn start() -> Self {
        let broker = Broker::new();
        let listener = broker.listen("127.0.0.1:0").await.unwrap();
        Self { broker, listener }
    }

    fn config(&self) -> KafkaConfig {
        KafkaConfig::new(self.listener.bootstrap())
    }

    fn create_topic(&self, topic: &str, partitions: i32) {
        assert!(self.broker.create_topic(topic, partitions));
    }

    /// Adds a fault, as a line of a script of faults.
    fn fault(&self, line: &str) {
        self.listener.faults().push(line.parse().unwrap());
    }
}

/// A configuration with these properties.
fn with(config: KafkaConfig, properties: &[(&str, &str)]) -> KafkaConfig {
    properties.iter().fold(config, |config, (name, value)| config.property(*name, *value).unwrap())
}

/// The only node.
const NODE: i32 = 1;
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
async fn member(brokers: &Brokers, config: &KafkaConfig) -> (KafkaSource, PartitionPosition) {
    brokers.create_topic("jobs", 1);
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
    let brokers = Brokers::start().await;
    brokers.create_topic("results", 1);
    let sink = Arc::new(KafkaSink::new(&brokers.config()).unwrap());
    sink.publish(&batch(vec![record("results", "0")])).await.unwrap();
    brokers.listener.take_away(NODE);
    let publishing = tokio::spawn({
        let sink = sink.clone();
        async move { sink.publish(&batch(vec![record("results", "1")])).await }
    });
    sleep(Duration::from_secs(1)).await;
    assert!(!publishing.is_finished(), "published without a broker");
    brokers.listener.bring_back(NODE);
    let published = timeout(LIMIT, publishing).await.unwrap().unwrap();
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_in_time_while_the_broker_is_away() {
    let brokers = Brokers::start().await;
    let config = brokers.config().close_limit(Duration::from_secs(2));
    let (source, position) = member(&brokers, &config).await;
    let sink = KafkaSink::new(&config).unwrap();
    brokers.listener.take_away(NODE);
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
    let strategies = ["cooperative-sticky", "range"].into_iter();
    for (strategy, is_static) in strategies.flat_map(|it| [(it, false), (it, true)]) {
        let brokers = Brokers::start().await;
        brokers.create_topic("jobs", 2);
        // A close that waited for the release would wait that long.
        let config = brokers.config().close_limit(10 * LIMIT);
        let config = config.property("partition.assignment.strategy", strategy).unwrap();
        let config = config.property("heartbeat.interval.ms", "100").unwrap();
        let named = if is_static { config.clone().instance_id("one") } else { config.clone() };
        let first = KafkaSource::new(&named, "group", ["jobs"]).unwrap();
        let mut events = first.events();
        let assigned = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(assigned, Some(Ok(SourceEvent::Assigned(_)))), "found {assigned:?}");
        let second = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
        let _joining = second.events();
        let revoked = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(revoked, Some(Ok(SourceEvent::Revoked(_)))), "found {revoked:?}");
        let closed = timeout(LIMIT, first.close()).await.expect("it waits for no broker");
        closed.unwrap_or_else(|error| panic!("{strategy}, static: {is_static}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_look_at_its_stream_loses_its_partitions() {
    let brokers = Brokers::start().await;
    brokers.create_topic("jobs", 1);
    let properties = [
        ("heartbeat.interval.ms", "200"),
        ("session.timeout.ms", "6000"),
        ("max.poll.interval.ms", "6000"),
    ];
    let config = with(brokers.config(), &properties);
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
    let brokers = Brokers::start().await;
    let config = brokers.config().close_limit(10 * LIMIT);
    let (source, _) = member(&brokers, &config).await;
    let sink = KafkaSink::new(&config).unwrap();
    brokers.listener.take_away(NODE);
    let unsent = batch(vec![record("jobs", "never")]);
    assert!(timeout(Duration::from_millis(200), sink.publish(&unsent)).await.is_err());
    let dropped = tokio::task::spawn_blocking(|| drop((source, sink)));
    timeout(LIMIT, dropped).await.expect("it waits for no broker").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_is_published_although_its_topic_comes_later() {
    let brokers = Brokers::start().await;
    let seen = Arc::new(Seen::default());
    let config = brokers.config().with_observer(seen.clone());
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
    brokers.create_topic("results", 1);
    let published = timeout(LIMIT, publishing).await.unwrap().unwrap();
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_record_in_a_batch_that_is_refused_for_its_size_is_published_alone() {
    let brokers = Brokers::start().await;
    brokers.create_topic("results", 1);
    let config = brokers.config().property("linger.ms", "50").unwrap();
    let sink = KafkaSink::new(&config).unwrap();
    brokers.fault("produce nth=1 error MESSAGE_TOO_LARGE");
    let outputs = (0..10).map(|n| record("results", &n.to_string())).collect();
    let published = timeout(LIMIT, sink.publish(&batch(outputs))).await.unwrap();
    assert!(
        matches!(&published, Ok(Published { has_positions: false, .. })),
        "found {published:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_commit_says_whether_it_can_be_made_again() {
    for (code, is_fenced) in [
        ("ILLEGAL_GENERATION", true),
        ("UNKNOWN_MEMBER_ID", true),
        ("REBALANCE_IN_PROGRESS", false),
    ] {
        let brokers = Brokers::start().await;
        let (source, position) = member(&brokers, &brokers.config()).await;
        brokers.fault(&format!("offset-commit nth=1 error {code}"));
        let refused = source.commit(std::slice::from_ref(&position)).await;
        match refused {
            Err(CommitError::Fenced(_)) => assert!(is_fenced, "{code:?}"),
            Err(CommitError::Transient(_)) => assert!(!is_fenced, "{code:?}"),
            other => panic!("{code:?}: found {other:?}"),
        }
    }
}

/// A static member, which loses its session soon.
fn static_member(brokers: &Brokers) -> KafkaSource {
    let properties = [
        ("heartbeat.interval.ms", "200"),
        ("reconnect.backoff.max.ms", "100"),
        ("session.timeout.ms", "6000"),
    ];
    let config = with(brokers.config().instance_id("one"), &properties);
    brokers.create_topic("jobs", 1);
    KafkaSource::new(&config, "group", ["jobs"]).unwrap()
}

/// The commit that waits for the coordinator goes without its member id once the session has ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_has_lost_its_session_and_fences_itself_joins_again() {
    let brokers = Brokers::start().await;
    let source = static_member(&brokers);
    let mut events = source.events();
    let position = assigned(&mut events).await;
    brokers.listener.take_away(NODE);
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
    brokers.fault("offset-commit nth=1 error FENCED_INSTANCE_ID");
    brokers.listener.bring_back(NODE);
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
    let brokers = Brokers::start().await;
    brokers.create_topic("jobs", 1);
    let partition = TopicPartition::new("jobs", 0);
    brokers.broker.alter_committed("group", &partition, 3, "consumer-7@host");
    for _ in 0..3 {
        brokers.broker.produce(record("jobs", "x")).unwrap();
    }
    let seen = Arc::new(Seen::default());
    let config = brokers.config().with_observer(seen.clone());
    let source = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let first = timeout(LIMIT, source.events().next()).await.unwrap();
    let Some(Ok(SourceEvent::Assigned(assigned))) = first else { panic!("found {first:?}") };
    assert_eq!(assigned[0].position, Some(Position::at(3)));
    let seen = seen.0.lock().unwrap().clone();
    assert!(seen.len() == 1 && seen[0].contains("consumer-7@host"), "found {seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offset_that_no_record_has_counts_as_no_commit_of_its_partition_alone() {
    for offset in [-2, -3, -100, -1_002, -2_010, i64::MIN] {
        let brokers = Brokers::start().await;
        brokers.create_topic("jobs", 2);
        let partitions = [0, 1].map(|partition| TopicPartition::new("jobs", partition));
        brokers.broker.alter_committed("group", &partitions[0], offset, "");
        brokers.broker.alter_committed("group", &partitions[1], 3, "");
        let seen = Arc::new(Seen::default());
        let config = brokers.config().with_observer(seen.clone());
        let source = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
        let first = timeout(LIMIT, source.events().next()).await.unwrap();
        let Some(Ok(SourceEvent::Assigned(assigned))) = first else { panic!("found {first:?}") };
        let found: Vec<_> = assigned.into_iter().map(|it| (it.partition, it.position)).collect();
        let [bad, good] = partitions;
        assert_eq!(found, [(bad, None), (good, Some(Position::at(3)))], "{offset}");
        let seen = seen.0.lock().unwrap().clone();
        assert!(seen.len() == 1 && seen[0].contains(&offset.to_string()), "{offset}: {seen:?}");
    }
}

/// Keeps what is reported about foreign commits, and about outputs that wait.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn on(&self, event: &Event<'_>) {
        if let Event::ForeignCommit { reason, .. } | Event::PublishRetried { reason, .. } = event {
            self.0.lock().unwrap().push((*reason).to_owned());
        }
    }
}

/// librdkafka asks the former coordinator, and nobody else, if it is left to ask by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_read_although_the_coordinator_moves_while_its_commit_is_asked_for() {
    for nth in [1, 2] {
        let broker = Broker::new();
        let listener = broker.listener().nodes(2).listen("127.0.0.1:0").await.unwrap();
        let brokers = Brokers { broker, listener };
        brokers.fault(&format!("offset-fetch nth={nth} move-coordinators"));
        let config = with(brokers.config(), &[("auto.offset.reset", "earliest")]);
        brokers.create_topic("jobs", 1);
        let source = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
        let mut events = source.events();
        assigned(&mut events).await;
        brokers.broker.produce(record("jobs", "0")).unwrap();
        let event = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(event, Some(Ok(SourceEvent::Record(_)))), "nth={nth}: {event:?}");
    }
}

/// How many partitions of a topic have their offset reset at once, since it is out of range, and how
/// many records each of them has.
const RESETS: i32 = 30;
const RECORDS: i64 = 600;

/// A source, whose group has committed this offset for each of these partitions, has yielded all records
/// from this one on. Gives how many requests of this kind that took.
async fn requests_of_resets(request: &str, committed: i64, from: i64) -> u64 {
    let brokers = Brokers::start().await;
    brokers.create_topic("jobs", RESETS);
    for number in 0..RESETS {
        let partition = TopicPartition::new("jobs", number);
        for _ in 0..RECORDS {
            let record = ProducerRecord { partition: Some(number), ..record("jobs", "x") };
            brokers.broker.produce(record).unwrap();
        }
        brokers.broker.truncate(&partition, from);
        brokers.broker.alter_committed("group", &partition, committed, "");
    }
    let counted = brokers.listener.faults().push(format!("{request} delay 1ms").parse().unwrap());
    // What has nothing to do with resets would be counted, too.
    let properties = [("topic.metadata.refresh.interval.ms", "-1")];
    let source = KafkaSource::new(&with(brokers.config(), &properties), "group", ["jobs"]).unwrap();
    let (mut events, mut yielded) = (source.events(), 0);
    let (mut resets, mut truncated) = (0, 0);
    while yielded < i64::from(RESETS) * (RECORDS - from) {
        match timeout(LIMIT, events.next()).await.unwrap().unwrap().unwrap() {
            SourceEvent::Record(_) => yielded += 1,
            SourceEvent::Assigned(assigned) => {
                resets += assigned.iter().filter(|it| it.reset.is_some()).count();
            }
            SourceEvent::Truncated { .. } => truncated += 1,
            event => panic!("found {event:?}"),
        }
    }
    assert_eq!(resets.max(truncated), RESETS as usize, "each is reported");
    brokers.listener.faults().struck(counted)
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_beyond_the_ends_of_many_partitions_are_asked_about_together() {
    let asked = requests_of_resets("metadata", 1_000_000, 0).await;
    assert!(asked < RESETS as u64, "{asked} questions about topics");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_has_removed_of_many_partitions_is_asked_about_together() {
    // librdkafka asks once for each offset that is reset.
    let asked = requests_of_resets("list-offsets", 1, 100).await;
    assert!(asked < 2 * RESETS as u64, "{asked} questions about offsets");
}
