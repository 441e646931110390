//! A producer on librdkafka: sends records, and takes their reports.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Statistics};
use tokio::select;
use tokio::sync::{Mutex, RwLock};
use tokio::time::{Instant, sleep, timeout};

use super::deliveries::{Deliveries, Delivery, Unpublished};
use super::listener::Listener;
use crate::kafka::{ConfigError, ErrorKind, KafkaConfig, ObserverContext};
use crate::record::{ProducerRecord, Topic};
use crate::sinks::RecordMetadata;

/// The longest wait for a report when the queue is full. The queue may be full of records of a
/// cancelled batch, whose reports have just come.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// How many records are sent before reports are taken and the task yields.
const SEND_RECORDS: usize = 512;

/// The shortest interval at which a task polls for reports. It has to poll, since rdkafka signals a
/// producer's reports only to a caller that blocks.
const LOOK_MIN: Duration = Duration::from_millis(1);
/// The longest interval.
const LOOK_MAX: Duration = Duration::from_millis(50);
/// Between these limits, the interval is this part of the time that the task has waited.
const LOOK_PART: u32 = 8;

/// Whether records may share a batch of the wire protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All at once.
    Together,
    /// Each after the report of the one before, with no record of another batch in flight:
    /// librdkafka joins the queued records of a partition, and the broker refuses them together.
    Alone,
}

/// An output that was not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// Its topic.
    pub(crate) topic: Topic,
    /// Why.
    pub(crate) code: RDKafkaErrorCode,
}

impl Refusal {
    pub(crate) fn kind(&self) -> ErrorKind {
        ErrorKind::of(Some(self.code))
    }
}

/// Names the topic, and what the records wait for where that is known.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, code, .. } = self;
        match self.kind() {
            ErrorKind::UnknownTopic => {
                write!(f, "topic {topic} does not exist: its outputs wait until it is created")
            }
            ErrorKind::Authorization => {
                write!(f, "the right Write on topic {topic} is missing: {code}")
            }
            _ if *code == RDKafkaErrorCode::InvalidRecord => write!(
                f,
                "topic {topic} refuses a record, as it does one without key if its cleanup.policy has \
                 compact: {code}"
            ),
            _ => write!(f, "topic {topic}: {code}"),
        }
    }
}

/// The context of a producer: counts its reports.
#[derive(Debug)]
pub(crate) struct SinkContext {
    deliveries: Arc<Deliveries>,
    observer: ObserverContext,
}

impl ClientContext for SinkContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.observer.log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.observer.brokers(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.observer.error(&error, reason);
    }
}

impl ProducerContext for SinkContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let code = |error: &KafkaError| error.rdkafka_error_code();
        let report = match result {
            Ok(record) => {
                Ok(RecordMetadata { partition: record.partition(), offset: record.offset() })
            }
            Err((error, _)) => Err(code(error).unwrap_or(RDKafkaErrorCode::Unknown)),
        };
        self.deliveries.report(tag, report);
    }
}

pub(super) type Client = BaseProducer<SinkContext>;

/// A producer, and the thread that listens while no task sends. Its drop blocks for up to about 600
/// ms.
pub(crate) struct Producer {
    listener: Listener,
    client: Arc<Client>,
    deliveries: Arc<Deliveries>,
    /// Held by the batch that sends: one of the batches under way.
    turn: Mutex<()>,
    /// Read-locked by records that are sent together until their reports have come; write-locked by
    /// a record that is sent alone.
    queue: RwLock<()>,
}

impl Producer {
    pub(crate) fn new(
        config: &KafkaConfig,
        transactional_id: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let deliveries = Arc::new(Deliveries::new(config.keeps_places()));
        let context =
            SinkContext { deliveries: deliveries.clone(), observer: config.observer_context() };
        let properties = config.producer(transactional_id);
        let client = Arc::new(Client::from_config_and_context(&properties, context)?);
        let polled = client.clone();
        let listener = Listener::start(move |limit| polled.poll(limit));
        Ok(Self {
            listener: listener.map_err(|error| ConfigError::Refused(error.to_string()))?,
            client,
            deliveries,
            turn: Mutex::new(()),
            queue: RwLock::new(()),
        })
    }

