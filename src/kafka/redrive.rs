//! A redrive: records sent again, each batch in one transaction with the position that it was read
//! up to.
//!
//! ```text
//!  begin ─▶ send ─▶ every report ─▶ position of the group ─▶ commit
//!    └────────┴───────────┴─────────────── abort ◀─────────────┘
//! ```
//!
//! The group has no members: it only keeps how far a run has come. The transactional id is the
//! group's name, so that a second process which goes on with a run fences the first (KIP-98).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::Producer as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::error::is_fenced;
use super::observer::{ErrorKind, Told};
use super::{Calls, ConfigError, KafkaConfig};
use crate::record::{ProducerRecord, TopicPartition};
use crate::sinks::kafka::{Producer, Refusal, Sent, take_too_large};
use crate::sources::kafka::read;

/// How long one call of the client waits for the brokers.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long a call is made again while it fails for now.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wait before a call that failed for now is made again.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// How often a batch whose transaction was aborted is sent again.
const ABORTS_MAX: usize = 5;

/// How far a run has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunPosition {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset that the run has not dealt with.
    pub offset: i64,
    /// A note of the caller's, up to 4,095 characters; empty if there is none.
    pub note: String,
}

/// Why a batch was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedriveError {
    /// These records are larger than the broker takes; nothing was sent.
    #[error("{} records are larger than the broker takes", .0.len())]
    TooLarge(Vec<usize>),
    /// The transaction was aborted several times; nothing was sent.
    #[error("the transaction was aborted: {0}")]
    Aborted(String),
    /// Another process goes on with this run; nothing was sent here.
    #[error("another process has taken this run over: {0}")]
    Fenced(String),
    /// Nothing more is sent. What became of the last batch is told by the run's positions.
    #[error("{0}")]
    Failed(String),
}

impl From<ConfigError> for RedriveError {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Sends the batches of one run. Dropped, its clients end on a thread of their own; an open
/// transaction is aborted by the next process of the run, or by its timeout (10 s).
pub struct Redrive {
    /// Taken by the drop, so that the clients end on the thread of the calls.
    core: Option<Arc<Core>>,
    calls: Calls,
}

struct Core {
    /// Never subscribes: it stands for the group.
    consumer: BaseConsumer<Told>,
    producer: Producer,
    /// A call that has failed leaves the producer as nobody knows.
    is_broken: AtomicBool,
}

impl Redrive {
    /// Takes a run over: fences whoever has it, and aborts what was left open. `group` is the
    /// run's name; it must be the group of nothing else. Takes up to 60 s.
    ///
    /// # Errors
    /// If librdkafka refuses a property, or the brokers the producer.
    pub async fn new(config: &KafkaConfig, group: &str) -> Result<Self, RedriveError> {
        let consumer = group_client(config, group)?;
        let producer = Producer::new(config, Some(group))?;
        let calls = Calls::start("kafka-redrive");
        let calls = calls.map_err(|error| ConfigError::Refused(error.to_string()))?;
        let core = Core { consumer, producer, is_broken: AtomicBool::new(false) };
        let redrive = Self { core: Some(Arc::new(core)), calls };
        redrive.call(Core::init).await?;
        Ok(redrive)
    }

