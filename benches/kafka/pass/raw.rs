//! The raw loop: one thread that polls, decodes, produces and commits.
//!
//! Positions are committed, once a second or with each transaction, after every report of what was
//! produced has come: a commit that finds records in flight looks for them in slices of 100 ms. The
//! decoding, the splice and the headers, those of the job that are carried over and its own, are the
//! topology's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobstream::codec::Codec as _;
use jobstream::job::{JobCodec, JobStatus};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientContext, Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::properties;
use super::timing::Timing;
use super::topology::MESSAGE_ID;
use crate::process::Role;

/// How often positions are committed without transactions, as the topology does.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Records in one transaction.
const TRANSACTION_RECORDS: usize = 5_000;
/// Records after which the reports are looked at.
const LOOK_RECORDS: usize = 512;
const WAIT: Duration = Duration::from_millis(10);

/// Counts what is acknowledged.
#[derive(Default)]
struct Reports {
    acknowledged: AtomicUsize,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        result.as_ref().expect("no fault is set");
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

struct Loop<'a> {
    role: &'a Role,
    consumer: BaseConsumer,
    producer: BaseProducer<Reports>,
    timing: Timing,
    sent: usize,
    /// The next offset of each partition.
    positions: BTreeMap<i32, i64>,
}

pub(crate) fn run(role: &Role) {
    let producer = properties::producer(role);
    let mut raw = Loop {
        role,
        consumer: properties::consumer(role).create().expect("a client"),
        producer: BaseProducer::from_config_and_context(&producer, Reports::default())
            .expect("a client"),
        timing: Timing::default(),
        sent: 0,
        positions: BTreeMap::new(),
    };
    raw.consumer.subscribe(&[&role.input]).expect("a topic");
    if role.is_exactly_once {
        raw.exactly_once();
    } else {
        raw.at_least_once();
    }
    let figure = serde_json::to_string(&raw.timing.figure(role.records)).expect("a figure");
    println!("{figure}");
}

impl Loop<'_> {
    fn at_least_once(&mut self) {
        let mut commit_at = Instant::now() + COMMIT_INTERVAL;
        while self.sent < self.role.records {
            self.pass(LOOK_RECORDS);
            if Instant::now() >= commit_at {
                self.commit();
                commit_at = Instant::now() + COMMIT_INTERVAL;
            }
        }
        self.commit();
    }

    fn commit(&mut self) {
        self.await_reports();
        let positions = self.take_positions();
        if positions.count() > 0 {
            self.consumer.commit(&positions, CommitMode::Sync).expect("no fault is set");
            self.timing.mark();
        }
    }

    fn exactly_once(&mut self) {
        self.producer.init_transactions(Timeout::Never).expect("no fault is set");
        while self.sent < self.role.records {
            self.producer.begin_transaction().expect("no fault is set");
            let until = self.role.records.min(self.sent + TRANSACTION_RECORDS);
            while self.sent < until {
                self.pass(LOOK_RECORDS.min(until - self.sent));
            }
            self.await_reports();
            let group = self.consumer.group_metadata().expect("it has a group");
            let positions = self.take_positions();
            self.producer
                .send_offsets_to_transaction(&positions, &group, Timeout::Never)
                .expect("no fault is set");
            self.producer.commit_transaction(Timeout::Never).expect("no fault is set");
            self.timing.mark();
        }
    }

    /// Passes what is there on, up to a number of records.
    fn pass(&mut self, records: usize) {
        for _ in 0..records {
            let Some(message) = self.consumer.poll(WAIT) else { break };
            let message = message.expect("no fault is set");
            self.timing.begin();
            self.produce(&message);
            self.positions.insert(message.partition(), message.offset() + 1);
            self.sent += 1;
        }
        self.producer.poll(Duration::ZERO);
    }

    fn produce(&self, message: &BorrowedMessage<'_>) {
        let value = message.payload().map(bytes::Bytes::copy_from_slice);
        let job = JobCodec.decode(value.as_ref()).expect("a job");
        assert!(job.is_runnable() && job.is_email(), "no other job is produced");
        let result = job.result(JobStatus::Succeeded);
        let carried = message.headers().map(BorrowedHeaders::detach);
        let headers = carried
            .unwrap_or_else(|| OwnedHeaders::new_with_capacity(3))
            .insert(Header { key: "job-attempts", value: Some("1") })
            .insert(Header { key: "job-outcome", value: Some("accepted") })
            .insert(Header { key: "job-message-id", value: Some(MESSAGE_ID) });
        let record = BaseRecord::to(&self.role.output).payload(&result[..]).headers(headers);
        let mut record = record.key(message.key().expect("a job has a key"));
        while let Err((error, refused)) = self.producer.send(record) {
            let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            assert_eq!(error, full, "no fault is set");
            self.producer.poll(WAIT);
            record = refused;
        }
    }

    fn await_reports(&self) {
        while self.producer.context().acknowledged.load(Ordering::Relaxed) < self.sent {
            self.producer.poll(WAIT);
        }
    }

    fn take_positions(&mut self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (number, offset) in std::mem::take(&mut self.positions) {
            let offset = Offset::Offset(offset);
            list.add_partition_offset(&self.role.input, number, offset).expect("an offset");
        }
        list
    }
}
