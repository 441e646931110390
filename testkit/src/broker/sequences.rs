//! The sequence numbers of an idempotent producer in one partition.

use std::collections::VecDeque;

use jobstream::record::Timestamp;

use super::batch::Batch;

/// Batches that are known again when they come twice, as in Kafka.
const BATCHES_KEPT: usize = 5;

/// A transaction that a partition is about to join: its coordinator is asked first, and the first
/// batch that is appended ends it, as does a marker (KIP-890).
#[derive(Clone, Copy, Debug)]
pub(super) struct Joining {
    lowest: i32,
    epoch: i16,
    /// Whether the client lets partitions join by its batches; as the first attempt said.
    by_batches: bool,
}

impl Joining {
    pub(super) fn new(batch: &Batch, by_batches: bool) -> Self {
        Self { lowest: batch.base_sequence(), epoch: batch.producer_epoch(), by_batches }
    }

    /// A batch with a lower number shows that the client has not come further.
    pub(super) fn again(&mut self, batch: &Batch) {
        let (first, epoch) = (batch.base_sequence(), batch.producer_epoch());
        if epoch == self.epoch {
            self.lowest = self.lowest.min(first);
        } else if epoch > self.epoch {
            (self.epoch, self.lowest) = (epoch, first);
        }
    }

    /// Whether a batch comes too early; a producer that is not known begins at 0 if its partitions
    /// join by batches.
    pub(super) fn is_early(&self, batch: &Batch, is_known: bool) -> bool {
        let first = batch.base_sequence();
        first > self.lowest || self.by_batches && first != 0 && !is_known
    }

    /// Whether it is of the transaction after the one that a marker of this epoch ends.
    pub(super) const fn is_after(&self, epoch: i16) -> bool {
        self.by_batches && self.epoch == epoch
    }
}

/// What a batch of an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// To be appended.
    Next,
    /// Already there, from this offset on, with this as its last timestamp.
    Duplicate(i64, Timestamp),
    /// There is a gap before it.
    OutOfOrder,
    /// Of an older instance of the producer.
    Fenced,
}

#[derive(Clone, Copy, Debug)]
struct Appended {
    first: i32,
    last: i32,
    offset: i64,
    timestamp: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Sequences {
    epoch: i16,
    /// The last ones, ascending; none if the epoch is new.
    batches: VecDeque<Appended>,
    last_timestamp: Timestamp,
    /// Whether a transaction of it has ended here.
    has_ended: bool,
}

impl Sequences {
    pub(super) const fn new(epoch: i16) -> Self {
        Self { epoch, batches: VecDeque::new(), last_timestamp: -1, has_ended: false }
    }

    pub(crate) const fn epoch(&self) -> i16 {
        self.epoch
    }

    /// The sequence number of the last record; -1 if the epoch is new.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last)
    }

    /// The timestamp of the last batch or marker.
    pub(crate) const fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// The epoch of the coordinator that has ended its last transaction; -1 if there was none.
    pub(crate) const fn coordinator_epoch(&self) -> i32 {
        if self.has_ended { 0 } else { -1 }
    }

    pub(super) fn check(&self, batch: &Batch) -> Sequence {
        let (epoch, first) = (batch.producer_epoch(), batch.base_sequence());
        if epoch < self.epoch {
            return Sequence::Fenced;
        }
        // A client may have claimed that it has no epoch.
        let has_none = self.epoch < 0;
        if epoch > self.epoch {
            return if first == 0 || has_none { Sequence::Next } else { Sequence::OutOfOrder };
        }
        let last = last(batch);
        let known = self.batches.iter().find(|known| (known.first, known.last) == (first, last));
        match known {
            Some(known) => Sequence::Duplicate(known.offset, known.timestamp),
            None if has_none || first == next(self.last_sequence()) => Sequence::Next,
            None => Sequence::OutOfOrder,
        }
    }

    /// Notes a batch that is appended at this offset.
    pub(super) fn appended(&mut self, batch: &Batch, offset: i64) {
        self.begin(batch.producer_epoch());
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.last_timestamp = batch.max_timestamp();
        let (first, last) = (batch.base_sequence(), last(batch));
        self.batches.push_back(Appended { first, last, offset, timestamp: self.last_timestamp });
    }

    /// Notes the end of a transaction, by a marker of this epoch.
    pub(super) fn ended(&mut self, epoch: i16, timestamp: Timestamp) {
        self.begin(epoch);
        (self.has_ended, self.last_timestamp) = (true, timestamp);
    }

    /// Goes on to this epoch.
    fn begin(&mut self, epoch: i16) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// Sequence numbers begin again at 0 after the largest.
const fn next(sequence: i32) -> i32 {
    if sequence == i32::MAX { 0 } else { sequence + 1 }
}

const fn plus(sequence: i32, more: i32) -> i32 {
    match sequence.checked_add(more) {
        Some(sum) => sum,
        None => more - (i32::MAX - sequence) - 1,
    }
}

fn last(batch: &Batch) -> i32 {
    plus(batch.base_sequence(), batch.count() - 1)
}
