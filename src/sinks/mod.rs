//! Sinks: where jobs are executed ([`JobSink`], or [`StatefulJobSink`]), and where records are
//! published ([`Sink`]).

use std::error::Error;
use std::fmt;

use async_trait::async_trait;

use crate::position::PartitionPosition;
use crate::reason::{Reason, bounded};
use crate::record::{ConsumerRecord, ProducerRecord};
use crate::state::State;

mod effect;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod ledger;
#[cfg(feature = "smtp")]
pub mod smtp;

pub use effect::Effect;

/// Executes jobs: sends mails, calls webhooks, bakes pizzas.
///
/// `execute` is called for many jobs at once. Jobs with the same key are executed one at a time, in
/// the order of their offsets.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `JobSink` that makes `{Out}` of `{In}`",
    label = "`execute` takes a `JobSink<{In}, {Out}>`",
    note = "a job sink with keyed state, a `StatefulJobSink`, is executed by `execute_with_state`",
    note = "`In` is what the stages before the execution pass on"
)]
pub trait JobSink<In: Sync, Out>: Send + Sync {
    /// Executes a job once. `record` is the record that it was decoded from: its coordinates, key,
    /// headers and timestamp. The topology retries, depending on the error's kind.
    ///
    /// # Cancellation
    /// Dropping the future stops the job. A job that had begun may have been executed or not; its
    /// record is delivered again.
    ///
    /// # Errors
    /// See [`JobErrorKind`] for what the topology does with each.
    async fn execute(&self, input: &In, record: &ConsumerRecord) -> Result<Out, JobError>;

    /// Executes a job once, as [`execute`](Self::execute) does, and marks in `effect` the moment from
    /// which that can't be taken back: dropped before it, the job was certainly not executed. A
    /// [ledger](ledger) withdraws such jobs at the end of a drain.
    ///
    /// Unless it is implemented, the effect begins with the execution. A job sink around another one
    /// passes it on.
    ///
    /// # Cancellation
    /// See [`execute`](Self::execute).
    ///
    /// # Errors
    /// See [`JobErrorKind`] for what the topology does with each.
    async fn execute_with_effect(
        &self,
        input: &In,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<Out, JobError> {
        effect.begin();
        self.execute(input, record).await
    }

    /// Completes at once if jobs can be executed, otherwise as soon as an attempt makes sense:
    /// pending while the sink's circuit is open. The topology takes in no record meanwhile.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    async fn ready(&self) {}
}

/// Executes jobs with memory: a [`JobSink`] that gets the keyed state of its record's partition.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no `StatefulJobSink` that makes `{Out}` of `{In}`",
    label = "`execute_with_state` takes a `StatefulJobSink<{In}, {Out}>`",
    note = "a job sink without keyed state, a `JobSink`, is executed by `execute`",
    note = "`In` is what the stages before the execution pass on"
)]
pub trait StatefulJobSink<In: Sync, Out>: Send + Sync {
    /// Executes a job once, as [`JobSink::execute`] does. The changes of `state` by the last
    /// attempt are published with the record's outputs, also if the job has failed. The changes of
    /// an attempt that is followed by another one are dropped, unless it has
    /// [persisted](State::persist) them.
    ///
    /// # Cancellation
    /// See [`JobSink::execute`].
    ///
    /// # Errors
    /// See [`JobErrorKind`] for what the topology does with each.
    async fn execute(
        &self,
        input: &In,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<Out, JobError>;

    /// Whether its jobs withdraw by themselves when the [time of a drain is over](State::drain_ends);
    /// if not, they are dropped then. It never changes.
    fn withdraws(&self) -> bool {
        false
    }

    /// See [`JobSink::ready`].
    async fn ready(&self) {}
}

/// Why a job was not executed, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct JobError {
    kind: JobErrorKind,
    reason: String,
    is_settled: bool,
}

/// What follows from a [`JobError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobErrorKind {
    /// The job can never succeed: it is finished as failed.
    Permanent,
    /// Certainly not executed, and worth another attempt: retried with back-off, within the limits.
    Transient,
    /// Executed or not, which is not known: decided by policy.
    Ambiguous,
    /// Certainly not executed, and not the job's fault: tried again when the sink is ready; neither
    /// attempts nor the deadline count.
    Unavailable,
}

impl JobErrorKind {
    /// A short name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What to do with a job if it is not known whether it was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguous {
    /// It is executed again: at least once.
    Resend,
    /// It is finished as failed, for a person to look at: at most once.
    Park,
}

