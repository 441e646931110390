//! Memory over a backlog of a million records, through a topology, from Kafka to Kafka.
//!
//! The peak (`VmHWM`) is of a whole process, so each step runs in a process of its own: this test
//! again, with an environment that selects the step.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that measures")]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jobstream::codec::{Codec, CodecError};
use jobstream::kafka::{KafkaConfig, NewTopic, Topics, exactly_once};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use jobstream::sources::kafka::KafkaSource;
use jobstream::topology::{Event, Observer, Topology};
use kafka_broker::Broker;
use tokio::sync::Notify;
use tokio::time::Instant;

mod kafka_broker;

const RECORDS: usize = 1_000_000;
/// The sizes of the values, one backlog each.
const VALUES_BYTES: [usize; 2] = [100, 1_024];
const PARTITIONS: i32 = 6;
/// `VmHWM` that no process may exceed.
const PEAK_KIB: usize = 64 << 10;

struct Raw;

impl Codec<Bytes> for Raw {
    fn decode(&self, value: Option<&Bytes>) -> Result<Bytes, CodecError> {
        Ok(value.cloned().unwrap_or_default())
    }

    fn encode(&self, item: &Bytes) -> Result<Option<Bytes>, CodecError> {
        Ok(Some(item.clone()))
    }
}

/// Counts what is finished.
#[derive(Debug, Default)]
struct Count {
    finished: AtomicUsize,
    all: Notify,
}

impl Observer for Count {
    fn on(&self, event: &Event<'_>) {
        if matches!(event, Event::Finished { .. })
            && self.finished.fetch_add(1, Ordering::Relaxed) + 1 == RECORDS
        {
            self.all.notify_one();
        }
    }
}

async fn create(config: &KafkaConfig, topic: &str) {
    let (name, partitions) = (topic.into(), PARTITIONS);
    let topic = NewTopic { name, partitions, replicas: 1, settings: Vec::new() };
    Topics::new(config).unwrap().ensure(&topic).await.unwrap();
}

async fn fill(config: &KafkaConfig, topic: &str, value_bytes: usize) {
    create(config, topic).await;
    let sink = KafkaSink::new(config).unwrap();
    let value = Bytes::from(vec![b'j'; value_bytes]);
    for first in (0..RECORDS).step_by(10_000) {
        let record =
            |n: usize| ProducerRecord::to(topic).key(format!("{n:024x}")).value(value.clone());
        let outputs = (first..first + 10_000).map(record).collect();
        sink.publish(&Batch { outputs, positions: Vec::new() }).await.unwrap();
    }
    sink.close().await.unwrap();
}

async fn run(config: &KafkaConfig, topic: &str, is_exactly_once: bool) {
    let results = format!("{topic}-results-{is_exactly_once}");
    create(config, &results).await;
    let group = format!("{topic}-{is_exactly_once}");
    let count = Arc::new(Count::default());
    let encode = move |record: &ConsumerRecord, value: Bytes| {
        let key = record.key.clone();
        Ok(vec![ProducerRecord { key, ..ProducerRecord::to(results.as_str()).value(value) }])
    };
    let topology = Topology::builder("dead-letters").decode(Raw).encode(encode);
    let topology = topology.with_observer(count.clone());
    let started = Instant::now();
    let shutdown = count.all.notified();
    let drained = if is_exactly_once {
        let pair = exactly_once(config, &group, [topic], &group).await.unwrap();
        topology.run(&pair.0, &pair.1, shutdown).await
    } else {
        let source = KafkaSource::new(config, &group, [topic]).unwrap();
        let sink = KafkaSink::new(config).unwrap();
        topology.run(&source, &sink, shutdown).await
    };
    assert_eq!(drained.unwrap().unfinished, 0);
    let seconds = started.elapsed().as_secs_f64();
    println!("{group}: {:.0} records/s, VmHWM {} KiB", RECORDS as f64 / seconds, peak_kib());
}

fn peak_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Runs this test again, as a process of its own.
fn role(name: &str, bootstrap: &str, topic: &str) {
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--ignored", "--nocapture", "--exact", "a_backlog_of_a_million_records_fits"]);
    test.envs([("BACKLOG_ROLE", name), ("KAFKA_BOOTSTRAP", bootstrap), ("BACKLOG_TOPIC", topic)]);
    assert!(test.status().unwrap().success(), "{name} failed");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_backlog_of_a_million_records_fits() {
    let Ok(name) = std::env::var("BACKLOG_ROLE") else {
        let broker = Broker::shared();
        for value_bytes in VALUES_BYTES {
            let topic = format!("backlog-{}-{value_bytes}", std::process::id());
            for name in [&value_bytes.to_string(), "at-least-once", "exactly-once"] {
                role(name, &broker.bootstrap, &topic);
            }
        }
        return;
    };
    let topic = std::env::var("BACKLOG_TOPIC").unwrap();
    let config = KafkaConfig::new(std::env::var("KAFKA_BOOTSTRAP").unwrap());
    let limit = Duration::from_secs(300);
    let work = async {
        match name.as_str() {
            "at-least-once" => run(&config, &topic, false).await,
            "exactly-once" => run(&config, &topic, true).await,
            value_bytes => fill(&config, &topic, value_bytes.parse().unwrap()).await,
        }
    };
    tokio::time::timeout(limit, work).await.unwrap();
    let peak = peak_kib();
    assert!(peak < PEAK_KIB, "{name}: found a peak of {peak} KiB");
}