    /// Begins a batch of these outputs.
    pub(crate) fn begin<'a>(&'a self, outputs: &'a [ProducerRecord]) -> Sending<'a> {
        Sending { producer: self, outputs, delivery: self.deliveries.begin(outputs.len()) }
    }

    /// Blocks until nothing is in flight, up to the limit.
    pub(crate) fn flush(&self, limit: Duration) -> KafkaResult<()> {
        self.client.flush(limit)
    }

    /// Why the producer is broken for good, if it is.
    pub(crate) fn fatal_error(&self) -> Option<String> {
        self.client.client().fatal_error().map(|(_, reason)| reason)
    }

    /// For the calls of a transaction, which block.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Takes the reports that have come, on the caller's thread.
    fn take_reports(&self) {
        let mut in_flight = self.client.in_flight_count();
        loop {
            self.client.poll(Duration::ZERO);
            let left = self.client.in_flight_count();
            if std::mem::replace(&mut in_flight, left) == left {
                return;
            }
        }
    }
}

/// A batch under way. After its drop, records that were sent may still be published; their reports
/// are ignored.
pub(crate) struct Sending<'a> {
    producer: &'a Producer,
    outputs: &'a [ProducerRecord],
    delivery: Delivery,
}

impl Sending<'_> {
    /// Takes the places of the outputs, in their order, if they are kept.
    pub(crate) fn take_places(&self) -> Vec<RecordMetadata> {
        self.delivery.take_places()
    }

    /// Sends the outputs with these indices in order, after those of batches that began to send
    /// before. Completes when every report has come, and returns the outputs that were not
    /// published.
    pub(crate) async fn send(&self, indices: &[usize], sent: Sent) -> Vec<Refusal> {
        match sent {
            _ if indices.is_empty() => Vec::new(),
            Sent::Together => {
                let _shared = self.producer.queue.read().await;
                self.send_together(indices).await
            }
            Sent::Alone => {
                let _alone = self.producer.queue.write().await;
                let mut refusals = Vec::new();
                for index in indices {
                    refusals.extend(self.send_together(&[*index]).await);
                }
                refusals
            }
        }
    }

    async fn send_together(&self, indices: &[usize]) -> Vec<Refusal> {
        let send = async {
            let _turn = self.producer.turn.lock().await;
            for turn in indices.chunks(SEND_RECORDS) {
                for &index in turn {
                    self.send_one(index).await;
                }
                self.producer.take_reports();
                tokio::task::consume_budget().await;
            }
        };
        let _watch = self.producer.listener.watch();
        let mut reports = pin!(self.delivery.reports(indices.len(), send));
        let since = Instant::now();
        let refusals = loop {
            let look = (since.elapsed() / LOOK_PART).clamp(LOOK_MIN, LOOK_MAX);
            select! {
                biased;
                refusals = &mut reports => break refusals,
                () = sleep(look) => self.producer.take_reports(),
            }
        };
        let named = |(index, code): Unpublished| Refusal {
            index,
            topic: self.outputs[index].topic.clone(),
            code,
        };
        refusals.into_iter().map(named).collect()
    }

    async fn send_one(&self, index: usize) {
        let Producer { client, deliveries, .. } = self.producer;
        let tag = self.delivery.tag(index);
        let mut record = borrowed(&self.outputs[index], tag);
        while let Err((error, refused)) = client.send(record) {
            record = refused;
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::InvalidArgument);
            if code != RDKafkaErrorCode::QueueFull {
                return deliveries.report(tag, Err(code));
            }
            deliveries.queue_is_full();
            // Without a report in time, the record is sent again.
            let _ = timeout(FULL_WAIT, deliveries.room()).await;
        }
    }
}

fn borrowed(record: &ProducerRecord, tag: usize) -> BaseRecord<'_, [u8], [u8], usize> {
    let headers = (!record.headers.is_empty()).then(|| {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        record.headers.iter().fold(headers, |headers, header| {
            headers.insert(Header { key: &header.name, value: header.value.as_deref() })
        })
    });
    BaseRecord {
        topic: &record.topic,
        partition: record.partition,
        payload: record.value.as_deref(),
        key: record.key.as_deref(),
        timestamp: record.timestamp,
        headers,
        delivery_opaque: tag,
    }
}
