//! A client that asks for metadata, and learns why no answer comes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream_kafka_ids::topic_ids;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;

use super::error::code_of;
use super::failures::Failures;
use super::observer::{ErrorKind, ObserverContext};
use crate::record::TopicId;

/// How long one question waits before the client looks why there is no answer.
const QUESTION_LIMIT: Duration = Duration::from_millis(500);

/// How long a connection may take to be set up, in ms. A broker that accepts it and then hangs is
/// named only after this time.
const SETUP_LIMIT_MS: &str = "4000";

/// A name that no group has. A question about it is answered by every broker.
const NO_GROUP: &str = "jobstream-asks-whether-brokers-answer";

/// Why there is no answer: the kind of error, and its reason.
pub(super) type Refusal = (ErrorKind, String);

/// What the brokers answer about a topic.
pub(super) struct Found {
    /// How many brokers the cluster has.
    pub(super) brokers: usize,
    /// How many replicas each partition has, if there is such a topic.
    pub(super) partitions: Option<Vec<usize>>,
}

/// A consumer without a group. librdkafka delivers errors to no other kind of client while it waits
/// for an answer.
pub(super) struct Asking {
    client: BaseConsumer<AskingContext>,
    /// The brokers of the configuration, as they were written there.
    brokers: String,
}

/// Keeps what the client logs about the brokers while it asks them.
struct AskingContext {
    observer: ObserverContext,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// How often the client has logged or reported anything.
    count: u64,
    /// The last refusal that no further attempt would change.
    refusal: Option<Refusal>,
    failures: Failures,
}

impl Heard {
    fn count(&mut self, hear: impl FnOnce(&mut Self)) {
        self.count = self.count.wrapping_add(1);
        hear(self);
    }
}

impl AskingContext {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for AskingContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.heard().count(|heard| heard.failures.hear(level, facility, line));
        self.observer.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        self.heard().count(|heard| {
            if matches!(kind, ErrorKind::Authentication | ErrorKind::Tls) {
                heard.refusal = Some((kind, reason.to_owned()));
            }
        });
        self.observer.error(&error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {
        self.heard().count(|_| {});
    }
}

impl ConsumerContext for AskingContext {}

impl Asking {
    pub(super) fn new(config: &ClientConfig, observer: ObserverContext) -> KafkaResult<Self> {
        let mut config = config.clone();
        config.set("socket.connection.setup.timeout.ms", SETUP_LIMIT_MS);
        let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        let context = AskingContext { observer, heard: Mutex::default() };
        let client = BaseConsumer::from_config_and_context(&config, context)?;
        Ok(Self { client, brokers })
    }

    /// What the brokers answer about a topic. Blocks up to the limit; refused credentials or a
    /// refused certificate end the wait at once.
    pub(super) fn topic(&self, topic: &str, limit: Duration) -> Result<Found, Refusal> {
        self.until(Instant::now() + limit, || found(&self.metadata(topic)?, topic))
    }

    /// The id of a topic, if there is such a topic and the brokers know ids. Blocks up to the limit.
    pub(super) fn id(&self, topic: &str, limit: Duration) -> Result<Option<TopicId>, Refusal> {
        self.until(Instant::now() + limit, || {
            let ids = topic_ids(self.client.client(), &[topic], QUESTION_LIMIT)?;
            Ok(ids.get(topic).copied().map(TopicId::new))
        })
    }

    /// The number of a broker of the cluster, if it has any. Blocks up to the limit.
    pub(super) fn broker(&self, topic: &str, limit: Duration) -> Result<Option<i32>, Refusal> {
        self.until(Instant::now() + limit, || {
            Ok(self.metadata(topic)?.brokers().first().map(MetadataBroker::id))
        })
    }

    /// Waits until every broker of the cluster has answered at the address under which the cluster
    /// knows it, and returns their number. Blocks up to the limit.
    pub(super) fn reach(&self, topic: &str, limit: Duration) -> Result<usize, Refusal> {
        let until = Instant::now() + limit;
        let names = self.until(until, || Ok(named_brokers(&self.metadata(topic)?)))?;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let asked = self.client.fetch_group_list(Some(NO_GROUP), left.min(QUESTION_LIMIT));
            let code = asked.err().and_then(|error| error.rdkafka_error_code());
            self.listen()?;
            if !code.is_some_and(is_silence) {
                return Ok(names.len());
            }
            if left.is_zero() {
                let failures = self.client.context().heard().failures.of_named_brokers();
                let reason = failures.unwrap_or_else(|| no_answer(&names.join(", ")));
                return Err((ErrorKind::Unreachable, reason));
            }
        }
    }

    fn metadata(&self, topic: &str) -> KafkaResult<Metadata> {
        self.client.fetch_metadata(Some(topic), QUESTION_LIMIT)
    }

    /// Asks until there is an answer or a final refusal, at most until this time.
    fn until<T>(&self, until: Instant, ask: impl Fn() -> KafkaResult<T>) -> Result<T, Refusal> {
        loop {
            let code = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => Some(code_of(&error)),
            };
            self.listen()?;
            let kind = ErrorKind::of(code);
            if kind == ErrorKind::Unreachable && Instant::now() < until {
                continue;
            }
            let reason = match code {
                Some(code) if kind != ErrorKind::Unreachable => code.to_string(),
                _ => {
                    let failures = self.client.context().heard().failures.joined();
                    failures.unwrap_or_else(|| no_answer(&self.brokers))
                }
            };
            return Err((kind, reason));
        }
    }

    /// Takes everything that the client has reported meanwhile; a final refusal ends the question.
    /// One poll takes one report at most, and returns nothing for it.
    fn listen(&self) -> Result<(), Refusal> {
        loop {
            let before = self.client.context().heard().count;
            let is_quiet = self.client.poll(Duration::ZERO).is_none();
            let mut heard = self.client.context().heard();
            if is_quiet && heard.count == before {
                return heard.refusal.take().map_or(Ok(()), Err);
            }
        }
    }
}

/// What the brokers answer about a topic.
fn found(metadata: &Metadata, topic: &str) -> KafkaResult<Found> {
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

/// The brokers of the cluster, as `host:port/number`.
fn named_brokers(metadata: &Metadata) -> Vec<String> {
    let brokers = metadata.brokers().iter();
    brokers.map(|it| format!("{}:{}/{}", it.host(), it.port(), it.id())).collect()
}

/// Whether some broker has not answered; a refusal is an answer.
fn is_silence(code: RDKafkaErrorCode) -> bool {
    code == RDKafkaErrorCode::Partial || ErrorKind::of(Some(code)) == ErrorKind::Unreachable
}

/// The reason where only the brokers that were asked are known.
fn no_answer(asked: &str) -> String {
    format!("no answer from {asked}")
}
