//! The transaction coordinator: the holder of each transactional id, and what its transaction
//! touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jobstream::position::PartitionPosition;
use jobstream::record::{ProducerRecord, TopicPartition};
use tokio::time::Instant;

use super::group::Offsets;
use super::log::{Marker, ProducerId};
use super::producer::ProduceError;
use super::state::State;
use super::transactional_producer::{GroupMetadata, TransactionError};

#[derive(Debug)]
pub(crate) struct Transactions {
    pub(super) timeout: Duration,
    /// How many producers there ever were; each one's number is its place.
    producers: ProducerId,
    ids: BTreeMap<Arc<str>, Transactional>,
}

/// A transactional id.
#[derive(Debug)]
struct Transactional {
    producer: ProducerId,
    /// Counts the instances; only the newest may go on.
    epoch: u64,
    open: Option<Open>,
}

/// An open transaction.
#[derive(Debug)]
struct Open {
    partitions: BTreeSet<TopicPartition>,
    offsets: Vec<(Arc<str>, Offsets)>,
    ends: Instant,
}

impl Transactions {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self { timeout, producers: 0, ids: BTreeMap::new() }
    }

    /// The number of a new producer.
    pub(crate) const fn allocate(&mut self) -> ProducerId {
        self.producers += 1;
        self.producers - 1
    }

    /// The partitions of a group whose offsets wait for a transaction to end (KIP-447).
    pub(crate) fn unstable_offsets(&self, group: &str) -> BTreeSet<TopicPartition> {
        let open = self.ids.values().filter_map(|id| id.open.as_ref());
        let offsets = open.flat_map(|open| &open.offsets).filter(|(name, _)| **name == *group);
        offsets.flat_map(|(_, offsets)| offsets).map(|(partition, _)| partition.clone()).collect()
    }

    pub(super) fn overdue(&self, now: Instant) -> Vec<Arc<str>> {
        let overdue = |id: &Transactional| id.open.as_ref().is_some_and(|open| open.ends <= now);
        self.ids.iter().filter(|(_, id)| overdue(id)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.ids.values().filter_map(|id| id.open.as_ref()).map(|open| open.ends).min()
    }

    pub(super) fn renew_deadlines(&mut self, now: Instant) {
        for open in self.ids.values_mut().filter_map(|id| id.open.as_mut()) {
            open.ends = now + self.timeout;
        }
    }

    fn held_by(&mut self, id: &str, epoch: u64) -> Result<&mut Transactional, TransactionError> {
        match self.ids.get_mut(id) {
            Some(transactional) if transactional.epoch == epoch => Ok(transactional),
            _ => Err(TransactionError::Fenced(format!("{id}: epoch {epoch} is not the newest"))),
        }
    }

    fn open(&mut self, id: &str, epoch: u64) -> Result<(ProducerId, &mut Open), TransactionError> {
        let transactional = self.held_by(id, epoch)?;
        let producer = transactional.producer;
        let open = transactional.open.as_mut();
        Ok((producer, open.ok_or(TransactionError::State("no transaction has begun"))?))
    }
}

impl State {
    /// Makes a producer the newest of its transactional id; gives its epoch.
    pub(super) fn init_producer(&mut self, id: &Arc<str>) -> u64 {
        if !self.transactions.ids.contains_key(id) {
            let producer = self.transactions.allocate();
            let new = Transactional { producer, epoch: 0, open: None };
            self.transactions.ids.insert(id.clone(), new);
        }
        self.fence_producer(id)
    }

    /// Fences the newest producer of an id and aborts its transaction; gives the next epoch.
    pub(super) fn fence_producer(&mut self, id: &Arc<str>) -> u64 {
        self.end(id, false);
        self.transactions.ids.get_mut(id).map_or(0, |transactional| {
            transactional.epoch += 1;
            transactional.epoch
        })
    }

    pub(super) fn begin(
        &mut self,
        id: &str,
        epoch: u64,
        now: Instant,
    ) -> Result<(), TransactionError> {
        let ends = now + self.transactions.timeout;
        let transactional = self.transactions.held_by(id, epoch)?;
        if transactional.open.is_some() {
            return Err(TransactionError::State("a transaction is open"));
        }
        let open = Open { partitions: BTreeSet::new(), offsets: Vec::new(), ends };
        transactional.open = Some(open);
        Ok(())
    }

    /// Appends records to the open transaction, and says where.
    pub(super) fn send(
        &mut self,
        id: &str,
        epoch: u64,
        records: &[ProducerRecord],
    ) -> Result<Vec<(i32, i64)>, TransactionError> {
        let (producer, _) = self.transactions.open(id, epoch)?;
        for record in records {
            self.check(record)?;
        }
        let places = records.iter().map(|record| self.append(record, Some(producer)));
        let places = places.collect::<Result<Vec<_>, ProduceError>>()?;
        let (_, open) = self.transactions.open(id, epoch)?;
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
        epoch: u64,
        group: &GroupMetadata,
        positions: &[PartitionPosition],
    ) -> Result<(), TransactionError> {
        self.transactions.open(id, epoch)?;
        let offsets = self
            .encode(&group.group, group.member, positions)
            .map_err(|error| TransactionError::MetadataTooLarge(error.to_string()))?;
        let (_, open) = self.transactions.open(id, epoch)?;
        open.offsets.push((group.group.clone(), offsets));
        Ok(())
    }

    pub(super) fn end_transaction(
        &mut self,
        id: &Arc<str>,
        epoch: u64,
        committed: bool,
    ) -> Result<(), TransactionError> {
        self.transactions.open(id, epoch)?;
        self.end(id, committed);
        Ok(())
    }

    /// Ends the open transaction of an id, if there is one.
    pub(super) fn end(&mut self, id: &Arc<str>, committed: bool) {
        let Some(transactional) = self.transactions.ids.get_mut(id) else { return };
        let (producer, epoch) = (transactional.producer, transactional.epoch as i16);
        let Some(open) = transactional.open.take() else { return };
        let marker = Marker { producer, epoch, committed, timestamp: (self.wall_clock)() };
        for partition in &open.partitions {
            if let Some(log) = self.log_mut(partition) {
                log.end_transaction(marker);
            }
        }
        for (group, offsets) in &open.offsets {
            if committed {
                self.commit(group, offsets);
            }
            self.reconcile(group);
        }
        self.changed = true;
    }
}
