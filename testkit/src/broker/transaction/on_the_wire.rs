//! Transactions as clients on the wire go through them, with Kafka's codes: both generations, of
//! which the second moves the epoch on with each end (KIP-360, KIP-890).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jobstream::record::{Timestamp, TopicPartition};
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use super::id::{Ended, LAST_EPOCH, NO_EPOCH, TransactionalId};
use super::{Transactions, next};
use crate::broker::group::Offsets;
use crate::broker::log::ProducerId;
use crate::broker::state::State;

/// A producer as a client names it: its number and its epoch.
pub(crate) type Producer = (i64, i16);

/// What a request that touches a partition asks of the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Producing {
    /// The partition joins the transaction with it, as the second generation does.
    Joins,
    /// The partition must have joined before; the client knows `TRANSACTION_ABORTABLE`.
    HasJoined,
    /// The same of a client that does not know that code.
    HasJoinedOld,
}

/// A transactional id, as an administrator sees it.
#[derive(Debug)]
pub(crate) struct DescribedTransaction {
    pub(crate) state: &'static str,
    pub(crate) timeout: Duration,
    pub(crate) began: Timestamp,
    pub(crate) producer: Producer,
    pub(crate) partitions: BTreeSet<TopicPartition>,
}

impl TransactionalId {
    const fn identity(&self) -> Producer {
        (self.producer.cast_signed(), self.epoch)
    }

    fn is_previous(&self, producer: i64) -> bool {
        self.previous.is_some_and(|previous| previous.cast_signed() == producer)
    }

    /// Whether the client that was this producer may become the next one.
    fn may_continue(&self, (producer, epoch): Producer) -> bool {
        self.epoch == NO_EPOCH
            || producer == self.producer.cast_signed()
            || (self.is_previous(producer) && epoch >= LAST_EPOCH)
    }

    fn admits(&self, (producer, epoch): Producer) -> Result<(), ResponseError> {
        if producer != self.producer.cast_signed() {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if epoch != self.epoch {
            return Err(ResponseError::ProducerFenced);
        }
        Ok(())
    }

    /// Whether an end that this client asks for may have been made already.
    fn is_retry(&self, (producer, epoch): Producer, moves_on: bool) -> bool {
        if !moves_on {
            return self.identity() == (producer, epoch);
        }
        let overflown = self.is_previous(producer) && epoch == LAST_EPOCH && self.epoch == 0;
        let moved = i32::from(self.epoch) == i32::from(epoch) + 1;
        self.ended != Ended::Never && (overflown || moved)
    }

    const fn state(&self) -> &'static str {
        match (&self.open, self.ended) {
            (Some(_), _) => "Ongoing",
            (None, Ended::Never) => "Empty",
            (None, Ended::Committed) => "CompleteCommit",
            (None, Ended::Aborted) => "CompleteAbort",
        }
    }
}

impl Transactions {
    fn of(&mut self, id: &str) -> Result<&mut TransactionalId, ResponseError> {
        self.ids.get_mut(id).ok_or(ResponseError::InvalidProducerIdMapping)
    }

    /// Forgets the offsets that open transactions are to commit for a topic that is deleted.
    pub(crate) fn forget(&mut self, topic: &str) {
        let open = self.ids.values_mut().filter_map(|id| id.open.as_mut());
        for (.., offsets) in open.flat_map(|open| &mut open.offsets) {
            offsets.retain(|(partition, _)| *partition.topic != *topic);
        }
    }

    /// Forgets the offsets that open transactions are to commit for a group, of one partition or all.
    pub(crate) fn forget_offsets(&mut self, group: &str, of: Option<&TopicPartition>) {
        let open = self.ids.values_mut().filter_map(|id| id.open.as_mut());
        let offsets = open.flat_map(|open| &mut open.offsets).filter(|(name, ..)| **name == *group);
        for (.., offsets) in offsets {
            offsets.retain(|(partition, _)| of.is_some_and(|of| of != partition));
        }
    }

    /// The ids, ascending.
    pub(crate) fn described(&self) -> impl Iterator<Item = (&Arc<str>, DescribedTransaction)> {
        self.ids.iter().map(|(name, id)| {
            let open = id.open.as_ref();
            let described = DescribedTransaction {
                state: id.state(),
                timeout: id.timeout,
                began: id.began,
                producer: id.identity(),
                partitions: open.map(|open| open.partitions.clone()).unwrap_or_default(),
            };
            (name, described)
        })
    }
}

