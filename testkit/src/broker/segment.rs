//! A part of a log: records one by one, or a batch as it came over the wire.
//!
//! A segment of the one kind is turned into the other only while it is read: a consumer in memory
//! decodes a batch, and a client on the wire gets records encoded as one. So neither pays for the
//! other, and the simulation, in which nobody listens, runs as if there were no wire. A client that
//! reads slowly holds one answer, whose batches are the log's own bytes.

#[cfg(feature = "wire")]
use std::collections::vec_deque;
use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;
#[cfg(feature = "wire")]
use jobstream::record::Timestamp;

#[cfg(feature = "wire")]
use super::batch::{self, Batch};
use super::log::{Isolation, Marker, Stored};

/// One offset.
#[derive(Debug)]
pub(super) enum Slot {
    Record(Stored),
    Aborted(Stored),
    #[cfg_attr(not(feature = "wire"), expect(dead_code, reason = "the traits pass over it"))]
    Marker(Marker),
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

    #[cfg(feature = "wire")]
    const fn timestamp(&self) -> Timestamp {
        match self {
            Self::Record(stored) | Self::Aborted(stored) => stored.timestamp,
            Self::Marker(marker) => marker.timestamp,
            Self::Compacted => -1,
        }
    }

    /// Its bytes as a batch of its own, about.
    #[cfg(feature = "wire")]
    fn bytes(&self) -> u64 {
        let field = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        match self {
            Self::Record(stored) | Self::Aborted(stored) => {
                let headers = stored.headers.iter();
                let headers: usize = headers.map(|h| h.name.len() + field(&h.value)).sum();
                (batch::HEADER_BYTES + field(&stored.key) + field(&stored.value) + headers) as u64
            }
            Self::Marker(_) => batch::HEADER_BYTES as u64,
            Self::Compacted => 0,
        }
    }

    fn abort(&mut self) {
        if let Self::Record(stored) = std::mem::replace(self, Self::Compacted) {
            *self = Self::Aborted(stored);
        }
    }
}

#[derive(Debug)]
pub(super) enum Segment {
    /// What the traits have appended, and every marker.
    Slots { base: i64, slots: VecDeque<Slot> },
    /// What a client on the wire has appended; all of it belongs to one transaction or to none.
    #[cfg(feature = "wire")]
    Batch { batch: Batch, aborted: bool },
}

impl Segment {
    pub(super) const fn base(&self) -> i64 {
        match self {
            Self::Slots { base, .. } => *base,
            #[cfg(feature = "wire")]
            Self::Batch { batch, .. } => batch.base(),
        }
    }

    /// The offset after its last.
    pub(super) fn end(&self) -> i64 {
        match self {
            Self::Slots { base, slots } => base + slots.len() as i64,
            #[cfg(feature = "wire")]
            Self::Batch { batch, .. } => batch.end(),
        }
    }

    /// Marks what it holds of these offsets as aborted.
    pub(super) fn abort(&mut self, offsets: &Range<i64>) {
        match self {
            Self::Slots { base, slots } => {
                let end = *base + slots.len() as i64;
                let (first, last) = (offsets.start.max(*base), offsets.end.min(end));
                let places = (first - *base) as usize..(last - *base) as usize;
                slots.range_mut(places).for_each(Slot::abort);
            }
            #[cfg(feature = "wire")]
            Self::Batch { aborted, .. } => *aborted = true,
        }
    }

