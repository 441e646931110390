//! A client that asks for metadata, and hears why it gets no answer.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;

use super::observer::{ErrorKind, Told};

/// How long one question waits, until it is seen why there is no answer.
const QUESTION_LIMIT: Duration = Duration::from_millis(500);

type Refusal = (ErrorKind, String);

/// What the brokers say of a topic.
pub(super) struct Found {
    /// How many brokers the cluster has.
    pub(super) brokers: usize,
    /// How many replicas each partition has, if there is such a topic.
    pub(super) partitions: Option<Vec<usize>>,
}

/// A consumer without a group: librdkafka tells the errors of other clients to nobody who asks.
pub(super) struct Asking(BaseConsumer<AskingContext>);

/// Keeps the last refusal, which no time mends.
struct AskingContext {
    told: Told,
    refusal: Mutex<Option<Refusal>>,
}

impl ClientContext for AskingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.told.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        if matches!(kind, ErrorKind::Authentication | ErrorKind::Tls) {
            let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            *refusal = Some((kind, reason.to_owned()));
        }
        self.told.error(&error, reason);
    }
}

impl ConsumerContext for AskingContext {}

impl Asking {
    pub(super) fn new(config: &ClientConfig, told: Told) -> KafkaResult<Self> {
        let context = AskingContext { told, refusal: Mutex::default() };
        BaseConsumer::from_config_and_context(config, context).map(Self)
    }

    /// What the brokers say of a topic. Blocks up to the limit; credentials or a certificate that are
    /// refused end it at once.
    pub(super) fn topic(&self, topic: &str, limit: Duration) -> Result<Found, Refusal> {
        let until = Instant::now() + limit;
        loop {
            let error = match self.ask(topic) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            if let Some(refusal) = self.heard() {
                return Err(refusal);
            }
            let kind = ErrorKind::of(error.rdkafka_error_code());
            if kind != ErrorKind::Unreachable || Instant::now() >= until {
                return Err((kind, error.to_string()));
            }
        }
    }

    fn ask(&self, topic: &str) -> KafkaResult<Found> {
        let metadata = self.0.fetch_metadata(Some(topic), QUESTION_LIMIT)?;
        let none = Found { brokers: metadata.brokers().len(), partitions: None };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found else { return Ok(none) };
        match found.error().map(RDKafkaErrorCode::from) {
            None => {
                let replicas = found.partitions().iter().map(|it| it.replicas().len());
                Ok(Found { partitions: Some(replicas.collect()), ..none })
            }
            Some(code) if ErrorKind::of(Some(code)) == ErrorKind::UnknownTopic => Ok(none),
            Some(code) => Err(KafkaError::MetadataFetch(code)),
        }
    }

    /// What the client was told meanwhile, if that is final.
    fn heard(&self) -> Option<Refusal> {
        while self.0.poll(Duration::ZERO).is_some() {}
        self.0.context().refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
