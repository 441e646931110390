//! A new leader that does not know yet how much of its log was acknowledged.
//!
//! ```text
//!  node 1   leads, and is killed as soon as it has acknowledged the last entries
//!  node 0   has them, and was stopped before it heard of that: it leads next
//!  node 2   is stopped before that: until it goes on, the new leader gives less than there is
//! ```

#![expect(clippy::disallowed_methods, reason = "a test of Kafka's may block a thread")]

use std::sync::Arc;
use std::time::Duration;

use jobstream::kafka::KafkaConfig;
use jobstream::record::ProducerRecord;
use jobstream::state::Store as _;
use jobstream::state::kafka::KafkaStore;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::{sleep, timeout};

use crate::kafka_broker::Broker;
use crate::{LIMIT, publish};

const TOPIC: &str = "entries";
const NEXT: i32 = 0;
const LEADER: i32 = 1;
const OTHER: i32 = 2;

/// Entries that every broker knows as acknowledged, and all.
const BEFORE: u8 = 5;
const ALL: u8 = 10;

/// The wait before a condition is looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
/// More than a follower takes to ask for what follows the records that it has written.
const ASKED_AFTER: Duration = Duration::from_millis(300);
/// More than a leader keeps a follower waiting that has asked (`replica.fetch.wait.max.ms`, 500 ms).
const ANSWERED_AFTER: Duration = Duration::from_millis(700);
/// Less than the session of the broker that was killed lasts (6 s), so that the sessions of those that
/// are stopped then last longer.
const BEFORE_ITS_SESSION_ENDS: Duration = Duration::from_millis(4_500);

/// What the tests ask the cluster, on a thread that may block.
async fn asked<T: Send + 'static>(
    bootstrap: &str,
    ask: impl FnOnce(BaseConsumer) -> T + Send + 'static,
) -> T {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "asks");
    config.set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
    tokio::task::spawn_blocking(move || ask(config.create().unwrap())).await.unwrap()
}

/// The leader of the partition and how many replicas are in sync, as a broker knows it.
async fn leader(bootstrap: &str) -> Option<(i32, usize)> {
    asked(bootstrap, |client| {
        let metadata = client.fetch_metadata(Some(TOPIC), LIMIT).ok()?;
        let partition = metadata.topics().first()?.partitions().first()?;
        Some((partition.leader(), partition.isr().len()))
    })
    .await
}

/// Completes when the partition has this leader, and so many replicas are in sync.
async fn leads(bootstrap: &str, expected: (i32, usize)) {
    let leads = async {
        while leader(bootstrap).await != Some(expected) {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, leads).await.expect("a leader");
}

async fn create(bootstrap: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let replicas: &[&[i32]] = &[&[LEADER, NEXT, OTHER]];
    let topic = NewTopic::new(TOPIC, 1, TopicReplication::Variable(replicas))
        .set("cleanup.policy", "compact")
        .set("min.insync.replicas", "1");
    // Several brokers need a while until they know each other.
    let created = async {
        while admin.create_topics([&topic], &AdminOptions::new()).await.unwrap()[0].is_err() {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, created).await.expect("a topic");
    leads(bootstrap, (LEADER, 3)).await;
}

fn entries(numbers: std::ops::Range<u8>) -> Vec<ProducerRecord> {
    let entry = |number: u8| {
        let record = ProducerRecord::to(TOPIC).key(vec![number]).value(vec![number]);
        ProducerRecord { partition: Some(0), ..record }
    };
    numbers.map(entry).collect()
}

/// The bytes that a node has written of the partition.
fn written(broker: &Broker, node: i32) -> u64 {
    let log = broker.file(&format!("data-{node}/{TOPIC}-0/00000000000000000000.log"));
    std::fs::metadata(log).unwrap().len()
}

/// Completes when another node has written what the leader has, more than so many bytes.
async fn has_all(broker: &Broker, node: i32, before: u64) {
    let has_all = async {
        while written(broker, node) <= before || written(broker, node) != written(broker, LEADER) {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, has_all).await.expect("a replica");
}

/// What a client reads that takes the end of the partition for the end of what there is.
async fn read_to_the_end(bootstrap: &str) -> usize {
    asked(bootstrap, |client| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
        client.assign(&list).unwrap();
        let mut records = 0;
        loop {
            match client.poll(LIMIT).expect("a record, or the end") {
                Ok(_) => records += 1,
                Err(KafkaError::PartitionEOF(_)) => return records,
                Err(_) => {}
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_part_that_is_restored_from_a_leader_that_lags_is_not_short() {
    let broker = Arc::new(Broker::start_with(&["--nodes", "3", "--controllers", "1"]));
    let config = KafkaConfig::new(&broker.bootstrap);
    create(&broker.bootstrap).await;
    publish(&config, entries(0..BEFORE)).await;
    for node in [NEXT, OTHER] {
        has_all(&broker, node, 0).await;
    }

    // The next leader has the last entries, and does not hear that they are acknowledged.
    broker.signal_node("STOP", OTHER);
    let before = written(&broker, LEADER);
    let publishing = tokio::spawn(async move { publish(&config, entries(BEFORE..ALL)).await });
    has_all(&broker, NEXT, before).await;
    sleep(ASKED_AFTER).await;
    broker.signal_node("STOP", NEXT);
    sleep(ANSWERED_AFTER).await;
    broker.signal_node("CONT", OTHER);
    publishing.await.unwrap();
    broker.signal_node("KILL", LEADER);
    broker.signal_node("CONT", NEXT);

    // It waits for the other one, which is in sync as far as it knows.
    sleep(BEFORE_ITS_SESSION_ENDS).await;
    broker.signal_node("STOP", OTHER);
    let next = broker.bootstrap.split(',').next().unwrap();
    leads(next, (NEXT, 2)).await;
    assert_eq!(read_to_the_end(next).await, usize::from(BEFORE), "the leader does not lag");
    let store = KafkaStore::new(&KafkaConfig::new(next), TOPIC).unwrap();
    let restoring = tokio::spawn(async move { store.restore(0).await });
    sleep(Duration::from_secs(1)).await;
    broker.signal_node("CONT", OTHER);
    let restored = timeout(LIMIT, restoring).await.unwrap().unwrap().unwrap();
    let keys: Vec<u8> = restored.iter().map(|entry| entry.key[0]).collect();
    assert_eq!(keys, (0..ALL).collect::<Vec<_>>());
}
