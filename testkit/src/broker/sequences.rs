//! The sequence numbers of an idempotent producer in one partition.

use std::collections::VecDeque;

use super::batch::Batch;

/// Batches that are known again when they come twice, as in Kafka.
const BATCHES_KEPT: usize = 5;

/// What a batch of an idempotent producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// To be appended.
    Next,
    /// Already there, from this offset on.
    Duplicate(i64),
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
}

#[derive(Debug)]
pub(crate) struct Sequences {
    epoch: i16,
    /// The last ones, ascending; none if the epoch is new.
    batches: VecDeque<Appended>,
}

impl Sequences {
    pub(super) const fn new(epoch: i16) -> Self {
        Self { epoch, batches: VecDeque::new() }
    }

    #[allow(dead_code, reason = "producers are not described yet")]
    pub(crate) const fn epoch(&self) -> i16 {
        self.epoch
    }

    /// The sequence number of the last record; -1 if the epoch is new.
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |batch| batch.last)
    }

    pub(super) fn check(&self, batch: &Batch) -> Sequence {
        let (epoch, first) = (batch.producer_epoch(), batch.base_sequence());
        if epoch < self.epoch {
            return Sequence::Fenced;
        }
        if epoch > self.epoch {
            return if first == 0 { Sequence::Next } else { Sequence::OutOfOrder };
        }
        let last = last(batch);
        let known = self.batches.iter().find(|known| (known.first, known.last) == (first, last));
        match known {
            Some(known) => Sequence::Duplicate(known.offset),
            None if first == next(self.last_sequence()) => Sequence::Next,
            None => Sequence::OutOfOrder,
        }
    }

    /// Notes a batch that is appended at this offset.
    pub(super) fn appended(&mut self, batch: &Batch, offset: i64) {
        self.begin(batch.producer_epoch());
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        let (first, last) = (batch.base_sequence(), last(batch));
        self.batches.push_back(Appended { first, last, offset });
    }

    /// Goes on to this epoch.
    pub(super) fn begin(&mut self, epoch: i16) {
        if epoch != self.epoch {
            *self = Self::new(epoch);
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