impl State {
    /// Makes a client the newest producer of an id. One that names who it was goes on only if no
    /// other has come meanwhile.
    pub(crate) fn init_transactions(
        &mut self,
        name: &Arc<str>,
        timeout: Duration,
        was: Option<Producer>,
    ) -> Result<Producer, ResponseError> {
        let Transactions { producers, ids, .. } = &mut self.transactions;
        let id = ids.entry(name.clone());
        let id = id.or_insert_with(|| TransactionalId::new(next(producers), timeout));
        if was.is_some_and(|was| !id.may_continue(was)) {
            return Err(ResponseError::ProducerFenced);
        }
        if id.open.is_some() {
            // The client asks again, and finds the transaction aborted.
            self.fence_producer(name);
            return Err(ResponseError::ConcurrentTransactions);
        }
        match was {
            Some((_, epoch)) if id.epoch != NO_EPOCH && epoch == id.epoch => {
                if epoch >= LAST_EPOCH {
                    id.rotate(next(producers), epoch);
                } else {
                    id.advance(epoch);
                }
            }
            // The answer to the same request did not arrive.
            Some((_, epoch)) if id.epoch != NO_EPOCH && epoch == id.last_epoch => {}
            Some(_) if id.epoch != NO_EPOCH => return Err(ResponseError::ProducerFenced),
            _ => id.renew(|| next(producers)),
        }
        (id.timeout, id.ended, id.began) = (timeout, Ended::Never, -1);
        Ok(id.identity())
    }

    /// Adds partitions to the transaction, which begins with the first ones.
    pub(crate) fn join_transaction(
        &mut self,
        name: &str,
        producer: Producer,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ResponseError> {
        let began = (self.wall_clock)();
        let id = self.transactions.of(name)?;
        id.admits(producer)?;
        id.open(began, Instant::now()).partitions.extend(partitions);
        self.wire.move_deadline();
        Ok(())
    }

    /// Lets a partition join, or verifies that it has; gives the producer of the transaction.
    pub(crate) fn in_transaction(
        &mut self,
        name: &str,
        producer: Producer,
        partition: TopicPartition,
        how: Producing,
    ) -> Result<ProducerId, ResponseError> {
        let id = self.transactions.of(name)?;
        // A leader of a partition does not say by which producer it is fenced.
        let admitted = id.admits(producer);
        admitted.map_err(|error| match error {
            ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
            error => error,
        })?;
        let has_joined = id.open.as_ref().is_some_and(|open| open.partitions.contains(&partition));
        let number = id.producer;
        match how {
            _ if has_joined => {}
            Producing::Joins => self.join_transaction(name, producer, [partition])?,
            Producing::HasJoined => return Err(ResponseError::TransactionAbortable),
            Producing::HasJoinedOld => return Err(ResponseError::InvalidTxnState),
        }
        Ok(number)
    }

    /// Adds offsets of a group to the transaction, which is open.
    pub(crate) fn add_offsets(&mut self, name: &str, group: &Arc<str>, offsets: Offsets) {
        let record = self.next_commit();
        let id = self.transactions.ids.get_mut(name);
        if let Some(open) = id.and_then(|id| id.open.as_mut()) {
            open.offsets.push((group.clone(), record, offsets));
        }
    }

    /// Ends a transaction; gives the producer that goes on. The second generation moves on to the
    /// next epoch, and may abort where nothing is open.
    pub(crate) fn complete_transaction(
        &mut self,
        name: &Arc<str>,
        producer: Producer,
        committed: bool,
        moves_on: bool,
    ) -> Result<Producer, ResponseError> {
        let Transactions { producers, ids, .. } = &mut self.transactions;
        let id = ids.get_mut(name).ok_or(ResponseError::InvalidProducerIdMapping)?;
        let is_retry = id.open.is_none() && id.is_retry(producer, moves_on);
        if !is_retry {
            id.admits(producer)?;
        }
        let asked = if committed { Ended::Committed } else { Ended::Aborted };
        if id.open.is_none() {
            if is_retry && id.ended == asked {
                return Ok(id.identity());
            }
            if committed || is_retry || !moves_on {
                return Err(ResponseError::InvalidTxnState);
            }
            id.open((self.wall_clock)(), Instant::now());
        }
        if !moves_on {
            self.end(name, committed);
            return Ok(producer);
        }
        let (_, last) = id.identity();
        let new = (last >= LAST_EPOCH).then(|| next(producers));
        id.advance(last);
        self.end(name, committed);
        let id = self.transactions.of(name)?;
        if let Some(new) = new {
            id.rotate(new, last);
        }
        Ok(id.identity())
    }
}