    /// Calls `each` with up to `left` visible records of the range, which the segment covers; gives
    /// the offset at which it stopped before its end.
    pub(super) fn read(
        &self,
        range: Range<i64>,
        isolation: Isolation,
        left: &mut usize,
        each: &mut impl FnMut(i64, &Stored),
    ) -> Option<i64> {
        match self {
            Self::Slots { base, slots } => {
                let places = (range.start - base) as usize..(range.end - base) as usize;
                for (offset, slot) in (range.start..).zip(slots.range(places)) {
                    if *left == 0 {
                        return Some(offset);
                    }
                    if let Some(stored) = slot.visible(isolation) {
                        each(offset, stored);
                        *left -= 1;
                    }
                }
            }
            #[cfg(feature = "wire")]
            Self::Batch { aborted: true, .. } if isolation == Isolation::ReadCommitted => {}
            #[cfg(feature = "wire")]
            Self::Batch { batch, .. } => {
                for (offset, stored) in batch.records() {
                    if *left == 0 {
                        return Some(offset.max(range.start));
                    }
                    if range.contains(&offset) {
                        each(offset, &stored);
                        *left -= 1;
                    }
                }
            }
        }
        None
    }

    /// Drops what is below `before`; a batch stays whole.
    pub(super) fn truncate(&mut self, before: i64) {
        match self {
            Self::Slots { base, slots } if before > *base => {
                slots.drain(..(before - *base) as usize);
                *base = before;
            }
            _ => {}
        }
    }

    /// Drops what is at `end` and above.
    pub(super) fn cut(&mut self, end: i64) {
        #[cfg(feature = "wire")]
        self.unpack(end);
        #[cfg_attr(not(feature = "wire"), expect(irrefutable_let_patterns))]
        if let Self::Slots { base, slots } = self {
            slots.truncate((end - *base).max(0) as usize);
        }
    }

    /// Drops each record below `stable` whose key is in `later`, and notes the keys of the others.
    pub(super) fn compact(&mut self, stable: i64, later: &mut BTreeSet<Bytes>) {
        #[cfg(feature = "wire")]
        self.unpack(i64::MAX);
        #[cfg_attr(not(feature = "wire"), expect(irrefutable_let_patterns))]
        if let Self::Slots { base, slots } = self {
            let places = ..((stable - *base).max(0) as usize).min(slots.len());
            for slot in slots.range_mut(places).rev() {
                if let Slot::Record(Stored { key: Some(key), .. }) = slot
                    && !later.insert(key.clone())
                {
                    *slot = Slot::Compacted;
                }
            }
        }
    }
}

