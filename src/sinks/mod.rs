//! Sinks: where jobs are executed ([`JobSink`], or [`StatefulJobSink`]), and where records are
//! published ([`Sink`]).

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;

use crate::position::PartitionPosition;
use crate::reason::Reason;
use crate::record::{ConsumerRecord, ProducerRecord};
use crate::state::State;

mod batches;
mod circuits;
mod effect;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod ledger;
#[cfg(feature = "smtp")]
pub mod smtp;
mod within;

pub use batches::{BatchJob, BatchJobSink, BatchLimits, Batches};
pub use circuits::{Circuits, Trial};
pub use effect::Effect;
pub use error::{JobError, JobErrorKind, NOT_BEFORE_LIMIT};
pub(crate) use within::execute_within;

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

    /// What has come of an attempt that was dropped at its
    /// [time limit](crate::topology::Retry::attempt_timeout), with its effect as it was marked by
    /// then.
    ///
    /// Unless it is implemented: ambiguous where the effect had begun, else transient. A job sink
    /// around another one passes it on.
    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        end_at_the_limit(effect, limit)
    }

    /// The gate, to be written as `async fn ready(&self)`: completes at once if jobs can be
    /// executed, otherwise as soon as an attempt makes sense: pending while the sink's circuit is
    /// open, or while the receiver has asked for a pause.
    ///
    /// The topology asks before it takes in records, and before each attempt: one that waits for its
    /// key, its turn or its next attempt does not begin before the gate is open. Time at the gate
    /// counts towards no limit of the attempts.
    ///
    /// Unless it is implemented, the gate is always open.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    fn ready<'s, 'f>(&'s self) -> BoxFuture<'f, ()>
    where
        Self: 'f,
        's: 'f,
    {
        is_open()
    }
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

    /// Whether it keeps the [time limit](State::attempt_timeout) of an attempt by itself; if not, an
    /// attempt is dropped when it is over, which is ambiguous. It never changes.
    fn keeps_time(&self) -> bool {
        false
    }

    /// See [`JobSink::ready`].
    fn ready<'s, 'f>(&'s self) -> BoxFuture<'f, ()>
    where
        Self: 'f,
        's: 'f,
    {
        is_open()
    }
}

/// What an attempt that was dropped at its time limit has come to, if the job sink says nothing else.
pub(crate) fn end_at_the_limit(effect: &Effect, limit: Duration) -> JobError {
    match effect.has_begun() {
        true => JobError::ambiguous(format!("the attempt has not ended within {limit:?}")),
        false => JobError::transient(format!("the attempt has not begun within {limit:?}")),
    }
}

/// A gate that is open. It takes no memory, since each attempt asks.
pub(crate) fn is_open<'f>() -> BoxFuture<'f, ()> {
    Box::pin(poll_fn(|_| Poll::Ready(())))
}

/// What to do with a job if it is not known whether it was executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ambiguous {
    /// It is executed again: at least once.
    Resend,
    /// It is finished as failed, for a person to look at: at most once.
    Park,
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
