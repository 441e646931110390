//! What reads a topic to its end, on the listener of the in-memory broker.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobstream::kafka::{ErrorKind, Event, KafkaConfig, Observer, TopicReader};
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use jobstream::state::kafka::KafkaStore;
use jobstream::state::{Store as _, StoreError};
use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use tokio::time::timeout;

const TOPIC: &str = "entries";
const PARTITIONS: i32 = 2;

/// The errors that clients report.
#[derive(Default)]
struct Errors(Mutex<Vec<String>>);

impl Observer for Errors {
    fn on(&self, event: &Event<'_>) {
        if let Event::Error { kind, reason } = event {
            self.0.lock().unwrap().push(format!("{kind:?}: {reason}"));
        }
    }
}

/// A broker whose topic has ten entries in its first partition, and none in the other.
async fn listener(errors: &Arc<Errors>) -> (Listener, KafkaConfig) {
    let broker = Broker::new();
    broker.create_topic(TOPIC, PARTITIONS);
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let config = KafkaConfig::new(listener.bootstrap()).with_observer(errors.clone());
    let entry = |number: u8| {
        let record = ProducerRecord::to(TOPIC).key(vec![number % 5]).value(vec![number]);
        ProducerRecord { partition: Some(0), ..record }
    };
    let sink = KafkaSink::new(&config).unwrap();
    let outputs = (0..10).map(entry).collect();
    sink.publish(&Batch { outputs, positions: Vec::new() }).await.unwrap();
    sink.close().await.unwrap();
    (listener, config)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_partition_is_reached_and_is_no_error() {
    let errors = Arc::new(Errors::default());
    let (_listener, config) = listener(&errors).await;
    let store = KafkaStore::new(&config, TOPIC).unwrap();
    let entries = store.restore(0).await.unwrap();
    let values: Vec<_> = entries.iter().map(|entry| entry.value[0]).collect();
    assert_eq!(values, [5, 6, 7, 8, 9], "the last of each key");
    assert!(store.restore(1).await.unwrap().is_empty());

    let reader = TopicReader::new(&config, TOPIC).unwrap();
    let ranges = reader.ranges(2).await.unwrap();
    reader.open(ranges).await.unwrap();
    let mut found = 0;
    loop {
        match reader.next(4).await.unwrap().len() {
            0 => break,
            records => found += records,
        }
    }
    assert_eq!(found, 10);
    assert!(errors.0.lock().unwrap().is_empty(), "{:?}", errors.0.lock().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_call_for_too_many_partitions_has_their_number() {
    let errors = Arc::new(Errors::default());
    let (_listener, config) = listener(&errors).await;
    let reader = TopicReader::new(&config, TOPIC).unwrap();
    let error = reader.ranges(3).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Other);
    assert_eq!(error.reason, "topic entries: found 2 partitions, expected 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_without_a_partition_is_missing_and_the_store_is_not_broken() {
    let errors = Arc::new(Errors::default());
    let (_listener, config) = listener(&errors).await;
    let store = KafkaStore::new(&config, TOPIC).unwrap();
    let restored = timeout(Duration::from_secs(5), store.restore(2)).await;
    let error = restored.expect("an answer at once").unwrap_err();
    assert!(matches!(error, StoreError::Missing(_)), "{error}");
    assert!(
        error.to_string().contains("expected topic 'entries' to have a partition 2"),
        "{error}"
    );
}
