//! How much is in flight, and whether there is room for more.
//!
//! Jobs with limits by a key of theirs are counted by their keys, too: what these hold may hang for
//! long, so that there is room below a watermark above what they hold.

use super::super::limits::Limits;

/// Jobs, and the bytes of their records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) jobs: usize,
    pub(super) bytes: usize,
}

impl Load {
    pub(super) const fn add(&mut self, bytes: usize) {
        self.jobs += 1;
        self.bytes += bytes;
    }

    pub(super) const fn remove(&mut self, bytes: usize) {
        self.jobs -= 1;
        self.bytes -= bytes;
    }
}

/// What of the limits is taken.
pub(super) struct Capacity {
    limits: Limits,
    in_flight: Load,
    /// Jobs that have a place.
    places: usize,
    /// Set when a limit is reached, until there is room again: the source is not paused and resumed
    /// for every record.
    is_full: bool,
}

impl Capacity {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, in_flight: Load::default(), places: 0, is_full: false }
    }

    /// Whether a limit is reached.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    pub(super) fn has_place(&self) -> bool {
        self.places < self.limits.executing_records.max(1)
    }

    /// A job is in flight, with a place or without.
    pub(super) fn enter(&mut self, bytes: usize, has_place: bool) {
        self.in_flight.add(bytes);
        self.places += usize::from(has_place);
        let Limits { in_flight_records, in_flight_bytes, .. } = self.limits;
        self.is_full = self.in_flight.jobs >= in_flight_records.max(1)
            || self.in_flight.bytes >= in_flight_bytes
            || !self.has_place();
    }

    /// A job without a place is in flight no more.
    pub(super) fn leave(&mut self, bytes: usize, by_keys: ByKeys) {
        self.in_flight.remove(bytes);
        self.make_room(by_keys);
    }

    /// A job takes a place.
    pub(super) const fn take_place(&mut self) {
        self.places += 1;
    }

    /// Takes nothing new in while there is no place left.
    pub(super) fn note_places(&mut self) {
        self.is_full |= !self.has_place();
    }

    /// A job gives its place back.
    pub(super) fn give_place(&mut self, by_keys: ByKeys) {
        self.places -= 1;
        self.make_room(by_keys);
    }

    /// Whether a key's jobs without a place are as many as there is room left by those of all keys, or
    /// its jobs hold as many bytes as those of all keys leave; without this fraction of what is left.
    pub(super) fn do_crowd(&self, own: ByKeys, all: ByKeys, fraction: usize) -> bool {
        let Limits { in_flight_records, executing_records, in_flight_bytes, .. } = self.limits;
        let left = |room: usize, taken: usize| {
            let left = room.saturating_sub(taken);
            left - left.checked_div(fraction).unwrap_or_default()
        };
        let beside_places = in_flight_records.saturating_sub(executing_records);
        let room_records = beside_places.max(in_flight_records / 2);
        let (own_held, all_held) = (own.held(), all.held());
        own.waiting.jobs > 0 && own.waiting.jobs >= left(room_records, all.waiting.jobs)
            || own_held.jobs > 0 && own_held.bytes >= left(in_flight_bytes, all_held.bytes)
    }

    fn make_room(&mut self, by_keys: ByKeys) {
        if !self.is_full {
            return;
        }
        let Limits { in_flight_records, in_flight_bytes, executing_records, .. } = self.limits;
        let Load { jobs, bytes } = self.in_flight;
        let held = by_keys.held();
        self.is_full = jobs > 0
            && (self.places >= low(executing_records, by_keys.executing.jobs).max(1)
                || jobs >= low(in_flight_records, held.jobs).max(1)
                || bytes >= low(in_flight_bytes, held.bytes));
    }
}

/// What jobs with limits by their key hold: those in flight that neither execute nor are done, and
/// those that execute.
#[derive(Clone, Copy)]
pub(super) struct ByKeys {
    pub(super) waiting: Load,
    pub(super) executing: Load,
}

impl ByKeys {
    pub(super) const NONE: Self =
        Self { waiting: Load { jobs: 0, bytes: 0 }, executing: Load { jobs: 0, bytes: 0 } };

    /// A job that waited executes.
    pub(super) const fn has_begun(&mut self, bytes: usize) {
        self.waiting.remove(bytes);
        self.executing.add(bytes);
    }

    /// A job that executed waits, or is going to leave.
    pub(super) const fn has_ended(&mut self, bytes: usize) {
        self.executing.remove(bytes);
        self.waiting.add(bytes);
    }

    /// What both hold.
    pub(super) const fn held(&self) -> Load {
        let Self { waiting, executing } = self;
        Load { jobs: waiting.jobs + executing.jobs, bytes: waiting.bytes + executing.bytes }
    }
}

/// The lower of the two watermarks, above what is held: there is room below it.
const fn low(limit: usize, held: usize) -> usize {
    limit - limit.saturating_sub(held) / 8
}
