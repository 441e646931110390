//! librdkafka on the listener of the in-memory broker: what it produces the traits read, and the
//! reverse.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use futures::StreamExt as _;
use jobstream::record::ProducerRecord;
use jobstream::sources::{Source as _, SourceEvent};
use jobstream_testkit::broker::{Broker, Isolation};
use jobstream_testkit::wire::Listener;
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer as _, StreamConsumer};
use rdkafka::message::{Header, Headers as _, Message as _, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::time::timeout;

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(60);

async fn listen(broker: &Broker) -> Listener {
    broker.listen("127.0.0.1:0").await.unwrap()
}

fn producer(listener: &Listener, properties: &[(&str, &str)]) -> FutureProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", listener.bootstrap());
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

async fn produce(producer: &FutureProducer, topic: &str, key: &str, value: &str) -> (i32, i64) {
    let headers = OwnedHeaders::new().insert(Header { key: "name", value: Some("value") });
    let record = FutureRecord::to(topic).key(key).payload(value).headers(headers);
    let delivery = producer.send(record, LIMIT).await.unwrap();
    (delivery.partition, delivery.offset)
}

fn consumer(listener: &Listener, group: &str, topic: &str) -> StreamConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", listener.bootstrap());
    config.set("group.id", group).set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_in_memory_reads_what_a_client_has_produced() {
    for properties in [
        [("compression.type", "none"), ("enable.idempotence", "false")],
        [("compression.type", "none"), ("enable.idempotence", "true")],
        [("compression.type", "gzip"), ("enable.idempotence", "false")],
        [("compression.type", "snappy"), ("acks", "1")],
        [("compression.type", "lz4"), ("acks", "1")],
        [("compression.type", "zstd"), ("acks", "0")],
    ] {
        let broker = Broker::new();
        broker.create_topic("jobs", 6);
        let listener = listen(&broker).await;
        let producer = producer(&listener, &properties);
        let long = "bake ".repeat(1_000);
        timeout(LIMIT, produce(&producer, "jobs", "3c91b", &long)).await.unwrap();
        producer.flush(LIMIT).unwrap();
        let consumer = broker.consumer("bakers", ["jobs"]).build();
        let mut events = consumer.events();
        let record = loop {
            let event = timeout(LIMIT, events.next()).await.unwrap().unwrap().unwrap();
            if let SourceEvent::Record(record) = event {
                break record;
            }
        };
        assert_eq!((record.partition.partition, record.offset), (5, 0), "{properties:?}");
        assert_eq!(record.key.as_deref(), Some(&b"3c91b"[..]));
        assert_eq!(record.value.as_deref(), Some(long.as_bytes()), "{properties:?}");
        assert_eq!(record.headers.get("name").map(|value| &value[..]), Some(&b"value"[..]));
        assert!(record.timestamp.unwrap() > 1_700_000_000_000);
        assert_eq!(listener.refusals(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_reads_what_the_traits_have_published_and_goes_on_where_it_has_committed() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let aborted = broker.transactional_producer("one");
    let publish = |value: &str| {
        broker.produce(ProducerRecord::to("jobs").key("k").value(value.to_owned())).unwrap()
    };
    publish("0");
    aborted.begin().await.unwrap();
    aborted.send(&[ProducerRecord::to("jobs").value("never")]).await.unwrap();
    aborted.abort().await.unwrap();
    publish("3");
    for expected in [("0", 0), ("3", 3)] {
        let consumer = consumer(&listener, "bakers", "jobs");
        let message = timeout(LIMIT, consumer.recv()).await.expect("a record").unwrap().detach();
        assert_eq!(
            (message.payload().unwrap(), message.offset()),
            (expected.0.as_bytes(), expected.1)
        );
        assert_eq!(message.key(), Some(&b"k"[..]));
        assert!(message.headers().is_none_or(|headers| headers.count() == 0));
        let mut offsets = rdkafka::TopicPartitionList::new();
        let mut element = offsets.add_partition("jobs", 0);
        element.set_offset(rdkafka::Offset::Offset(expected.1 + 1)).unwrap();
        element.set_metadata("note");
        consumer.commit(&offsets, CommitMode::Sync).unwrap();
        consumer.unsubscribe();
    }
    let committed = broker.committed("bakers");
    let (partition, committed) = committed.first_key_value().unwrap();
    assert_eq!((partition.partition, committed.offset, &*committed.metadata), (0, 4, "note"));
    assert_eq!(broker.records("jobs", Isolation::ReadUncommitted).len(), 3);
    assert_eq!(listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_the_partitions_of_a_topic_on_several_nodes() {
    let broker = Broker::new();
    broker.create_topic("jobs", 6);
    let listener = broker.listener().nodes(3).listen("127.0.0.1:0").await.unwrap();
    for strategy in ["range", "cooperative-sticky"] {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", listener.bootstrap());
        config.set("group.id", strategy).set("partition.assignment.strategy", strategy);
        config.set("heartbeat.interval.ms", "100");
        let members: Vec<StreamConsumer> = (0..3).map(|_| config.create().unwrap()).collect();
        members.iter().for_each(|member| member.subscribe(&["jobs"]).unwrap());
        let shared = async {
            loop {
                let owned = members.iter().map(|member| member.assignment().unwrap().count());
                if owned.collect::<Vec<_>>() == [2, 2, 2] {
                    return;
                }
                for member in &members {
                    let _ = timeout(Duration::from_millis(10), member.recv()).await;
                }
            }
        };
        timeout(LIMIT, shared).await.expect("two partitions each");
    }
    assert_eq!(listener.refusals(), Vec::<String>::new());
}