impl JobError {
    /// An error of the given kind; `reason` is for people. It goes into headers and logs, so it
    /// should name type and place, and must show nothing of the job. It is cut at
    /// [`REASON_LIMIT_BYTES`](crate::reason::REASON_LIMIT_BYTES).
    pub fn new(kind: JobErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: bounded(reason), is_settled: false }
    }

    /// The job can never succeed.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Permanent, reason)
    }

    /// Certainly not executed, worth another attempt.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Transient, reason)
    }

    /// It is not known whether the job was executed.
    pub fn ambiguous(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Ambiguous, reason)
    }

    /// Certainly not executed, and not the job's fault.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Unavailable, reason)
    }

    /// The same error, but final: the job is not tried again, whatever the kind.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.is_settled = true;
        self
    }

    /// Whether the error is final, whatever its kind.
    pub const fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// What follows from it.
    pub const fn kind(&self) -> JobErrorKind {
        self.kind
    }

    /// The reason, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Publishes records, and commits positions with them if it can.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Publishes a batch; completes when the broker has acknowledged all of it. Records with equal
    /// keys keep their order, within the batch and after those of batches that began before, unless
    /// one is refused and published again. The sink itself retries passing faults (a broker that is
    /// away) without limit.
    ///
    /// # Cancellation
    /// After a drop it is not known what was published; of a transaction it is all or nothing.
    ///
    /// # Errors
    /// See [`SinkError`].
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError>;

    /// Whether sink or source commits positions, and so how many batches may be under way at once.
    /// The answer never changes.
    fn commits(&self) -> Commits;

    /// Ends the sink; nothing is published afterwards.
    ///
    /// # Cancellation
    /// After a drop, the sink may have ended or not.
    ///
    /// # Errors
    /// If the broker could not be notified.
    async fn close(&self) -> Result<(), SinkError>;
}

/// What is published at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records, in order.
    pub outputs: Vec<ProducerRecord>,
    /// For each partition that has made progress, the position at which the records behind
    /// `outputs` (and those finished without output) are finished. Empty if batches
    /// [overlap](Commits::BySource).
    pub positions: Vec<PartitionPosition>,
}

/// The place of a published record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Whether the sink or the source commits positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commits {
    /// The sink: each batch in one transaction with its positions, one batch at a time, and no
    /// batch during a commit of the source. A batch with the position of a partition that the
    /// member has lost is refused.
    WithBatches,
    /// The source. The batch of a member that has lost its partitions is not refused.
    BySource {
        /// Batches that may be under way at once, at least 1. With 1, no batch is under way during
        /// a commit; with more, batches carry no positions.
        ///
        /// The order of a key does not depend on it: the topology overlaps only batches of jobs,
        /// and executes the next job with a key when the outputs of the one before are
        /// acknowledged, so that two batches under way never have results of one key.
        batches_at_once: usize,
    },
}

impl Commits {
    /// Batches that may be under way at once.
    pub(crate) fn batches_at_once(self) -> usize {
        match self {
            Self::WithBatches => 1,
            Self::BySource { batches_at_once } => batches_at_once.max(1),
        }
    }
}

/// What a sink has made durable: the outputs of a batch, and perhaps its positions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The places of the outputs, in the batch's order; empty unless the sink was built to keep
    /// them.
    pub places: Vec<RecordMetadata>,
    /// Whether the batch's positions were committed with the outputs, in one transaction; if not,
    /// the caller commits them through the source.
    pub has_positions: bool,
}

impl Published {
    /// The outputs are durable, without positions.
    pub const fn records() -> Self {
        Self { places: Vec::new(), has_positions: false }
    }

    /// The outputs and the positions are durable, in one transaction.
    pub const fn records_and_positions() -> Self {
        Self { places: Vec::new(), has_positions: true }
    }

    /// The same, with the places of the outputs.
    #[must_use]
    pub fn at(mut self, places: Vec<RecordMetadata>) -> Self {
        self.places = places;
        self
    }
}

/// A batch that was not published, or not as a whole.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SinkError {
    /// These outputs are larger than the broker takes; no retry changes that.
    TooLarge {
        /// Their indices in the batch, ascending.
        outputs: Vec<usize>,
        /// Whether the others were published; if not, nothing was.
        others_published: bool,
    },
    /// Nothing was published and no position committed (the transaction was aborted); the batch can
    /// be published again.
    Aborted(Reason),
    /// The sink is broken for good.
    Broken(Reason),
}

impl SinkError {
    /// Nothing was published, and the batch can be published again.
    pub fn aborted(reason: impl Into<Reason>) -> Self {
        Self::Aborted(reason.into())
    }

    /// The sink is broken for good.
    pub fn broken(reason: impl Into<Reason>) -> Self {
        Self::Broken(reason.into())
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { outputs, .. } => {
                write!(f, "{} outputs are larger than the broker takes", outputs.len())
            }
            Self::Aborted(reason) => write!(f, "the transaction was aborted: {reason}"),
            Self::Broken(reason) => write!(f, "the sink is broken: {reason}"),
        }
    }
}

impl Error for SinkError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Aborted(reason) | Self::Broken(reason) => reason.source(),
        }
    }
}
