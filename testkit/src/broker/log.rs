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

use super::segment::{Segment, Slot};
#[cfg(feature = "wire")]
use super::sequences::{Joining, Sequences};

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// Committed transactions only, up to the last stable offset; librdkafka's default.
    #[default]
    ReadCommitted,
    /// Everything, aborted and open transactions included.
    ReadUncommitted,
}

/// The number of a producer, unique in its broker.
pub(crate) type ProducerId = u64;

/// What is kept of a record; its offset follows from its place.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) timestamp: Timestamp,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
    pub(crate) headers: Headers,
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

/// The end of a transaction in a partition; it takes an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) producer: ProducerId,
    pub(crate) epoch: i16,
    pub(crate) committed: bool,
    pub(crate) timestamp: Timestamp,
}

/// A transaction whose records a `read_committed` reader passes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbortedTransaction {
    pub(crate) producer: ProducerId,
    /// The offset of its first record.
    pub(crate) first: i64,
    /// The offset of its marker.
    pub(crate) last: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    start: i64,
    end: i64,
    /// Without gaps, ascending, up to the end. The first one may begin below the start.
    segments: VecDeque<Segment>,
    /// Of each open transaction, the offsets of its records, ascending.
    open: BTreeMap<ProducerId, Vec<Range<i64>>>,
    /// By marker, ascending.
    aborted: Vec<AbortedTransaction>,
    #[cfg(feature = "wire")]
    producers: BTreeMap<ProducerId, Sequences>,
    /// The producers whose transaction this partition is about to join.
    #[cfg(feature = "wire")]
    joining: BTreeMap<ProducerId, Joining>,
    /// The offset below which keys are unique, if no record has come since.
    #[cfg(feature = "wire")]
    compacted_to: i64,
}

impl Log {
    /// The first offset that is still there.
    pub(crate) const fn start(&self) -> i64 {
        self.start
    }

    /// The offset of the next record: with one replica, the high watermark.
    pub(crate) const fn end(&self) -> i64 {
        self.end
    }

    /// The first offset of the oldest open transaction, or the end.
    pub(crate) fn last_stable_offset(&self) -> i64 {
        let first = self.open.values().map(|offsets| offsets[0].start).min();
        // Its first records may be deleted.
        first.map_or(self.end, |first| first.max(self.start))
    }

    /// Where a reader stops.
    pub(crate) fn readable_end(&self, isolation: Isolation) -> i64 {
        match isolation {
            Isolation::ReadCommitted => self.last_stable_offset(),
            Isolation::ReadUncommitted => self.end,
        }
    }

    /// Appends a record, and gives its offset.
    pub(super) fn append(&mut self, stored: Stored, producer: Option<ProducerId>) -> i64 {
        let offset = self.end;
        self.push(Slot::Record(stored));
        if let Some(producer) = producer {
            self.opened(producer, offset..offset + 1);
        }
        offset
    }

    fn push(&mut self, slot: Slot) {
        let offset = self.end;
        self.end += 1;
        if let Some(Segment::Slots { slots, .. }) = self.segments.back_mut() {
            slots.push_back(slot);
        } else {
            self.segments.push_back(Segment::Slots { base: offset, slots: VecDeque::from([slot]) });
        }
    }

    /// Notes that these offsets belong to an open transaction.
    fn opened(&mut self, producer: ProducerId, offsets: Range<i64>) {
        let open = self.open.entry(producer).or_default();
        match open.last_mut() {
            Some(range) if range.end == offsets.start => range.end = offsets.end,
            _ => open.push(offsets),
        }
    }

