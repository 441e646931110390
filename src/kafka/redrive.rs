//! A redrive sends records again, each batch in one [transaction](super::transactions) with the
//! position up to which the batch was read.
//!
//! The group has no members; it only keeps the progress of a run. The transactional id is the
//! group's name, so that a second process that continues a run fences the first (KIP-98).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::util::Timeout;
use rdkafka::{Offset, TopicPartitionList};

use super::blocking::ask;
use super::observer::{ErrorKind, ObserverContext};
use super::range::QUESTION_LIMIT;
use super::transactions::{Failure, Group, Transactions};
use super::{Blocking, ConfigError, KafkaConfig, code_of};
use crate::record::{ProducerRecord, TopicPartition};
use crate::sources::kafka::{Offsets, metadata_of};

/// How long one call of the client waits for the brokers.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long a call is repeated while it fails with a passing error.
const PATIENCE: Duration = Duration::from_secs(60);

/// The progress of a run in a partition.
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
    /// Another process continues this run; nothing was sent here.
    #[error("another process has taken this run over: {0}")]
    Fenced(String),
    /// Nothing more is sent. The positions of the run show whether the last batch was committed.
    #[error("{0}")]
    Failed(String),
}

impl From<ConfigError> for RedriveError {
    fn from(error: ConfigError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Sends the batches of one run. After the drop, its clients end on threads of their own; an open
/// transaction is aborted by the next process of the run, or by its timeout (10 s).
#[derive(Debug)]
pub struct Redrive {
    transactions: Transactions<Run>,
    /// After a call has failed, the state of the producer is not known.
    has_failed: AtomicBool,
}

impl Redrive {
    /// Takes a run over: fences the process that has it, and aborts its open transaction. `group`
    /// is the run's name, and must be used for nothing else. Takes up to 60 s.
    ///
    /// # Errors
    /// If librdkafka refuses a property, or the brokers refuse the producer.
    pub async fn new(config: &KafkaConfig, group: &str) -> Result<Self, RedriveError> {
        let transactions = Transactions::new(config, group, Run::new(config, group)?)?;
        transactions.init().await.map_err(meaning)?;
        Ok(Self { transactions, has_failed: AtomicBool::new(false) })
    }

    /// The positions of the run in those of these partitions that have one, without taking the run
    /// over. Waits for the end of an open transaction of the run. Takes up to 60 s.
    ///
    /// # Errors
    /// If the brokers do not answer.
    pub async fn positions(
        config: &KafkaConfig,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<Vec<RunPosition>, RedriveError> {
        let run = Blocking::start("kafka-redrive", Run::new(config, group)?)?;
        let partitions = partitions.to_vec();
        let found = run.call(move |run| run.positions(&partitions)).await;
        let reason = |error: KafkaError| match ErrorKind::of(Some(code_of(&error))) {
            ErrorKind::Authorization => {
                format!("the right Read on group '{group}' is missing: {error}")
            }
            _ => error.to_string(),
        };
        let found = found.map(|found| found.map_err(reason));
        let panicked = || Err("a call of the client has panicked".to_owned());
        found.unwrap_or_else(panicked).map_err(RedriveError::Failed)
    }

    /// Sends a batch and moves the run to these positions, both in one transaction; completes when
    /// it is committed. Whether a cancelled call has committed is not known.
    ///
    /// # Errors
    /// See [`RedriveError`].
    pub async fn publish(
        &self,
        records: &[ProducerRecord],
        positions: &[RunPosition],
    ) -> Result<(), RedriveError> {
        if self.has_failed.load(Ordering::Acquire) {
            return Err(RedriveError::Failed("the run has failed before".to_owned()));
        }
        let published = self.transactions.run(records, positions).await.map(drop).map_err(meaning);
        if let Err(RedriveError::Fenced(_) | RedriveError::Failed(_)) = &published {
            self.has_failed.store(true, Ordering::Release);
            // Best effort: the timeout, or the next process of the run, aborts the transaction
            // otherwise.
            drop(self.transactions.close().await);
        }
        published
    }
}

fn meaning(failure: Failure) -> RedriveError {
    match failure {
        Failure::Fenced(reason) => RedriveError::Fenced(reason.to_string()),
        Failure::Stale(reason) | Failure::Aborted(reason) => {
            RedriveError::Aborted(reason.to_string())
        }
        Failure::TooLarge(records) => RedriveError::TooLarge(records),
        Failure::Broken(reason) => RedriveError::Failed(reason.to_string()),
    }
}

/// The group of a run. Its client never subscribes.
struct Run(BaseConsumer<ObserverContext>);

impl Run {
    fn new(config: &KafkaConfig, group: &str) -> Result<Self, ConfigError> {
        let properties = config.consumer(group);
        Ok(Self(BaseConsumer::from_config_and_context(&properties, config.observer_context())?))
    }

    fn positions(&self, partitions: &[TopicPartition]) -> KafkaResult<Vec<RunPosition>> {
        let mut list = TopicPartitionList::new();
        for TopicPartition { topic, partition } in partitions {
            list.add_partition(topic, *partition);
        }
        let found = ask(PATIENCE, || {
            let asked = self.0.committed_offsets(list.clone(), QUESTION_LIMIT);
            asked.map_err(|error| self.refusal().unwrap_or(error))
        })?;
        let position = |partition: &TopicPartition| {
            let element = found.find_partition(&partition.topic, partition.partition)?;
            let Offset::Offset(offset) = element.offset() else { return None };
            let note = metadata_of(&element).unwrap_or_default();
            Some(RunPosition { partition: partition.clone(), offset, note })
        };
        Ok(partitions.iter().filter_map(position).collect())
    }
}

impl Run {
    /// Why the coordinator can't be found, if the right to read the group is missing: the question
    /// itself only waits.
    fn refusal(&self) -> Option<KafkaError> {
        let reported = std::iter::from_fn(|| self.0.poll(Duration::ZERO));
        let mut errors = reported.filter_map(Result::err);
        errors.find(|error| ErrorKind::of(Some(code_of(error))) == ErrorKind::Authorization)
    }
}

/// A position can be taken over only by another process of the run, which fences this one.
impl Group for Run {
    type Position = RunPosition;

    const CALL_LIMIT: Timeout = Timeout::After(CALL_LIMIT);
    const PATIENCE: Duration = PATIENCE;
    const ABORTS_MAX: usize = 5;

    fn fence(&self, _: &[RunPosition]) -> Result<(), String> {
        Ok(())
    }

    fn metadata(&self) -> Option<ConsumerGroupMetadata> {
        self.0.group_metadata()
    }

    fn offsets(&self, positions: &[RunPosition]) -> Result<KafkaResult<Offsets>, String> {
        let mut positions = positions.iter();
        Ok(positions
            .try_fold(Offsets::default(), |all, RunPosition { partition, offset, note }| {
                all.add(partition, *offset, note)
            }))
    }

    fn refused(&self, error: &KafkaError, _: &[Self::Position], _: usize) -> Option<String> {
        (code_of(error) == RDKafkaErrorCode::OffsetMetadataTooLarge).then(|| {
            format!(
                "the brokers take less metadata with a commit than the note of a run needs; \
                 raise offset.metadata.max.bytes, 4096 by default: {error}"
            )
        })
    }

    fn ended(&self, _: bool) {}

    fn fenced(&self, _: &str) -> bool {
        false
    }

    fn committed(&self, of: &TopicPartitionList) -> Option<KafkaResult<TopicPartitionList>> {
        Some(self.0.committed_offsets(of.clone(), CALL_LIMIT))
    }
}