#[cfg(feature = "wire")]
impl Segment {
    /// The bytes of each batch, about, with the offset after it. What goes as one is one.
    pub(super) fn sizes(&self) -> Box<dyn Iterator<Item = (i64, u64)> + '_> {
        match self {
            Self::Batch { batch, .. } => {
                Box::new(std::iter::once((batch.end(), batch.size() as u64)))
            }
            Self::Slots { base, slots } => {
                Box::new((*base + 1..).zip(slots.iter().map(Slot::bytes)))
            }
        }
    }

    /// The first offset that is at or after this time; the end if all are older.
    pub(super) fn first_since(&self, oldest: Timestamp) -> i64 {
        match self {
            Self::Batch { batch, .. } if batch.max_timestamp() < oldest => batch.end(),
            Self::Batch { batch, .. } => batch.base(),
            Self::Slots { base, slots } => {
                let kept = |slot: &Slot| match slot {
                    Slot::Record(stored) | Slot::Aborted(stored) => stored.timestamp >= oldest,
                    Slot::Marker(marker) => marker.timestamp >= oldest,
                    Slot::Compacted => false,
                };
                let older = slots.iter().position(kept).unwrap_or(slots.len());
                *base + older as i64
            }
        }
    }

    /// Makes records of a batch that reaches below `end`, one by one, so that single ones can go.
    fn unpack(&mut self, end: i64) {
        let Self::Batch { batch, aborted } = self else { return };
        if batch.end() <= end && end != i64::MAX {
            return;
        }
        let (base, aborted) = (batch.base(), *aborted);
        let mut slots: VecDeque<_> = (base..batch.end()).map(|_| Slot::Compacted).collect();
        for (offset, stored) in batch.records() {
            let slot = usize::try_from(offset - base).ok().and_then(|place| slots.get_mut(place));
            if let Some(slot) = slot {
                *slot = if aborted { Slot::Aborted(stored) } else { Slot::Record(stored) };
            }
        }
        *self = Self::Slots { base, slots };
    }

    /// The largest timestamp of a record, aborted ones included; -1 if there is none.
    pub(super) fn max_timestamp(&self) -> Timestamp {
        match self {
            Self::Batch { batch, .. } => batch.max_timestamp(),
            Self::Slots { slots, .. } => slots.iter().map(Slot::timestamp).max().unwrap_or(-1),
        }
    }

    /// Calls `each` with the offset and the timestamp of every record, of aborted ones and of
    /// markers, too.
    pub(super) fn timestamps(&self, mut each: impl FnMut(i64, Timestamp)) {
        match self {
            Self::Batch { batch, .. } => {
                batch.records().for_each(|(offset, stored)| each(offset, stored.timestamp));
            }
            Self::Slots { base, slots } => {
                let kept =
                    (*base..).zip(slots).filter(|(_, slot)| !matches!(slot, Slot::Compacted));
                kept.for_each(|(offset, slot)| each(offset, slot.timestamp()));
            }
        }
    }

    /// Adds the batches of the range, which the segment covers. Says whether there may be room for
    /// more.
    pub(super) fn encode(
        &self,
        range: Range<i64>,
        isolation: Isolation,
        out: &mut Batches,
    ) -> bool {
        let (base, slots) = match self {
            Self::Batch { batch, .. } => return out.add(batch.end(), batch.size(), batch.parts()),
            Self::Slots { base, slots } => (base, slots),
        };
        let mut from = range.start;
        while from < range.end {
            let places = (from - base) as usize..(range.end - base) as usize;
            let (next, encoded) = encode_run(from, slots.range(places), isolation, out.left);
            if !out.add(next, encoded.len(), [encoded]) {
                return false;
            }
            from = next;
        }
        true
    }
}

/// Batches of at most so many bytes together.
#[cfg(feature = "wire")]
pub(super) struct Batches {
    /// In parts.
    batches: Vec<Bytes>,
    /// The offset after the last of them.
    end: i64,
    left: usize,
    /// Whether the first one is taken however large it is.
    at_least_one: bool,
}

#[cfg(feature = "wire")]
impl Batches {
    pub(super) const fn new(max_bytes: usize, at_least_one: bool) -> Self {
        Self { batches: Vec::new(), end: -1, left: max_bytes, at_least_one }
    }

    /// The batches, in parts, and the offset after the last of them.
    pub(super) fn finish(self) -> (Vec<Bytes>, i64) {
        (self.batches, self.end)
    }

    /// Adds a batch of so many bytes, up to this offset. Says whether there may be room for more.
    fn add(&mut self, end: i64, size: usize, parts: impl IntoIterator<Item = Bytes>) -> bool {
        if size > self.left && !(self.at_least_one && self.batches.is_empty()) {
            return false;
        }
        self.left = self.left.saturating_sub(size);
        self.batches.extend(parts);
        self.end = end;
        self.left > 0
    }
}

/// One batch from the first slots on, about so large at most; gives the offset after it. A marker is
/// a batch of its own. What a reader does not see leaves a gap, as compaction does.
#[cfg(feature = "wire")]
fn encode_run(
    from: i64,
    slots: vec_deque::Iter<'_, Slot>,
    isolation: Isolation,
    max_bytes: usize,
) -> (i64, Bytes) {
    let mut writer = batch::Writer::new(from);
    let mut next = from;
    for slot in slots {
        match slot {
            Slot::Marker(marker) if next == from => return (next + 1, batch::marker(from, marker)),
            Slot::Marker(_) => break,
            _ => {}
        }
        if let Some(stored) = slot.visible(isolation) {
            if !writer.has_room_for(stored, max_bytes) {
                break;
            }
            writer.push(next, stored);
        }
        next += 1;
    }
    (next, writer.finish(next))
}
