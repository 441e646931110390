//! Kafka's misfortunes: fenced producers, a broker that is killed, credentials.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::codec::Json;
use jobstream::kafka::{
    ErrorKind, ExactlyOnceSink, KafkaConfig, KafkaEvent, KafkaObserver, NewTopic, Topics,
    exactly_once,
};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ConsumerRecord, ProducerRecord, TopicPartition};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, JobError, JobSink, Published, Sink as _, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Assignment, Source as _, SourceError, SourceEvent};
use jobstream::topology::{Event, Executed, Limits, Topology};
use kafka_broker::Broker;
use tokio::time::{sleep, timeout};

mod kafka_broker;

const LIMIT: Duration = Duration::from_secs(60);

type Events<'a> = BoxStream<'a, Result<SourceEvent, SourceError>>;

/// Keeps the kinds of errors that were told.
#[derive(Debug, Default)]
struct Kinds(Mutex<Vec<ErrorKind>>);

impl KafkaObserver for Kinds {
    fn on_event(&self, event: &KafkaEvent<'_>) {
        if let KafkaEvent::Error { kind, .. } = event {
            self.0.lock().unwrap().push(*kind);
        }
    }
}

async fn create(config: &KafkaConfig, topic: &str) {
    let topic = NewTopic { name: topic.into(), partitions: 1, replicas: 1, settings: Vec::new() };
    Topics::new(config).unwrap().ensure(&topic).await.unwrap();
}

async fn assigned(events: &mut Events<'_>) -> Assignment {
    match timeout(LIMIT, events.next()).await.unwrap() {
        Some(Ok(SourceEvent::Assigned(assigned))) => assigned[0].clone(),
        other => panic!("found {other:?}, expected an assignment"),
    }
}

fn batch(topic: &str, assigned: &Assignment, frontier: i64) -> Batch {
    let position = PartitionPosition {
        partition: assigned.partition.clone(),
        generation: assigned.generation,
        position: Position::at(frontier),
    };
    Batch { outputs: vec![ProducerRecord::to(topic).value("x")], positions: vec![position] }
}

