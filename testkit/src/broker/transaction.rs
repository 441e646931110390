//! The transaction coordinator: the holder of each transactional id, and what its transaction
//! touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jobstream::position::PartitionPosition;
use jobstream::record::{ProducerRecord, TopicPartition};
use tokio::time::Instant;

use id::{Ended, Open, TransactionalId};

#[cfg(feature = "simulation")]
use super::group::CommittedOffset;
use super::log::{Marker, ProducerId};
use super::producer::ProduceError;
use super::state::State;
use super::transactional_producer::{GroupMetadata, TransactionError};

mod id;
#[cfg(feature = "wire")]
mod on_the_wire;

#[cfg(feature = "wire")]
pub(crate) use on_the_wire::{DescribedTransaction, Producing};

#[derive(Debug)]
pub(crate) struct Transactions {
    pub(super) timeout: Duration,
    /// How many producers there ever were; each one's number is its place.
    producers: ProducerId,
    ids: BTreeMap<Arc<str>, TransactionalId>,
}

impl Transactions {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { timeout, producers: 0, ids: BTreeMap::new() }
    }

    /// The number of a new producer.
    #[cfg(feature = "wire")]
    pub(crate) const fn allocate(&mut self) -> ProducerId {
        next(&mut self.producers)
    }

    /// The partitions of a group whose offsets wait for a transaction to end (KIP-447).
    pub(crate) fn unstable_offsets(&self, group: &str) -> BTreeSet<TopicPartition> {
        let open = self.ids.values().filter_map(|id| id.open.as_ref());
        let offsets = open.flat_map(|open| &open.offsets).filter(|(name, ..)| **name == *group);
        offsets.flat_map(|(.., offsets)| offsets).map(|(partition, _)| partition.clone()).collect()
    }

    /// What the newest open transaction commits for a partition of a group.
    #[cfg(feature = "simulation")]
    pub(super) fn unstable_offset(
        &self,
        group: &str,
        partition: &TopicPartition,
    ) -> Option<&CommittedOffset> {
        let open = self.ids.values().filter_map(|id| id.open.as_ref());
        let offsets = open.flat_map(|open| &open.offsets).filter(|(name, ..)| **name == *group);
        let of_partition = offsets.flat_map(|(_, record, offsets)| {
            let committed = offsets.iter().find(|(of, _)| of == partition);
            committed.map(|(_, committed)| (record, committed))
        });
        of_partition.max_by_key(|(record, _)| **record).map(|(_, committed)| committed)
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<Arc<str>> {
        let overdue = |id: &TransactionalId| id.open.as_ref().is_some_and(|open| open.ends <= now);
        self.ids.iter().filter(|(_, id)| overdue(id)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.ids.values().filter_map(|id| id.open.as_ref()).map(|open| open.ends).min()
    }

    pub(super) fn renew_deadlines(&mut self, now: Instant) {
        for id in self.ids.values_mut() {
            if let Some(open) = &mut id.open {
                open.ends = now + id.timeout;
            }
        }
    }

    fn held_by(
        &mut self,
        id: &str,
        instance: u64,
    ) -> Result<&mut TransactionalId, TransactionError> {
        match self.ids.get_mut(id) {
            Some(transactional) if transactional.instance == instance => Ok(transactional),
            _ => Err(TransactionError::Fenced(format!("{id}: {instance} is not the newest"))),
        }
    }

    fn open(
        &mut self,
        id: &str,
        instance: u64,
    ) -> Result<(ProducerId, &mut Open), TransactionError> {
        let transactional = self.held_by(id, instance)?;
        let producer = transactional.producer;
        let open = transactional.open.as_mut();
        Ok((producer, open.ok_or(TransactionError::State("no transaction has begun"))?))
    }
}

const fn next(producers: &mut ProducerId) -> ProducerId {
    *producers += 1;
    *producers - 1
}

impl State {
    /// Makes a producer the newest of its transactional id; gives its instance.
    pub(super) fn init_producer(&mut self, id: &Arc<str>) -> u64 {
        self.fence_producer(id);
        let Transactions { producers, ids, timeout } = &mut self.transactions;
        let mut allocate = || next(producers);
        let transactional = ids.entry(id.clone());
        let transactional =
            transactional.or_insert_with(|| TransactionalId::new(allocate(), *timeout));
        transactional.timeout = *timeout;
        transactional.renew(allocate);
        transactional.instance
    }

    /// Fences the newest producer of an id and aborts its transaction, if it has one open.
    pub(crate) fn fence_producer(&mut self, id: &Arc<str>) {
        let transactional = self.transactions.ids.get_mut(id);
        if let Some(transactional) = transactional.filter(|id| id.open.is_some()) {
            transactional.fence();
            self.end(id, false);
        }
    }

    /// Fences the newest producer of an id, also one that has no transaction open.
    #[cfg(feature = "wire")]
    pub(crate) fn fence_newest_producer(&mut self, id: &Arc<str>) {
        if let Some(transactional) = self.transactions.ids.get_mut(id) {
            transactional.fence();
            self.end(id, false);
        }
    }

    pub(super) fn begin(
        &mut self,
        id: &str,
        instance: u64,
        now: Instant,
    ) -> Result<(), TransactionError> {
        let began = (self.wall_clock)();
        let transactional = self.transactions.held_by(id, instance)?;
        if transactional.open.is_some() {
            return Err(TransactionError::State("a transaction is open"));
        }
        transactional.open(began, now);
        Ok(())
    }

    /// Appends records to the open transaction, and says where.
    pub(super) fn send(
        &mut self,
        id: &str,
        instance: u64,
        records: &[ProducerRecord],
    ) -> Result<Vec<(i32, i64)>, TransactionError> {
        let (producer, _) = self.transactions.open(id, instance)?;
        for record in records {
            self.check(record)?;
        }
        let places = records.iter().map(|record| self.append(record, Some(producer)));
        let places = places.collect::<Result<Vec<_>, ProduceError>>()?;
        let (_, open) = self.transactions.open(id, instance)?;
        for (record, &(partition, _)) in records.iter().zip(&places) {
            let touched = TopicPartition { topic: record.topic.clone(), partition };
            if !open.partitions.contains(&touched) {
                open.partitions.insert(touched);
            }
        }
        Ok(places)
    }

    /// Adds positions of a member to the open transaction.
    pub(super) fn send_offsets(
        &mut self,
        id: &str,
        instance: u64,
        group: &GroupMetadata,
        positions: &[PartitionPosition],
    ) -> Result<(), TransactionError> {
        self.transactions.open(id, instance)?;
        let offsets = self
            .encode(&group.group, group.member, positions)
            .map_err(|error| TransactionError::MetadataTooLarge(error.to_string()))?;
        let record = self.next_commit();
        let (_, open) = self.transactions.open(id, instance)?;
        open.offsets.push((group.group.clone(), record, offsets));
        Ok(())
    }

    pub(super) fn end_transaction(
        &mut self,
        id: &Arc<str>,
        instance: u64,
        committed: bool,
    ) -> Result<(), TransactionError> {
        self.transactions.open(id, instance)?;
        self.end(id, committed);
        Ok(())
    }

    /// Ends the open transaction of an id, if there is one.
    pub(super) fn end(&mut self, id: &Arc<str>, committed: bool) {
        let Some(transactional) = self.transactions.ids.get_mut(id) else { return };
        let (producer, epoch) = (transactional.producer, transactional.epoch);
        let Some(open) = transactional.open.take() else { return };
        transactional.ended = if committed { Ended::Committed } else { Ended::Aborted };
        let marker = Marker { producer, epoch, committed, timestamp: (self.wall_clock)() };
        for partition in &open.partitions {
            if let Some(log) = self.log_mut(partition) {
                log.end_transaction(marker);
            }
        }
        for (group, record, offsets) in &open.offsets {
            // A group that was deleted meanwhile does not come back for nothing.
            if committed && !offsets.is_empty() {
                self.commit_record(group, *record, offsets);
            }
            self.reconcile(group);
        }
        self.changed = true;
    }
}
