//! What the start takes where the ledger of a partition has many entries: `mailjob run`, until all are
//! read, beside the same with an empty ledger.
//!
//! Each entry has two records on the topic, its intent and its outcome, as before a compaction.

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use jobstream::kafka::{KafkaConfig, NewTopic, Topics};
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use tokio::time::{sleep, timeout};

use super::service;
use crate::kafka_broker::Broker;
use crate::process::{Role, peak_kib};
use crate::topics::{self, PARTITIONS};

const JOBS: &str = "restore-jobs";
const EMPTY: &str = "restore-empty";
const FULL: &str = "restore-full";
const BATCH_RECORDS: usize = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LIMIT: Duration = Duration::from_secs(300);
/// The tags of an entry: an intent, and a mail that was sent.
const TAGS: [u8; 2] = [1, 3];

/// How many entries, and how many starts.
pub(crate) struct Plan {
    entries: usize,
    rounds: usize,
}

impl Plan {
    pub(crate) const SHORT: Self = Self { entries: 100_000, rounds: 1 };
    pub(crate) const FULL: Self = Self { entries: 1_000_000, rounds: 3 };
}

/// Measures in turns, and prints.
pub(crate) async fn measure(broker: &Broker, plan: &Plan) {
    let program = service::build();
    topics::create(&broker.bootstrap, JOBS).await;
    fill(&broker.bootstrap, plan.entries).await;
    println!("restoring {} entries of one partition of the ledger", plan.entries);
    for round in 0..plan.rounds {
        for (ledger, entries) in [(EMPTY, 0), (FULL, plan.entries)] {
            let role = Role {
                name: ledger.into(),
                bootstrap: broker.bootstrap.clone(),
                input: JOBS.into(),
                output: format!("{ledger}-results-{round}"),
                records: 0,
                is_exactly_once: true,
                mail_port: 1,
            };
            let settings = [
                ("JOB_DELIVERY", "exactly-once".to_owned()),
                ("JOB_LEDGER", "kafka".to_owned()),
                ("TOPIC_JOB_RUN_LEDGER", ledger.to_owned()),
            ];
            let running = service::start(&program, &role, &settings);
            let (found, seconds) = timeout(LIMIT, restored()).await.expect("it is restored");
            assert_eq!(found, entries, "{ledger}: entries that were restored");
            println!("{entries:>9} entries: {seconds:.2} s, peak {} KiB", peak_kib(running.pid()));
            running.end();
        }
    }
    service::forget_logs();
}

/// Gives a partition of a ledger its entries.
async fn fill(bootstrap: &str, entries: usize) {
    let config = KafkaConfig::new(bootstrap);
    let topic = NewTopic::compacted(FULL, PARTITIONS, 1);
    Topics::new(&config).expect("a client").ensure(&topic).await.expect("it can be made");
    let sink = KafkaSink::new(&config).expect("a client");
    for tag in TAGS {
        for first in (0..entries).step_by(BATCH_RECORDS) {
            let numbers = first..entries.min(first + BATCH_RECORDS);
            let outputs = numbers.map(|number| record(number, tag)).collect();
            sink.publish(&Batch { outputs, positions: Vec::new() }).await.expect("no fault is set");
        }
    }
    sink.close().await.expect("no fault is set");
}

/// A key like a hash: keys come in no order.
fn record(number: usize, tag: u8) -> ProducerRecord {
    let half = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let key = [half.to_be_bytes(), (!half).to_be_bytes()].concat();
    let offset = (number as i64).to_be_bytes();
    let value = [&[tag][..], &offset, &i64::MAX.to_be_bytes(), &0_u32.to_be_bytes()].concat();
    let mut record = ProducerRecord::to(FULL).key(Bytes::from(key)).value(Bytes::from(value));
    record.partition = Some(0);
    record
}

/// The entries of all partitions by the log of the service, and how long the slowest has taken.
async fn restored() -> (usize, f64) {
    let log = service::folder().join("mailjob.log");
    loop {
        let text = fs::read_to_string(&log).expect("it logs");
        let lines: Vec<_> = text.lines().filter(|line| line.contains("Ledger restored")).collect();
        if lines.len() >= PARTITIONS as usize {
            let entries = lines.iter().map(|line| field(line, "entries=") as usize).sum();
            let seconds = lines.iter().map(|line| field(line, "seconds=")).fold(0.0, f64::max);
            return (entries, seconds);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn field(line: &str, name: &str) -> f64 {
    let (_, value) = line.split_once(name).expect("the line has it");
    let value = value.split_whitespace().next().unwrap_or_default();
    value.parse().expect("a number")
}
