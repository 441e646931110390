//! Where published records are, as sinks report it.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use jobstream::record::ProducerRecord;
use jobstream::sinks::{Batch, RecordMetadata, Sink};
use jobstream_testkit::broker::{Broker, Isolation};

const TOPIC: &str = "topic";

async fn publish(broker: &Broker, sink: &dyn Sink, keys: &[&str]) {
    let outputs = keys.iter().map(|key| ProducerRecord::to(TOPIC).key((*key).to_owned()));
    let batch = Batch { outputs: outputs.collect(), positions: Vec::new() };
    let metadata = sink.publish(&batch).await.unwrap().places;
    let records = broker.records(TOPIC, Isolation::ReadCommitted);
    assert_eq!(metadata.len(), keys.len());
    for (key, RecordMetadata { partition, offset }) in keys.iter().zip(metadata) {
        let found =
            records.iter().find(|r| (r.partition.partition, r.offset) == (partition, offset));
        assert_eq!(found.unwrap().key.as_deref(), Some(key.as_bytes()));
    }
}

#[tokio::test]
async fn a_publish_answers_where_its_records_are() {
    let broker = Broker::new();
    broker.create_topic(TOPIC, 6);
    let (_source, exactly_once) = broker.exactly_once("group", [TOPIC], "id");
    let producer = broker.producer();
    for keys in [&["a", "b", "a", "c"][..], &["d"], &["b", "b"]] {
        publish(&broker, &producer, keys).await;
        publish(&broker, &exactly_once, keys).await;
    }
}