    /// Where the run is in these partitions, without taking it over: those that it has a position
    /// of. A transaction of the run that is open is waited for. Takes up to 60 s.
    ///
    /// # Errors
    /// If the brokers do not tell.
    pub async fn positions(
        config: &KafkaConfig,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<RunPosition>, RedriveError> {
        let client = Arc::new(group_client(config, group)?);
        let calls = Calls::start("kafka-redrive");
        let calls = calls.map_err(|error| ConfigError::Refused(error.to_string()))?;
        let (asked, partitions) = (client.clone(), partitions.to_vec());
        let answer = calls.call(move || committed(&asked, &partitions)).await;
        calls.tell(move || drop(client));
        answer.unwrap_or_else(|| Err(panicked()))
    }

    /// Sends a batch and moves the run to these positions, both in one transaction; completes when
    /// it is committed. Cancelled, nobody knows whether it was.
    ///
    /// # Errors
    /// See [`RedriveError`].
    pub async fn publish(
        &self,
        records: &[ProducerRecord],
        positions: &[RunPosition],
    ) -> Result<(), RedriveError> {
        let (mut alone, mut aborts) = (Vec::new(), 0);
        loop {
            match self.attempt(records, positions, &alone).await {
                // The broker refuses whole batches; alone, it is the record itself.
                Err(RedriveError::TooLarge(suspects)) if alone.is_empty() => alone = suspects,
                Err(RedriveError::Aborted(_)) if aborts < ABORTS_MAX => aborts += 1,
                done => return done,
            }
        }
    }

    /// One transaction, in which the records with the indices `alone` are sent alone.
    async fn attempt(
        &self,
        records: &[ProducerRecord],
        positions: &[RunPosition],
        alone: &[usize],
    ) -> Result<(), RedriveError> {
        self.call(Core::begin).await?;
        let together: Vec<_> = (0..records.len()).filter(|index| !alone.contains(index)).collect();
        let sending = self.core().producer.begin(records);
        let mut refusals = sending.send(&together, Sent::Together).await;
        if refusals.is_empty() {
            for index in alone {
                refusals.extend(sending.send(&[*index], Sent::Alone).await);
                // What is sent after a refusal is refused, too.
                if !refusals.is_empty() {
                    break;
                }
            }
        }
        drop(sending);
        let positions = positions.to_vec();
        self.call(move |core| core.end(refusals, &positions)).await
    }

    fn core(&self) -> &Arc<Core> {
        self.core.as_ref().expect("taken by the drop only")
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Core) -> Result<T, RedriveError> + Send + 'static,
    ) -> Result<T, RedriveError> {
        let core = self.core().clone();
        let called = self.calls.call(move || call(&core)).await;
        called.unwrap_or_else(|| Err(panicked()))
    }
}

impl Drop for Redrive {
    fn drop(&mut self) {
        let core = self.core.take();
        self.calls.tell(move || drop(core));
    }
}

impl fmt::Debug for Redrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redrive").finish_non_exhaustive()
    }
}

impl Core {
    fn init(&self) -> Result<(), RedriveError> {
        self.persist(|| self.producer.client().init_transactions(CALL_LIMIT))
    }

    fn begin(&self) -> Result<(), RedriveError> {
        if self.is_broken.load(Ordering::Acquire) {
            return Err(RedriveError::Failed("the run has failed before".to_owned()));
        }
        self.persist(|| self.producer.client().begin_transaction())
    }

    /// Commits the transaction, or aborts it.
    fn end(
        &self,
        mut refusals: Vec<Refusal>,
        positions: &[RunPosition],
    ) -> Result<(), RedriveError> {
        let too_large = take_too_large(&mut refusals);
        let ended = if !too_large.is_empty() {
            Err(RedriveError::TooLarge(too_large))
        } else if let Some(refusal) = refusals.first() {
            Err(self.fatal().unwrap_or_else(|| RedriveError::Aborted(refusal.code.to_string())))
        } else {
            self.commit(positions)
        };
        if let Err(RedriveError::TooLarge(_) | RedriveError::Aborted(_)) = &ended {
            self.persist(|| self.producer.client().abort_transaction(CALL_LIMIT))?;
        } else if ended.is_err() {
            self.is_broken.store(true, Ordering::Release);
            // It is aborted by its timeout, or by the next process of the run, if not by this.
            drop(self.producer.client().abort_transaction(CALL_LIMIT));
        }
        ended
    }

