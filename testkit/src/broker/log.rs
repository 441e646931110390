//! The log of one partition.
//!
//! ```text
//!  start                      last stable offset         high watermark
//!    │ record · record · marker · │ record of an open transaction · record │
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, Generation, Headers, Timestamp, TopicPartition};

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Committed transactions only, up to the last stable offset; librdkafka's default.
    #[default]
    ReadCommitted,
    /// Everything, aborted and open transactions included.
    ReadUncommitted,
}

/// The number of a producer in a partition's log.
pub(super) type ProducerId = u64;

/// What is kept of a record; its offset follows from its place.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) timestamp: Timestamp,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Headers,
}

impl Stored {
    /// The record as a consumer gets it; clones of its bytes copy pointers.
    pub(super) fn at(
        &self,
        partition: TopicPartition,
        offset: i64,
        generation: Generation,
    ) -> ConsumerRecord {
        let mut record = ConsumerRecord::new(partition, offset, generation)
            .timestamp(self.timestamp)
            .headers(self.headers.clone());
        record.key = self.key.clone();
        record.value = self.value.clone();
        record
    }
}

#[derive(Debug)]
enum Slot {
    Record(Stored),
    Aborted(Stored),
    Marker,
    Compacted,
}

impl Slot {
    const fn visible(&self, isolation: Isolation) -> Option<&Stored> {
        match (self, isolation) {
            (Self::Record(stored), _) | (Self::Aborted(stored), Isolation::ReadUncommitted) => {
                Some(stored)
            }
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    start: i64,
    slots: VecDeque<Slot>,
    /// Of each open transaction, the offsets of its records, ascending.
    open: BTreeMap<ProducerId, Vec<Range<i64>>>,
}

impl Log {
    /// The first offset that is still there.
    pub(super) const fn start(&self) -> i64 {
        self.start
    }

    /// The offset of the next record: with one replica, the high watermark.
    pub(super) fn end(&self) -> i64 {
        self.start + self.slots.len() as i64
    }

    /// The first offset of the oldest open transaction, or the end.
    pub(super) fn last_stable_offset(&self) -> i64 {
        self.open.values().map(|offsets| offsets[0].start).min().unwrap_or_else(|| self.end())
    }

    /// Where a reader stops.
    pub(super) fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadCommitted => self.last_stable_offset(),
            Isolation::ReadUncommitted => self.end(),
        }
    }

    /// Appends a record, and gives its offset.
    pub(super) fn append(&mut self, stored: Stored, producer: Option<ProducerId>) -> i64 {
        let offset = self.end();
        self.slots.push_back(Slot::Record(stored));
        if let Some(producer) = producer {
            let offsets = self.open.entry(producer).or_default();
            match offsets.last_mut() {
                Some(range) if range.end == offset => range.end += 1,
                _ => offsets.push(offset..offset + 1),
            }
        }
        offset
    }

    /// Ends a producer's transaction with a marker, which spends an offset.
    pub(super) fn end_transaction(&mut self, producer: ProducerId, committed: bool) {
        let offsets = self.open.remove(&producer).unwrap_or_default();
        if !committed {
            for offset in offsets.into_iter().flatten().filter(|&offset| offset >= self.start) {
                let slot = &mut self.slots[(offset - self.start) as usize];
                if let Slot::Record(stored) = std::mem::replace(slot, Slot::Compacted) {
                    *slot = Slot::Aborted(stored);
                }
            }
        }
        self.slots.push_back(Slot::Marker);
    }

    /// Calls `each` with up to `limit` visible records from an offset on, and gives the offset at
    /// which to read on.
    pub(super) fn read(
        &self,
        from: i64,
        isolation: Isolation,
        limit: usize,
        mut each: impl FnMut(i64, &Stored),
    ) -> i64 {
        let from = from.clamp(self.start, self.end());
        let end = self.readable_end(isolation).max(from);
        let mut left = limit;
        let places = (from - self.start) as usize..(end - self.start) as usize;
        for (offset, slot) in (from..).zip(self.slots.range(places)) {
            if left == 0 {
                return offset;
            }
            if let Some(stored) = slot.visible(isolation) {
                each(offset, stored);
                left -= 1;
            }
        }
        end
    }

    /// Drops what is below `before`; open transactions stay.
    pub(super) fn truncate(&mut self, before: i64) {
        let before = before.clamp(self.start, self.last_stable_offset());
        self.slots.drain(..(before - self.start) as usize);
        self.start = before;
    }

    /// Drops what is at `end` and above, of open transactions too, as a leader does that was not in
    /// sync.
    pub(super) fn cut(&mut self, end: i64) {
        let end = end.clamp(self.start, self.end());
        self.slots.truncate((end - self.start) as usize);
        for offsets in self.open.values_mut() {
            offsets.retain(|range| range.start < end);
            offsets.iter_mut().for_each(|range| range.end = range.end.min(end));
        }
        self.open.retain(|_, offsets| !offsets.is_empty());
    }

    /// Drops all but the last `records` offsets.
    pub(super) fn keep_latest(&mut self, records: usize) {
        self.truncate(self.end() - records as i64);
    }

    /// Keeps, of the stable records with one key, the last.
    pub(super) fn compact(&mut self) {
        let stable = (self.last_stable_offset() - self.start) as usize;
        let mut later = BTreeSet::new();
        for slot in self.slots.range_mut(..stable).rev() {
            if let Slot::Record(Stored { key: Some(key), .. }) = slot
                && !later.insert(key.clone())
            {
                *slot = Slot::Compacted;
            }
        }
    }
}
