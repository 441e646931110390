//! A consumer: a member of a group, as a source.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{Topic, TopicPartition};
use jobstream::sources::{CommitError, Once, Source, SourceError, SourceEvent};
use tokio::time::Instant;

use super::Broker;
use super::assignor::Assignor;
use super::events::Events;
use super::exactly_once::{ExactlyOnceSink, Transaction};
use super::group::Protocol;
use super::log::Isolation;
use super::member::{MemberId, Process, Subscription};
use super::operation::{Fault, Operation};
use super::transactional_producer::GroupMetadata;

/// Records of one partition that a stream fetches at once, where nothing else is said.
const MAX_POLL_RECORDS: usize = 500;

/// What a consumer subscribes to, and how. A clone of it restarts a member that has crashed.
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    broker: Broker,
    subscription: Subscription,
}

impl ConsumerBuilder {
    pub(super) fn new(broker: Broker, group: Arc<str>, topics: BTreeSet<Topic>) -> Self {
        let subscription = Subscription {
            group,
            topics,
            instance: None,
            isolation: Isolation::default(),
            protocol: Protocol::default(),
            assignor: Assignor::default(),
            max_poll_records: MAX_POLL_RECORDS,
        };
        Self { broker, subscription }
    }

    /// Sees the records of this isolation level.
    #[must_use]
    pub const fn isolation(mut self, isolation: Isolation) -> Self {
        self.subscription.isolation = isolation;
        self
    }

    /// Rebalances by this protocol; the first member of a group decides for all.
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.subscription.protocol = protocol;
        self
    }

    /// Decides by this assignor who gets which partition; the first member of a group decides for
    /// all.
    #[must_use]
    pub const fn assignor(mut self, assignor: Assignor) -> Self {
        self.subscription.assignor = assignor;
        self
    }

    /// Makes the member static (`group.instance.id`, KIP-345). It does not leave its group when it is
    /// closed: until its session ends, its partitions wait for the next member with this instance,
    /// which gets them without a rebalance. Where the member before still runs, it is fenced: its
    /// stream yields `Lost`, and ends with an error.
    #[must_use]
    pub fn instance_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.subscription.instance = Some(id.into());
        self
    }

    /// Takes at most so many records of one partition before the next has its turn; 500 if
    /// nothing is said.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub const fn max_poll_records(mut self, records: usize) -> Self {
        assert!(records > 0, "a consumer polls at least one record");
        self.subscription.max_poll_records = records;
        self
    }

    /// The consumer; it joins its group when its stream is first polled.
    pub fn build(self) -> Consumer {
        let (member, dirty) = self.broker.change(|state| {
            let member = state.subscribe(self.subscription);
            (member, state.members[member.0].dirty.clone())
        });
        Consumer { broker: self.broker, member, dirty, transaction: None, once: Once::default() }
    }

    /// The consumer, and a sink that publishes outputs and positions in one transaction of this
    /// transactional id. An older pair of this id is fenced.
    pub fn exactly_once(
        self,
        transactional_id: impl Into<Arc<str>>,
    ) -> (Consumer, ExactlyOnceSink) {
        let mut consumer = self.build();
        let transaction = Transaction::new(&consumer, transactional_id.into());
        let transaction = Arc::new(transaction);
        consumer.transaction = Some(transaction.clone());
        (consumer, ExactlyOnceSink::new(transaction))
    }
}

/// A member of a consumer group.
///
/// Its session lasts while it is neither dropped nor crashed nor suspended; it need not be polled
/// for that. Dropped without [`close`](Source::close), it has crashed.
#[derive(Debug)]
pub struct Consumer {
    pub(super) broker: Broker,
    pub(super) member: MemberId,
    pub(super) dirty: Arc<AtomicBool>,
    /// Where commits go if it is one of an exactly-once pair.
    transaction: Option<Arc<Transaction>>,
    once: Once,
}

impl Consumer {
    /// Its name for the fault verbs.
    pub const fn member(&self) -> MemberId {
        self.member
    }

    /// What a transactional producer needs to commit positions of this member.
    pub fn group_metadata(&self) -> GroupMetadata {
        self.broker.group_metadata(self.member)
    }

    fn set_paused(&self, partitions: &[TopicPartition], paused: bool) {
        self.broker.change(|state| {
            let member = &mut state.members[self.member.0];
            for partition in partitions {
                if let Some(fetch) = member.fetches.get_mut(partition) {
                    fetch.paused = paused;
                }
            }
            member.touch();
        });
    }

    async fn commit_offsets(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        let committed = self.broker.perform(Operation::Commit, Some(self.member), |state| {
            state.fence(self.member, positions).map_err(CommitError::fenced)?;
            let group = state.members[self.member.0].subscription.group.clone();
            let offsets = state.encode(&group, self.member, positions);
            state.commit(&group, &offsets.map_err(|e| CommitError::transient(e.to_string()))?);
            Ok(())
        });
        match committed.await {
            Ok(committed) => committed,
            Err(fault) => Err(refusal(fault)),
        }
    }
}

/// A commit that a fault has hit.
fn refusal(fault: Fault) -> CommitError {
    match fault {
        Fault::Transient | Fault::Aborted => CommitError::transient("a fault was set"),
        Fault::Fenced => CommitError::fenced("a fault was set"),
        Fault::Broken => CommitError::broken("a fault was set"),
    }
}

#[async_trait]
impl Source for Consumer {
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>> {
        self.once.events(|| Events::new(self).boxed())
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, true);
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        self.set_paused(partitions, false);
    }

    async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        match &self.transaction {
            Some(transaction) => transaction.commit_positions(positions).await,
            None => self.commit_offsets(positions).await,
        }
    }

    fn window_offsets(&self) -> i64 {
        let known = self.broker.lock().members[self.member.0].metadata_max_bytes;
        Position::window_offsets(known)
    }

    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        let release = self.broker.perform_at_last(Operation::Release, Some(self.member), |state| {
            state.release(self.member, partitions);
        });
        release.await.map_err(|fault| SourceError::new(format!("release: {fault:?} fault was set")))
    }

    async fn close(&self) -> Result<(), SourceError> {
        let left = self.broker.perform(Operation::Leave, Some(self.member), |state| {
            state.leave(self.member, Instant::now());
        });
        left.await.map_err(|fault| {
            self.broker.crash(self.member);
            SourceError::new(format!("leave: {fault:?} fault was set"))
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let now = Instant::now();
        self.broker.change(|state| state.halt(self.member, Process::Crashed, now));
    }
}
