//! A transaction of a client that is not ours.

use std::sync::mpsc::{Sender, channel};

use jobstream::record::ProducerRecord;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::KafkaResult;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};

use super::LIMIT;

/// Reports what became of each record.
pub(super) struct Reports(Sender<KafkaResult<()>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let report = result.as_ref().map(drop).map_err(|(error, _)| error.clone());
        // The test that opened the transaction may have seen enough.
        let _ = self.0.send(report);
    }
}

/// Opens a transaction, and blocks until these records are in it.
pub(super) fn open(
    config: &ClientConfig,
    transactional_id: &str,
    outputs: &[ProducerRecord],
) -> ThreadedProducer<Reports> {
    let mut config = config.clone();
    config.set("transactional.id", transactional_id).set("transaction.timeout.ms", "60000");
    let (reports, reported) = channel();
    let producer = ThreadedProducer::from_config_and_context(&config, Reports(reports)).unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    for output in outputs {
        let value = output.value.as_deref().unwrap();
        let record = BaseRecord::<[u8], [u8]>::to(&output.topic).payload(value);
        producer.send(record.partition(output.partition.unwrap())).map_err(|e| e.0).unwrap();
    }
    for _ in outputs {
        reported.recv_timeout(LIMIT).expect("a report").expect("a record that is delivered");
    }
    producer
}
