//! What a Rust user would write today: `StreamConsumer`, pooled lettre, `FutureProducer`, and 100 jobs
//! at once with `buffer_unordered`.
//!
//! It has no retries, no dead letters and no order, and stores offsets as jobs end, which loses those
//! before them if it crashes: it is the rival for speed, not for promises.

use futures::StreamExt as _;
use lettre::transport::smtp::PoolConfig;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::message::OwnedMessage;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Message as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::runtime::Builder;

use super::CONNECTIONS;
use crate::process::Role;

/// `Status` of a job that succeeded.
const SUCCEEDED: u8 = 4;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Job {
    id: String,
    status: u8,
    job_data: JobData,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct JobData {
    source_address: String,
    destination_address: String,
    subject: String,
    message: String,
}

struct Executor {
    mailer: AsyncSmtpTransport<Tokio1Executor>,
    producer: FutureProducer,
    results: String,
}

impl Executor {
    async fn execute(&self, message: OwnedMessage) -> OwnedMessage {
        let value = message.payload().expect("a job has a value");
        let mut job: Job = serde_json::from_slice(value).expect("a job");
        self.mailer.send(mail(&job.job_data)).await.expect("every mail is accepted");
        job.status = SUCCEEDED;
        let result = serde_json::to_vec(&job).expect("a result has a form in JSON");
        let record = FutureRecord::to(&self.results).key(&job.id).payload(&result);
        self.producer.send(record, Timeout::Never).await.expect("no fault is set");
        message
    }
}

fn mail(data: &JobData) -> Message {
    Message::builder()
        .from(data.source_address.parse().expect("an address"))
        .to(data.destination_address.parse().expect("an address"))
        .subject(data.subject.clone())
        .body(data.message.clone())
        .expect("a message")
}

/// Runs until it is stopped; then the stored offsets are committed.
pub(crate) fn run(role: &Role) {
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut terminated =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
                .expect("signals can be heard");
        tokio::select! {
            biased;
            _ = terminated.recv() => {}
            () = work(role) => unreachable!("a stream of Kafka has no end"),
        }
    });
}

async fn work(role: &Role) {
    let consumer: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &role.bootstrap)
        .set("group.id", &role.output)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.offset.store", "false")
        .create()
        .expect("a client");
    consumer.subscribe(&[&role.input]).expect("a topic");
    let producer = ClientConfig::new()
        .set("bootstrap.servers", &role.bootstrap)
        .set("enable.idempotence", "true")
        .create()
        .expect("a client");
    let pool = PoolConfig::new().max_size(u32::try_from(CONNECTIONS).expect("a small number"));
    let mailer = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(role.mail_port)
        .pool_config(pool)
        .build();
    let executor = Executor { mailer, producer, results: role.output.clone() };
    let executed = consumer
        .stream()
        .map(|message| executor.execute(message.expect("no fault is set").detach()))
        .buffer_unordered(CONNECTIONS);
    let store = |done: OwnedMessage| {
        let (topic, partition, offset) = (done.topic(), done.partition(), done.offset());
        consumer.store_offset(topic, partition, offset).expect("the partition is assigned");
        std::future::ready(())
    };
    executed.for_each(store).await;
}
