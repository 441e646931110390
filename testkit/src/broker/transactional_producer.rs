//! A transactional producer, step by step, for tests that stop between the steps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jobstream::position::PartitionPosition;
use jobstream::record::ProducerRecord;
use tokio::time::Instant;

use super::Broker;
use super::member::MemberId;
use super::operation::{Fault, Operation};
use super::producer::ProduceError;

/// A transaction that did not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// A newer producer has this transactional id, or the transaction timed out; it is aborted.
    #[error("the producer is fenced: {0}")]
    Fenced(String),
    /// The member may not commit these positions; the transaction is to be aborted.
    #[error("the positions are fenced: {0}")]
    GroupFenced(String),
    /// The broker does not take so much metadata with a position; the transaction is to be aborted.
    #[error("{0}")]
    MetadataTooLarge(String),
    /// The step does not fit.
    #[error("wrong step: {0}")]
    State(&'static str),
    /// A record can't be appended; nothing was.
    #[error(transparent)]
    Record(#[from] ProduceError),
    /// A fault that was set; the step had no effect.
    #[error("{0:?} fault was set")]
    Fault(Fault),
}

/// The member that commits positions in a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMetadata {
    pub(super) group: Arc<str>,
    pub(super) member: MemberId,
    pub(super) session: Option<u64>,
}

impl Broker {
    pub(super) fn group_metadata(&self, member: MemberId) -> GroupMetadata {
        let state = self.lock();
        let group = state.members[member.0].subscription.group.clone();
        GroupMetadata { group, member, session: state.members[member.0].session() }
    }
}

/// A producer with a transactional id. One transaction at a time.
///
/// Every step completes when the broker has it; cancelled, it was done or not, as a whole. Dropped,
/// it leaves an open transaction to its timeout or to the next producer of its id.
#[derive(Debug)]
pub struct TransactionalProducer {
    broker: Broker,
    id: Arc<str>,
    /// Which producer of its id it is.
    instance: AtomicU64,
    member: Option<MemberId>,
}

impl TransactionalProducer {
    pub(super) fn new(broker: Broker, id: Arc<str>, member: Option<MemberId>) -> Self {
        let instance = AtomicU64::new(broker.change(|state| state.init_producer(&id)));
        Self { broker, id, instance, member }
    }

    /// Becomes the newest producer of its id once more, and aborts what was open.
    pub fn init(&self) {
        let instance = self.broker.change(|state| state.init_producer(&self.id));
        self.instance.store(instance, Ordering::Release);
    }

    /// Begins a transaction; the broker's transaction timeout runs from here.
    ///
    /// # Errors
    /// If the producer is fenced, or a transaction is open.
    pub async fn begin(&self) -> Result<(), TransactionError> {
        let begun =
            self.broker.perform_at_last(Operation::BeginTransaction, self.member, |state| {
                state.begin(&self.id, self.instance(), Instant::now())
            });
        begun.await.unwrap_or_else(|fault| Err(TransactionError::Fault(fault)))
    }

    /// The same, but aborts what was left open before.
    pub(super) async fn begin_anew(&self) -> Result<(), TransactionError> {
        match self.begin().await {
            Err(TransactionError::State(_)) => {
                self.give_up();
                self.begin().await
            }
            begun => begun,
        }
    }

    /// Appends records to the transaction, and gives the partition and offset of each.
    ///
    /// # Errors
    /// If the producer is fenced, no transaction is open, or a record can't be appended.
    pub async fn send(
        &self,
        records: &[ProducerRecord],
    ) -> Result<Vec<(i32, i64)>, TransactionError> {
        let sent = self.broker.perform_at_last(Operation::Publish, self.member, |state| {
            state.send(&self.id, self.instance(), records)
        });
        sent.await.unwrap_or_else(|fault| Err(TransactionError::Fault(fault)))
    }

    /// Adds positions to the transaction; they are committed with it.
    ///
    /// # Errors
    /// If the producer is fenced, no transaction is open, or the member may not commit them.
    pub async fn send_offsets(
        &self,
        positions: &[PartitionPosition],
        group: &GroupMetadata,
    ) -> Result<(), TransactionError> {
        let sent = self.broker.perform_at_last(Operation::Commit, self.member, |state| {
            let GroupMetadata { member, session, .. } = group;
            let joined = state.members[member.0].session();
            if joined.is_none() || joined != *session {
                let reason = format!("{member} has another session by now, or none");
                return Err(TransactionError::GroupFenced(reason));
            }
            state.fence(*member, positions).map_err(TransactionError::GroupFenced)?;
            state.send_offsets(&self.id, self.instance(), group, positions)
        });
        sent.await.unwrap_or_else(|fault| Err(TransactionError::Fault(fault)))
    }

    /// Commits the transaction: its records become visible, its positions are committed.
    ///
    /// # Errors
    /// If the producer is fenced, or no transaction is open.
    pub async fn commit(&self) -> Result<(), TransactionError> {
        self.end(true).await
    }

    /// Aborts the transaction: its records stay invisible to `read_committed`, its positions are
    /// dropped.
    ///
    /// # Errors
    /// If the producer is fenced, or no transaction is open.
    pub async fn abort(&self) -> Result<(), TransactionError> {
        self.end(false).await
    }

    async fn end(&self, committed: bool) -> Result<(), TransactionError> {
        let ended = self.broker.perform_at_last(Operation::EndTransaction, self.member, |state| {
            state.end_transaction(&self.id, self.instance(), committed)
        });
        ended.await.unwrap_or_else(|fault| Err(TransactionError::Fault(fault)))
    }

    /// Aborts what is open, unless the producer is fenced, at once and whatever faults are set.
    pub(super) fn give_up(&self) {
        self.broker.change(|state| drop(state.end_transaction(&self.id, self.instance(), false)));
    }

    fn instance(&self) -> u64 {
        self.instance.load(Ordering::Acquire)
    }
}