/// Polls the stream while it publishes, until the transaction is not aborted any more.
async fn publish(
    events: &mut Events<'_>,
    sink: &ExactlyOnceSink,
    topic: &str,
    frontier: i64,
    mut owned: Option<Assignment>,
) {
    let published = async {
        loop {
            while owned.is_none() {
                if let Some(Ok(SourceEvent::Assigned(assigned))) = events.next().await {
                    owned = assigned.first().cloned();
                }
            }
            match sink.publish(&batch(topic, owned.as_ref().unwrap(), frontier)).await {
                Ok(Published::RecordsAndPositions) => return,
                Err(SinkError::Aborted(_)) => sleep(Duration::from_millis(100)).await,
                other => panic!("found {other:?}"),
            }
            while let Ok(Some(Ok(event))) = timeout(Duration::ZERO, events.next()).await {
                match event {
                    SourceEvent::Lost(_) => owned = None,
                    SourceEvent::Assigned(assigned) => owned = assigned.first().cloned(),
                    _ => {}
                }
            }
        }
    };
    timeout(LIMIT, published).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_fenced_pair_loses_its_assignment_joins_again_and_publishes() {
    let broker = Broker::shared();
    let topic = format!("fenced-{}", std::process::id());
    let config = KafkaConfig::new(&broker.bootstrap);
    create(&config, &topic).await;
    let (source, sink) = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let mut events = source.events();
    let first = assigned(&mut events).await;
    let newer = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let refused = timeout(LIMIT, sink.publish(&batch(&topic, &first, 0))).await.unwrap();
    assert!(matches!(refused, Err(SinkError::Aborted(_))), "found {refused:?}");
    let lost = timeout(LIMIT, events.next()).await.unwrap();
    let of_partition = |lost: &[TopicPartition]| lost == [first.partition.clone()];
    assert!(matches!(&lost, Some(Ok(SourceEvent::Lost(lost))) if of_partition(lost)), "{lost:?}");
    let second = assigned(&mut events).await;
    assert_eq!(second.generation, first.generation + 1);
    let published = timeout(LIMIT, sink.publish(&batch(&topic, &second, 1))).await.unwrap();
    assert!(matches!(published, Ok(Published::RecordsAndPositions)), "found {published:?}");
    drop(newer);
    drop(events);
    sink.close().await.unwrap();
    source.close().await.unwrap();
}

/// Counts the executions of each job, which is its value.
#[derive(Debug, Default)]
struct Counting(Mutex<BTreeMap<String, u32>>);

#[async_trait]
impl JobSink<u32, u32> for Counting {
    async fn execute(&self, job: &u32, _: &ConsumerRecord) -> Result<u32, JobError> {
        *self.0.lock().unwrap().entry(job.to_string()).or_default() += 1;
        Ok(*job)
    }
}

/// Reads, as `read_committed`, until every one of so many values is there; counts each.
async fn results(bootstrap: &str, topic: &str, expected: usize) -> BTreeMap<String, u32> {
    let config = KafkaConfig::new(bootstrap);
    let source = KafkaSource::new(&config, &format!("{topic}-reader"), [topic]).unwrap();
    let mut events = source.events();
    let mut found = BTreeMap::<String, u32>::new();
    let all = async {
        while found.len() < expected {
            if let Some(Ok(SourceEvent::Record(record))) = events.next().await {
                let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                *found.entry(value).or_default() += 1;
            }
        }
    };
    timeout(LIMIT, all).await.unwrap();
    while let Ok(Some(event)) = timeout(Duration::from_secs(1), events.next()).await {
        assert!(!matches!(event, Ok(SourceEvent::Record(_))), "published twice: {event:?}");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topology_that_is_fenced_executes_each_job_once_and_publishes_it_once() {
    const JOBS: u32 = 2_000;
    let broker = Broker::shared();
    let config = KafkaConfig::new(&broker.bootstrap);
    let topic = format!("fenced-jobs-{}", std::process::id());
    let results_topic = format!("{topic}-results");
    create(&config, &topic).await;
    create(&config, &results_topic).await;
    let outputs = (0..JOBS).map(|job| ProducerRecord::to(&*topic).value(job.to_string())).collect();
    let jobs = Batch { outputs, positions: Vec::new() };
    KafkaSink::new(&config).unwrap().publish(&jobs).await.unwrap();
    let (counting, lost) = (Arc::new(Counting::default()), Arc::new(Mutex::new(0)));
    let (to, seen) = (results_topic.clone(), lost.clone());
    let limits = Limits { in_flight_records: 100, ..Limits::default() };
    let topology = Topology::builder("dead-letters")
        .decode(Json::<u32>::new())
        .execute(counting.clone())
        .encode(move |_: &ConsumerRecord, executed: Executed<u32, u32>| {
            Ok(vec![ProducerRecord::to(&*to).value(executed.input.to_string())])
        })
        .with_limits(limits)
        .with_observer(Arc::new(move |event: &Event<'_>| {
            *seen.lock().unwrap() += i32::from(matches!(event, Event::Lost(_)));
        }));
    let (source, sink) = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let fenced = async {
        for times in 1..=3 {
            let executed = |counting: &Counting| counting.0.lock().unwrap().len();
            let enough = (JOBS as usize / 10) * times;
            while executed(&counting) < enough || *lost.lock().unwrap() < times as i32 - 1 {
                sleep(Duration::from_millis(1)).await;
            }
            let config = KafkaConfig::new(&broker.bootstrap);
            drop(exactly_once(&config, "another", [&*topic], &topic).await.unwrap());
        }
        let found = results(&broker.bootstrap, &results_topic, JOBS as usize).await;
        assert!(found.values().all(|count| *count == 1), "published twice: {found:?}");
    };
    timeout(2 * LIMIT, topology.run(&source, &sink, fenced)).await.unwrap().unwrap();
    assert_eq!(*lost.lock().unwrap(), 3, "fenced three times");
    let executed = counting.0.lock().unwrap().clone();
    assert_eq!(executed.len(), JOBS as usize);
    let again: Vec<_> = executed.iter().filter(|(_, count)| **count > 1).collect();
    assert!(again.is_empty(), "executed again: {again:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_pair_goes_on_after_the_broker_was_killed() {
    let broker = Broker::start_with(&["--nodes", "1"]);
    let config = KafkaConfig::new(&broker.bootstrap);
    create(&config, "jobs").await;
    let (source, sink) = exactly_once(&config, "group", ["jobs"], "id").await.unwrap();
    let mut events = source.events();
    let first = assigned(&mut events).await;
    let published = sink.publish(&batch("jobs", &first, 0)).await;
    assert!(matches!(published, Ok(Published::RecordsAndPositions)), "found {published:?}");
    broker.node("kill");
    let second = batch("jobs", &first, 1);
    let publishing = sink.publish(&second);
    assert!(timeout(Duration::from_secs(2), publishing).await.is_err(), "published to nobody");
    broker.node("resume");
    publish(&mut events, &sink, "jobs", 1, Some(first)).await;
    drop(events);
    sink.close().await.unwrap();
    source.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_static_member_that_starts_again_has_its_partition_at_once() {
    let broker = Broker::shared();
    let topic = format!("static-{}", std::process::id());
    let config = KafkaConfig::new(&broker.bootstrap).instance_id("one");
    let config = config.property("session.timeout.ms", "30000").unwrap();
    create(&config, &topic).await;
    let source = KafkaSource::new(&config, &topic, [&*topic]).unwrap();
    assigned(&mut source.events()).await;
    source.close().await.unwrap();
    let source = KafkaSource::new(&config, &topic, [&*topic]).unwrap();
    let mut events = source.events();
    let again = timeout(Duration::from_secs(10), assigned(&mut events)).await;
    assert!(again.is_ok(), "waited for the session to end");
}

fn secure(broker: &Broker, mechanism: &str, user: &str, password: &str) -> KafkaConfig {
    let properties = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("ssl.ca.location", broker.file("ca.pem")),
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", user.to_owned()),
        ("sasl.password", password.to_owned()),
    ];
    let config = KafkaConfig::new(&broker.bootstrap);
    properties.into_iter().fold(config, |c, (name, value)| c.property(name, value).unwrap())
}

/// Starts the broker again, with another password of the user `user`.
fn rotate(broker: &Broker, from: &str, to: &str) {
    broker.node("kill");
    let path = broker.file("server-0.properties");
    let settings = std::fs::read_to_string(&path).unwrap();
    let (old, new) = (format!("user_user=\"{from}\""), format!("user_user=\"{to}\""));
    assert!(settings.contains(&old), "no password {from} in {path}");
    std::fs::write(&path, settings.replace(&old, &new)).unwrap();
    broker.node("resume");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn credentials_that_are_refused_later_are_told_and_waited_for() {
    let broker = Broker::start_with(&["--sasl-ssl", "--nodes", "1"]);
    let kinds = Arc::new(Kinds::default());
    let config = secure(&broker, "PLAIN", "user", "password").observer(kinds.clone());
    create(&config, "jobs").await;
    let source = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let sink = KafkaSink::new(&config).unwrap();
    let mut events = source.events();
    assigned(&mut events).await;
    rotate(&broker, "password", "rotated");
    let refused = async {
        while !kinds.0.lock().unwrap().contains(&ErrorKind::Authentication) {
            let event = timeout(Duration::from_millis(100), events.next()).await;
            assert!(!matches!(event, Ok(None | Some(Err(_)))), "the stream has ended: {event:?}");
        }
        Topics::new(&config).unwrap().partitions("jobs").await.unwrap_err()
    };
    let at_a_start = timeout(LIMIT, refused).await.unwrap();
    assert_eq!(at_a_start.kind, ErrorKind::Authentication, "{at_a_start}");
    rotate(&broker, "rotated", "password");
    let outputs = vec![ProducerRecord::to("jobs").value("x")];
    let batch = Batch { outputs, positions: Vec::new() };
    timeout(LIMIT, sink.publish(&batch)).await.unwrap().unwrap();
    let delivered =
        async { while !matches!(events.next().await, Some(Ok(SourceEvent::Record(_)))) {} };
    timeout(LIMIT, delivered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn plain_and_scram_over_tls_work_and_a_wrong_password_is_told() {
    let broker = Broker::start_with(&["--sasl-ssl"]);
    for (mechanism, user) in [("PLAIN", "user"), ("SCRAM-SHA-256", "scram")] {
        let config = secure(&broker, mechanism, user, "password");
        create(&config, mechanism).await;
        let sink = KafkaSink::new(&config).unwrap();
        let outputs = vec![ProducerRecord::to(mechanism).value("x")];
        let batch = Batch { outputs, positions: Vec::new() };
        timeout(LIMIT, sink.publish(&batch)).await.unwrap().unwrap();
        let source = KafkaSource::new(&config, "group", [mechanism]).unwrap();
        let mut events = source.events();
        assigned(&mut events).await;
        let record = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(record, Some(Ok(SourceEvent::Record(_)))), "found {record:?}");
    }
    let kinds = Arc::new(Kinds::default());
    let config = secure(&broker, "PLAIN", "user", "wrong").observer(kinds.clone());
    let refused = Topics::new(&config).unwrap().partitions("PLAIN").await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Authentication);
    let kinds = kinds.0.lock().unwrap().clone();
    assert!(kinds.contains(&ErrorKind::Authentication), "found {kinds:?}");
}