    /// Ends a producer's transaction with a marker, which spends an offset.
    pub(crate) fn end_transaction(&mut self, marker: Marker) {
        let offsets = self.open.remove(&marker.producer).unwrap_or_default();
        if !marker.committed && !offsets.is_empty() {
            let first = offsets[0].start;
            let producer = marker.producer;
            self.aborted.push(AbortedTransaction { producer, first, last: self.end });
            for range in offsets.into_iter().filter(|range| range.end > self.start) {
                let places = self.segment_of(range.start.max(self.start))..;
                let touched = self.segments.range_mut(places);
                touched
                    .take_while(|segment| segment.base() < range.end)
                    .for_each(|segment| segment.abort(&range));
            }
        }
        #[cfg(feature = "wire")]
        {
            let sequences = self.producers.entry(marker.producer);
            let sequences = sequences.or_insert_with(|| Sequences::new(marker.epoch));
            sequences.ended(marker.epoch, marker.timestamp);
            let joining = self.joining.get(&marker.producer);
            if joining.is_some_and(|joining| !joining.is_after(marker.epoch)) {
                self.joining.remove(&marker.producer);
            }
        }
        self.push(Slot::Marker(marker));
    }

    /// The place of the segment that holds this offset.
    fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.end() <= offset)
    }

    /// Calls `each` with up to `limit` visible records from an offset on, and gives the offset at
    /// which to read on.
    pub(crate) fn read(
        &self,
        from: i64,
        isolation: Isolation,
        limit: usize,
        mut each: impl FnMut(i64, &Stored),
    ) -> i64 {
        let from = from.clamp(self.start, self.end);
        let end = self.readable_end(isolation).max(from);
        let mut left = limit;
        for segment in self.segments.range(self.segment_of(from)..) {
            if segment.base() >= end {
                break;
            }
            let range = from.max(segment.base())..end.min(segment.end());
            if let Some(next) = segment.read(range, isolation, &mut left, &mut each) {
                return next;
            }
        }
        end
    }

    /// Drops what is below `before`; open transactions stay.
    pub(crate) fn truncate(&mut self, before: i64) {
        let before = before.clamp(self.start, self.last_stable_offset());
        self.drop_below(before);
    }

    fn drop_below(&mut self, before: i64) {
        while self.segments.front().is_some_and(|segment| segment.end() <= before) {
            self.segments.pop_front();
        }
        if let Some(first) = self.segments.front_mut() {
            first.truncate(before);
        }
        self.start = before;
        self.aborted.retain(|aborted| aborted.last >= before);
    }

    /// Drops what is at `end` and above, of open transactions too, as a leader does that was not in
    /// sync.
    pub(super) fn cut(&mut self, end: i64) {
        let end = end.clamp(self.start, self.end);
        while self.segments.back().is_some_and(|segment| segment.base() >= end) {
            self.segments.pop_back();
        }
        if let Some(last) = self.segments.back_mut() {
            last.cut(end);
        }
        self.end = end;
        for offsets in self.open.values_mut() {
            offsets.retain(|range| range.start < end);
            offsets.iter_mut().for_each(|range| range.end = range.end.min(end));
        }
        self.open.retain(|_, offsets| !offsets.is_empty());
        self.aborted.retain(|aborted| aborted.last < end);
    }

    /// Drops all but the last `records` offsets.
    pub(super) fn keep_latest(&mut self, records: usize) {
        self.truncate(self.end - records as i64);
    }

    /// Keeps, of the stable records with one key, the last.
    pub(super) fn compact(&mut self) {
        let stable = self.last_stable_offset();
        let mut later = BTreeSet::new();
        let closed = self.segments.iter_mut().rev().filter(|segment| segment.base() < stable);
        closed.for_each(|segment| segment.compact(stable, &mut later));
        #[cfg(feature = "wire")]
        {
            self.compacted_to = stable;
        }
    }
}

/// What the listener reads and appends: batches as they go over the wire.
#[cfg(feature = "wire")]
mod on_the_wire {
    use bytes::Bytes;

    use super::super::batch::Batch;
    use super::super::segment::Batches;
    use super::super::sequences::Sequence;
    #[cfg(feature = "programs")]
    use super::Stored;
    use super::{
        AbortedTransaction, Isolation, Joining, Log, ProducerId, Segment, Sequences, Timestamp,
    };

