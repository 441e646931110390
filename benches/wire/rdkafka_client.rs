//! librdkafka: produces, and consumes as a member of a group.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

use super::VALUE_BYTES;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) fn produce(bootstrap: &str, records: usize) -> usize {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("linger.ms", "20");
    config.set("queue.buffering.max.messages", "500000");
    let producer: BaseProducer<DefaultProducerContext> = config.create().expect("a producer");
    let value = vec![b'j'; VALUE_BYTES];
    for number in 0..records {
        let key = format!("{number:024x}");
        let mut record = BaseRecord::to("jobs").key(&key).payload(&value);
        while let Err((error, unsent)) = producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full);
            producer.poll(Duration::from_millis(1));
            record = unsent;
        }
    }
    producer.flush(LIMIT).expect("every record is delivered");
    records
}

pub(super) fn consume(bootstrap: &str, records: usize) -> usize {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "bench");
    config.set("auto.offset.reset", "earliest").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.subscribe(&["jobs"]).expect("a subscription");
    let mut arrived = 0;
    while arrived < records {
        let polled = consumer.poll(LIMIT).expect("a record in time");
        polled.expect("no error");
        arrived += 1;
    }
    arrived
}