    fn commit(&self, positions: &[RunPosition]) -> Result<(), RedriveError> {
        let failed = |error: KafkaError| RedriveError::Failed(error.to_string());
        let mut offsets = TopicPartitionList::new();
        for RunPosition { partition, offset, note } in positions {
            let mut element = offsets.add_partition(&partition.topic, partition.partition);
            element.set_offset(Offset::Offset(*offset)).map_err(failed)?;
            element.set_metadata(note);
        }
        let Some(group) = self.consumer.group_metadata() else {
            return Err(RedriveError::Failed("the consumer has no group".to_owned()));
        };
        let client = self.producer.client();
        self.persist(|| client.send_offsets_to_transaction(&offsets, &group, CALL_LIMIT))?;
        self.persist(|| client.commit_transaction(CALL_LIMIT))
    }

    /// Makes a call until it no longer fails for now.
    fn persist(&self, call: impl FnMut() -> KafkaResult<()>) -> Result<(), RedriveError> {
        let done = persist(
            call,
            |error| matches!(error, KafkaError::Transaction(error) if error.is_retriable()),
        );
        done.map_err(|error| {
            self.fatal().unwrap_or_else(|| match &error {
                KafkaError::Transaction(error) if is_fenced(error.code()) => {
                    RedriveError::Fenced(error.to_string())
                }
                KafkaError::Transaction(error)
                    if error.code() == RDKafkaErrorCode::OffsetMetadataTooLarge =>
                {
                    RedriveError::Failed(format!(
                        "the brokers take less metadata with a commit than the note of a run needs; \
                         raise offset.metadata.max.bytes, 4096 by default: {error}"
                    ))
                }
                KafkaError::Transaction(error) if error.txn_requires_abort() => {
                    RedriveError::Aborted(error.to_string())
                }
                _ => RedriveError::Failed(error.to_string()),
            })
        })
    }

    fn fatal(&self) -> Option<RedriveError> {
        let (code, reason) = self.producer.client().client().fatal_error()?;
        Some(match is_fenced(code) {
            true => RedriveError::Fenced(reason),
            false => RedriveError::Failed(reason),
        })
    }
}

fn panicked() -> RedriveError {
    RedriveError::Failed("a call of the client has panicked".to_owned())
}

fn group_client(config: &KafkaConfig, group: &str) -> Result<BaseConsumer<Told>, ConfigError> {
    let properties = config.consumer(group);
    Ok(BaseConsumer::from_config_and_context(&properties, config.told())?)
}

fn committed(
    client: &BaseConsumer<Told>,
    partitions: &[TopicPartition],
) -> Result<Vec<RunPosition>, RedriveError> {
    let mut list = TopicPartitionList::new();
    for TopicPartition { topic, partition } in partitions {
        list.add_partition(topic, *partition);
    }
    let passes = |error: &KafkaError| {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        matches!(kind, ErrorKind::Unreachable | ErrorKind::Passing)
    };
    let answer = persist(|| client.committed_offsets(list.clone(), CALL_LIMIT), passes);
    let found = answer.map_err(|error| RedriveError::Failed(error.to_string()))?;
    let position = |partition: &TopicPartition| {
        let element = found.find_partition(&partition.topic, partition.partition)?;
        let Offset::Offset(offset) = element.offset() else { return None };
        let note = read(&element).unwrap_or_default();
        Some(RunPosition { partition: partition.clone(), offset, note })
    };
    Ok(partitions.iter().filter_map(position).collect())
}

/// Makes a call until it no longer fails for now, or for too long.
#[expect(clippy::disallowed_methods, reason = "the thread is there to block")]
fn persist<T>(
    mut call: impl FnMut() -> KafkaResult<T>,
    passes: impl Fn(&KafkaError) -> bool,
) -> KafkaResult<T> {
    let since = Instant::now();
    loop {
        match call() {
            Err(error) if passes(&error) && since.elapsed() < PATIENCE => {
                std::thread::sleep(RETRY_DELAY);
            }
            done => return done,
        }
    }
}
