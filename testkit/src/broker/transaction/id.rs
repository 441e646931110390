//! A transactional id: its newest producer, and the transaction that this one has open.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jobstream::record::{Timestamp, TopicPartition};
use tokio::time::Instant;

use crate::broker::group::{CommitRecord, Offsets};
use crate::broker::log::ProducerId;

/// The last epoch that a client is given. The next producer gets another number, and begins at 0.
pub(super) const LAST_EPOCH: i16 = i16::MAX - 1;
/// No epoch: the id is new, or no earlier one may come again.
pub(super) const NO_EPOCH: i16 = -1;

/// How the last transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// There was none since the producer was initialised.
    Never,
    Committed,
    Aborted,
}

#[derive(Debug)]
pub(super) struct TransactionalId {
    pub(super) producer: ProducerId,
    pub(super) epoch: i16,
    /// The number before the epochs of that ran out.
    pub(super) previous: Option<ProducerId>,
    /// The epoch before the last that its client was given, which may come again if the client has
    /// not seen the answer.
    pub(super) last_epoch: i16,
    /// Counts the changes of producer and epoch; the traits know their producer by it.
    pub(super) instance: u64,
    pub(super) timeout: Duration,
    pub(super) ended: Ended,
    /// When the last transaction began; -1 if there was none since the producer was initialised.
    pub(super) began: Timestamp,
    pub(super) open: Option<Open>,
}

/// An open transaction.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) partitions: BTreeSet<TopicPartition>,
    pub(super) offsets: Vec<(Arc<str>, CommitRecord, Offsets)>,
    pub(super) ends: Instant,
}

impl TransactionalId {
    pub(super) const fn new(producer: ProducerId, timeout: Duration) -> Self {
        Self {
            producer,
            epoch: NO_EPOCH,
            previous: None,
            last_epoch: NO_EPOCH,
            instance: 0,
            timeout,
            ended: Ended::Never,
            began: -1,
            open: None,
        }
    }

    /// Opens a transaction, which may take its timeout from now on.
    pub(super) fn open(&mut self, began: Timestamp, now: Instant) -> &mut Open {
        if self.open.is_none() {
            self.began = began;
        }
        let ends = now + self.timeout;
        let (partitions, offsets) = (BTreeSet::new(), Vec::new());
        self.open.get_or_insert(Open { partitions, offsets, ends })
    }

    /// Goes on to the next epoch, or to epoch 0 of a new producer. No earlier epoch may come again.
    pub(super) fn renew(&mut self, new_producer: impl FnOnce() -> ProducerId) {
        if self.epoch >= LAST_EPOCH {
            self.rotate(new_producer(), NO_EPOCH);
        } else {
            self.advance(NO_EPOCH);
        }
        (self.ended, self.began) = (Ended::Never, -1);
    }

    /// Goes on to the next epoch; the client may still come with `last`.
    pub(super) const fn advance(&mut self, last: i16) {
        self.epoch = self.epoch.saturating_add(1);
        self.last_epoch = last;
        self.instance += 1;
    }

    /// Goes on to another producer.
    pub(super) const fn rotate(&mut self, producer: ProducerId, last: i16) {
        self.previous = Some(self.producer);
        (self.producer, self.epoch, self.last_epoch) = (producer, 0, last);
        self.instance += 1;
    }

    /// Fences the client that has the newest epoch. It may become the next one, if no other comes.
    pub(super) const fn fence(&mut self) {
        self.advance(self.epoch);
    }
}
