//! A client that asks for metadata, and hears why it gets no answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker};
use rdkafka::{ClientConfig, ClientContext};
use tokio::time::Instant;

use super::failures::Failures;
use super::observer::{ErrorKind, Told};

/// How long one question waits, until it is seen why there is no answer.
const QUESTION_LIMIT: Duration = Duration::from_millis(500);

/// How long a connection may take to be set up, in ms. A broker that takes it and says nothing, as
/// one that hangs does, is named only then.
const SETUP_LIMIT_MS: &str = "4000";

/// A name that no group has: who asks brokers for one gets an answer of each.
const NO_GROUP: &str = "jobstream-asks-whether-brokers-answer";

/// What it means that there is no answer, and why.
pub(super) type Refusal = (ErrorKind, String);

/// What the brokers say of a topic.
pub(super) struct Found {
    /// How many brokers the cluster has.
    pub(super) brokers: usize,
    /// How many replicas each partition has, if there is such a topic.
    pub(super) partitions: Option<Vec<usize>>,
}

/// A consumer without a group: librdkafka tells the errors of other clients to nobody who asks.
pub(super) struct Asking {
    client: BaseConsumer<AskingContext>,
    /// Those that it was told, as they were told.
    brokers: String,
}

/// Keeps what is heard of the brokers while they are asked.
struct AskingContext {
    told: Told,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    /// How often something was heard.
    count: u64,
    /// The last refusal, which no time mends.
    refusal: Option<Refusal>,
    failures: Failures,
}

impl Heard {
    fn hear(&mut self, hear: impl FnOnce(&mut Self)) {
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
        self.heard().hear(|heard| heard.failures.hear(level, facility, line));
        self.told.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        self.heard().hear(|heard| {
            if matches!(kind, ErrorKind::Authentication | ErrorKind::Tls) {
                heard.refusal = Some((kind, reason.to_owned()));
            }
        });
        self.told.error(&error, reason);
    }

    fn stats_raw(&self, _: &[u8]) {
        self.heard().hear(|_| {});
    }
}

impl ConsumerContext for AskingContext {}

impl Asking {
    pub(super) fn new(config: &ClientConfig, told: Told) -> KafkaResult<Self> {
        let mut config = config.clone();
        config.set("socket.connection.setup.timeout.ms", SETUP_LIMIT_MS);
        let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        let context = AskingContext { told, heard: Mutex::default() };
        let client = BaseConsumer::from_config_and_context(&config, context)?;
        Ok(Self { client, brokers })
    }

    /// What the brokers say of a topic. Blocks up to the limit; credentials or a certificate that are
    /// refused end it at once.
    pub(super) fn topic(&self, topic: &str, limit: Duration) -> Result<Found, Refusal> {
        self.until(Instant::now() + limit, || found(&self.metadata(topic)?, topic))
    }

    /// The number of a broker of the cluster, if it has any. Blocks up to the limit.
    pub(super) fn broker(&self, topic: &str, limit: Duration) -> Result<Option<i32>, Refusal> {
        self.until(Instant::now() + limit, || {
            Ok(self.metadata(topic)?.brokers().first().map(MetadataBroker::id))
        })
    }

    /// Has every broker of the cluster answer, at the address that it is known by in the cluster,
    /// and says how many there are. Blocks up to the limit.
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
                let failures = self.client.context().heard().failures.told_of_named_brokers();
                let reason = failures.unwrap_or_else(|| no_answer(&names.join(", ")));
                return Err((ErrorKind::Unreachable, reason));
            }
        }
    }

    fn metadata(&self, topic: &str) -> KafkaResult<Metadata> {
        self.client.fetch_metadata(Some(topic), QUESTION_LIMIT)
    }

    /// Asks until there is an answer, or a refusal that no time mends, or for so long.
    fn until<T>(&self, until: Instant, ask: impl Fn() -> KafkaResult<T>) -> Result<T, Refusal> {
        loop {
            let code = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => error.rdkafka_error_code(),
            };
            self.listen()?;
            let kind = ErrorKind::of(code);
            if kind == ErrorKind::Unreachable && Instant::now() < until {
                continue;
            }
            let reason = match code {
                Some(code) if kind != ErrorKind::Unreachable => code.to_string(),
                _ => {
                    let failures = self.client.context().heard().failures.told();
                    failures.unwrap_or_else(|| no_answer(&self.brokers))
                }
            };
            return Err((kind, reason));
        }
    }

    /// Hears all that the client was told meanwhile; what is final ends the question. A poll hears
    /// one thing at most, and yields nothing for it.
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

/// What the brokers say of a topic.
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

/// Where nothing is known but who was asked.
fn no_answer(asked: &str) -> String {
    format!("no answer from {asked}")
}