    impl Log {
        /// Appends a batch as it came, with the log's offsets, and gives its first one. It belongs
        /// to the open transaction of this producer, if one is given.
        pub(crate) fn append_batch(&mut self, batch: Batch, producer: Option<ProducerId>) -> i64 {
            let batch = batch.at(self.end);
            if let Ok(id) = ProducerId::try_from(batch.producer_id()) {
                let sequences = self.producers.entry(id);
                let sequences = sequences.or_insert_with(|| Sequences::new(batch.producer_epoch()));
                sequences.appended(&batch, self.end);
            }
            if let Some(producer) = producer {
                self.joining.remove(&producer);
            }
            let offsets = batch.base()..batch.end();
            self.end = offsets.end;
            self.segments.push_back(Segment::Batch { batch, aborted: false });
            if let Some(producer) = producer {
                self.opened(producer, offsets.clone());
            }
            offsets.start
        }

        /// What this batch is to the producer that has sent it. A producer that is not known may
        /// begin with any number.
        pub(crate) fn sequence(&self, batch: &Batch) -> Sequence {
            let id = ProducerId::try_from(batch.producer_id()).ok();
            let known = id.and_then(|id| self.producers.get(&id));
            let sequence = known.map_or(Sequence::Next, |known| known.check(batch));
            let joining = id.and_then(|id| self.joining.get(&id));
            let has_sent = known.is_some_and(|known| known.last_sequence() >= 0);
            match sequence {
                Sequence::Next if joining.is_some_and(|it| it.is_early(batch, has_sent)) => {
                    Sequence::OutOfOrder
                }
                sequence => sequence,
            }
        }

        /// Notes that this partition is about to join the transaction of the batch's producer, with
        /// the batch or by a request before it.
        pub(crate) fn joins(&mut self, batch: &Batch, by_batches: bool) {
            let Ok(id) = ProducerId::try_from(batch.producer_id()) else { return };
            let joining = self.joining.entry(id);
            joining.or_insert_with(|| Joining::new(batch, by_batches)).again(batch);
        }

        /// Batches from the one that holds this offset on, of at most so many bytes together, but
        /// at least one if that is asked for; none if a reader of this isolation level is at the
        /// end. They come in parts, with the offset after the last of them.
        pub(crate) fn batches(
            &self,
            from: i64,
            isolation: Isolation,
            max_bytes: usize,
            at_least_one: bool,
        ) -> (Vec<Bytes>, i64) {
            let end = self.readable_end(isolation);
            let mut out = Batches::new(max_bytes, at_least_one);
            for segment in self.segments.range(self.segment_of(from)..) {
                if segment.base() >= end {
                    break;
                }
                let range = from.max(segment.base())..end.min(segment.end());
                if !segment.encode(range, isolation, &mut out) {
                    break;
                }
            }
            out.finish()
        }

        /// The aborted transactions that have records or their marker in this range.
        pub(crate) fn aborted(
            &self,
            from: i64,
            before: i64,
        ) -> impl Iterator<Item = AbortedTransaction> + '_ {
            let place = self.aborted.partition_point(|aborted| aborted.last < from);
            let later = self.aborted[place..].iter();
            later.filter(move |aborted| aborted.first < before).copied()
        }

        /// Whether a reader sees the record at this offset once all transactions have ended; none
        /// while its own is open.
        #[cfg(feature = "programs")]
        pub(crate) fn outlives(&self, offset: i64) -> Option<bool> {
            let mut open = self.open.values().flatten();
            if open.any(|offsets| offsets.contains(&offset)) {
                return None;
            }
            let (mut left, mut seen) = (1, false);
            if let Some(segment) = self.segments.get(self.segment_of(offset)) {
                let is_there = segment.base() <= offset;
                let mut each = |_, _: &Stored| seen = true;
                if is_there {
                    let range = offset..offset + 1;
                    segment.read(range, Isolation::ReadCommitted, &mut left, &mut each);
                }
            }
            Some(seen)
        }

