//! What a hostile producer of the topic of jobs can do to the memory of the service.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use jobstream::kafka::KafkaConfig;
use jobstream::record::{Header, ProducerRecord};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _, SinkError};

use crate::broker::Broker;
use crate::load::job;
use crate::stage::{DELIVERIES, Stage, inbox};

/// `VmHWM` that the service may not exceed.
const PEAK_KIB: usize = 96 << 10;

/// Produces a record so often, in batches as large as its writer wants before they are compressed.
async fn produce(stage: &Stage, record: ProducerRecord, count: usize) -> Result<(), SinkError> {
    let mut config = KafkaConfig::new(&stage.broker.bootstrap);
    for (name, value) in [
        ("compression.type", "gzip"),
        ("compression.level", "9"),
        ("message.max.bytes", "1000000000"),
        ("queue.buffering.max.kbytes", "2000000"),
        ("linger.ms", "100"),
    ] {
        config = config.property(name, value).unwrap();
    }
    let sink = KafkaSink::new(&config).unwrap();
    let batch = Batch { outputs: vec![record; count], positions: Vec::new() };
    let published = sink.publish(&batch).await;
    sink.close().await.unwrap();
    published.map(drop)
}

fn zeros(topic: String, count: usize) -> ProducerRecord {
    ProducerRecord::to(topic).value(vec![0; count])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn headers_that_take_nothing_on_disk_take_little_memory_and_are_dead_letters() {
    const RECORDS: usize = 300;
    const HEADERS: usize = 20_000;
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::with(Broker::shared(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        let mut record = ProducerRecord::to(stage.topic("jobs")).value(job(1));
        record.headers = (0..HEADERS).map(|_| Header { name: "".into(), value: None }).collect();
        let value = record.value.clone();
        produce(&stage, record, RECORDS).await.unwrap();
        stage.submit(&job(2)).await;
        let service = stage.start("log");
        stage.results_of(1).await;
        let letters = stage.records_of("dead-letters", RECORDS).await;
        let peak_kib = service.peak_kib();
        service.terminate().await.succeeded();
        println!("{delivery}, {RECORDS} records of {HEADERS} headers: VmHWM {peak_kib} KiB");
        assert!(peak_kib < PEAK_KIB, "{delivery}: found a peak of {peak_kib} KiB");
        for letter in letters {
            let reason = letter.header("dead-letter-reason");
            assert_eq!(reason.as_deref(), Some("too-many-headers"));
            assert_eq!(letter.value.as_deref(), value.as_deref());
        }
    }
}

/// What docs/operations.md says of brokers.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topic_without_compression_bounds_what_a_batch_takes_in_memory() {
    const ZEROS: usize = 20 << 20;
    let server = inbox().await;
    let stage = Stage::new(server.address()).await;
    for (topic, compression, fits) in
        [("as-produced", "producer", true), ("unpacked", "uncompressed", false)]
    {
        let settings = [("max.message.bytes", "1048588"), ("compression.type", compression)];
        stage.create(topic, 1, &settings).await;
        let produced = produce(&stage, zeros(stage.topic(topic), ZEROS), 1).await;
        let is_refused = matches!(produced, Err(SinkError::TooLarge { .. }));
        assert_eq!((produced.is_ok(), is_refused), (fits, !fits), "{compression}: {produced:?}");
    }
}

/// Not bounded by the service; a figure for docs/operations.md.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_batch_of_zeros_takes_what_it_is_unpacked() {
    let bytes = std::env::var("ZEROS_MIB").map_or(64, |mib| mib.parse().unwrap()) << 20;
    let server = inbox().await;
    let stage = Stage::with(Broker::shared(), server.address(), 1).await;
    produce(&stage, zeros(stage.topic("jobs"), bytes), 1).await.unwrap();
    let service = stage.start("log");
    let letters = stage.records_of("dead-letters", 1).await;
    let peak_kib = service.peak_kib();
    service.terminate().await.succeeded();
    println!("{bytes} bytes of zeros: VmHWM {peak_kib} KiB");
    assert_eq!(letters[0].header("dead-letter-reason").as_deref(), Some("too-large"));
}