        /// Whether this producer has a transaction open here, under this epoch.
        pub(crate) fn is_open(&self, producer: ProducerId, epoch: i16) -> bool {
            let known = self.producers.get(&producer);
            self.open.contains_key(&producer) && known.is_some_and(|known| known.epoch() == epoch)
        }

        /// Whether this producer has a transaction open here.
        pub(crate) fn is_open_of(&self, producer: i64) -> bool {
            ProducerId::try_from(producer).is_ok_and(|id| self.open.contains_key(&id))
        }

        /// The epoch of this producer, if it is known here.
        pub(crate) fn epoch_of(&self, producer: i64) -> Option<i16> {
            let id = ProducerId::try_from(producer).ok()?;
            self.producers.get(&id).map(Sequences::epoch)
        }

        /// The producers that are known here, each with the first offset of its open transaction.
        pub(crate) fn producers(
            &self,
        ) -> impl Iterator<Item = (ProducerId, &Sequences, Option<i64>)> {
            let first = |id| self.open.get(id).map(|offsets| offsets[0].start);
            self.producers.iter().map(move |(id, sequences)| (*id, sequences, first(id)))
        }

        /// The end of the last compaction.
        pub(crate) const fn compacted_to(&self) -> i64 {
            self.compacted_to
        }

        /// Bytes of its batches, about.
        pub(crate) fn bytes(&self) -> u64 {
            self.segments.iter().flat_map(Segment::sizes).map(|(_, bytes)| bytes).sum()
        }

        /// Drops the records at the start that are older, up to the first that is not.
        pub(crate) fn drop_older(&mut self, oldest: Timestamp) {
            let mut before = self.start;
            for segment in &self.segments {
                before = segment.first_since(oldest);
                if before < segment.end() {
                    break;
                }
            }
            if before > self.start {
                self.truncate(before);
            }
        }

        /// Drops records at the start while at least so many bytes are left.
        pub(crate) fn drop_above(&mut self, bytes: u64) {
            let mut size = self.bytes();
            let mut before = self.start;
            for (end, dropped) in self.segments.iter().flat_map(Segment::sizes) {
                size = size.saturating_sub(dropped);
                if size < bytes {
                    break;
                }
                before = end;
            }
            if before > self.start {
                self.truncate(before);
            }
        }

        /// The first record at or after a timestamp, as `(offset, timestamp)`.
        pub(crate) fn at_or_after(
            &self,
            timestamp: Timestamp,
            isolation: Isolation,
        ) -> Option<(i64, Timestamp)> {
            let end = self.readable_end(isolation);
            let places = self.segment_of(self.start)..;
            let mut later = self.segments.range(places).filter(|s| s.max_timestamp() >= timestamp);
            let found = later.find_map(|segment| {
                let mut found = None;
                segment.timestamps(|offset, of_record| {
                    let is_in = offset >= self.start && of_record >= timestamp;
                    if is_in && found.is_none() {
                        found = Some((offset, of_record));
                    }
                });
                found
            });
            found.filter(|(offset, _)| *offset < end)
        }

        /// The first record with the largest timestamp, as `(offset, timestamp)`.
        pub(crate) fn max_timestamp(&self, isolation: Isolation) -> Option<(i64, Timestamp)> {
            let end = self.readable_end(isolation);
            let largest = self.segments.iter().map(Segment::max_timestamp).max()?;
            let latest = self.segments.iter().find(|s| s.max_timestamp() == largest)?;
            // Of a batch that is deleted in part, it may be before the start, as in Kafka.
            let mut found = None;
            latest.timestamps(|offset, timestamp| {
                if timestamp == largest && found.is_none() {
                    found = Some((offset, timestamp));
                }
            });
            found.filter(|(offset, _)| *offset < end)
        }

        /// Drops what is below `before`, of open transactions too.
        pub(crate) fn delete(&mut self, before: i64) {
            let before = before.clamp(self.start, self.end);
            self.drop_below(before);
        }
    }
}
