//! One assigned partition.
//!
//! ```text
//!  assigned ──▶ Restoring ──▶ Awaiting ──▶ Open ──▶ Draining ──▶ released
//!                   └────────────┴─────────────────▲
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::stages::KeyHash;
use super::frontier::{Delivered, Frontier};
use super::leftovers::Unpublished;
use crate::position::Position;
use crate::record::{ConsumerRecord, Generation};
use crate::sources::Assignment;
use crate::state::DrainEnd;

/// A partition under its assignment.
#[derive(Debug)]
pub(super) struct Partition {
    generation: Generation,
    frontier: Frontier,
    /// When the frontier came to stand where it is.
    frontier_since: Instant,
    /// The offset that was reported as stuck.
    stuck: Option<i64>,
    phase: Phase,
    /// What its jobs learn of the end of its drain by.
    drain_end: Arc<DrainEnd>,
    /// A record that does not fit into the window yet; no other is taken in before it.
    held: Option<ConsumerRecord>,
    /// The key whose jobs crowd the others, since one of them was taken in here.
    crowded_by: Option<KeyHash>,
    /// Whether the source was asked to pause it.
    is_paused: bool,
    /// Records taken in that a deadline has cut off.
    cut_off: usize,
    /// Finished records that are in no committed position yet.
    unsaved: usize,
    /// Of these, the ones in the position that is being committed.
    saving: usize,
    /// Whether the next batch carries the position even if it has not moved, so that the group
    /// fences the changes in the batch.
    is_fenced_by_batch: bool,
    /// What an earlier assignment has executed and not published, by offset, until it is finished.
    unpublished: BTreeMap<i64, Unpublished>,
}

/// How far an assignment is. Records are taken in while it is open.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Its part of the state is not there yet.
    Restoring,
    /// A batch that was begun under an earlier assignment may hold outputs of the partition: the
    /// end of that batch comes first.
    Awaiting,
    Open,
    Draining(Drain),
}

/// The end of an assignment.
#[derive(Clone, Copy, Debug)]
struct Drain {
    /// What is in flight may execute until then.
    until: Instant,
    /// What was executed may be published, and the position committed, until then.
    flush_until: Instant,
    /// Whether what had not been executed by the first deadline was cut off.
    is_cut: bool,
    /// Whether the source has asked for it back.
    is_revoked: bool,
}

/// What becomes of a record that the source has yielded.
pub(super) enum Delivery {
    /// It comes after the end of the assignment.
    Dropped,
    /// It does not fit into the window yet, and is to be [held](Partition::hold).
    Held,
    /// A former owner had finished it.
    AlreadyFinished,
    /// A former assignment had executed it, and not published the outputs.
    AlreadyExecuted(Box<Unpublished>),
    New,
    /// It is below this offset, which was to be the next one at least.
    Below(i64),
}

impl Partition {
    /// Begins an assignment, with what an earlier one has executed and not published.
    pub(super) fn new(
        assignment: &Assignment,
        unpublished: BTreeMap<i64, Unpublished>,
        now: Instant,
    ) -> Self {
        Self {
            generation: assignment.generation,
            frontier: Frontier::new(assignment.position.clone()),
            frontier_since: now,
            stuck: None,
            phase: Phase::Restoring,
            drain_end: Arc::default(),
            held: None,
            crowded_by: None,
            is_paused: false,
            cut_off: 0,
            // A commit of the former life must not count once the log has grown to its offset
            // again.
            unsaved: usize::from(assignment.reset.is_some() && assignment.position.is_some()),
            saving: 0,
            is_fenced_by_batch: false,
            unpublished,
        }
    }

    pub(super) const fn generation(&self) -> Generation {
        self.generation
    }

    /// Its lowest unfinished offset.
    pub(super) fn frontier(&self) -> i64 {
        self.frontier.offset()
    }

    /// How many offsets that were not delivered no former owner had finished.
    pub(super) fn unfinished_in(&self, offsets: &Range<i64>) -> u64 {
        self.frontier.not_inherited(offsets)
    }

    /// How many records were taken in, and are neither finished nor cut off.
    pub(super) const fn in_flight(&self) -> usize {
        self.frontier.unfinished() - self.cut_off
    }

    /// How long the frontier has stood before a record in flight.
    pub(super) fn age(&self, now: Instant) -> Duration {
        if self.in_flight() == 0 { Duration::ZERO } else { now - self.frontier_since }
    }

    /// Whether the frontier stands before the same record for longer than the limit; true once.
    pub(super) fn is_newly_stuck(&mut self, now: Instant, after: Duration) -> bool {
        let offset = Some(self.frontier.offset());
        self.age(now) >= after && std::mem::replace(&mut self.stuck, offset) != offset
    }

    const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open) && self.held.is_none() && self.crowded_by.is_none()
    }

    const fn drain_state(&self) -> Option<&Drain> {
        match &self.phase {
            Phase::Draining(drain) => Some(drain),
            Phase::Restoring | Phase::Awaiting | Phase::Open => None,
        }
    }

    /// Its part of the state is there.
    pub(super) const fn restored(&mut self, awaits_batches: bool) {
        if let Phase::Restoring = self.phase {
            self.phase = if awaits_batches { Phase::Awaiting } else { Phase::Open };
        }
    }

    /// No batch is under way.
    pub(super) const fn batches_ended(&mut self) {
        if let Phase::Awaiting = self.phase {
            self.phase = Phase::Open;
        }
    }

    /// Takes nothing more in, and lets what is in flight finish. A drain that has begun goes on.
    pub(super) fn drain(&mut self, until: Instant, flush_until: Instant) {
        self.held = None;
        if self.drain_state().is_none() {
            let drain = Drain { until, flush_until, is_cut: false, is_revoked: false };
            self.phase = Phase::Draining(drain);
        }
    }

    /// The source has asked for the partition that drains: it is released at the end.
    pub(super) const fn release_once_drained(&mut self) {
        if let Phase::Draining(drain) = &mut self.phase {
            drain.is_revoked = true;
        }
    }

    /// Until when a drain lets jobs execute.
    pub(super) fn drains_until(&self) -> Option<Instant> {
        self.drain_state().map(|drain| drain.until)
    }

    /// The next deadline of a drain.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.drain_state().map(|drain| if drain.is_cut { drain.flush_until } else { drain.until })
    }

    /// What its jobs learn of the end of its drain by.
    pub(super) const fn drain_end(&self) -> &Arc<DrainEnd> {
        &self.drain_end
    }

    /// Notes that the first deadline of a drain is over, of which its jobs learn; true once.
    pub(super) fn cut_drain(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Draining(drain) if now >= drain.until && !drain.is_cut => {
                drain.is_cut = true;
                self.drain_end.come();
                true
            }
            _ => false,
        }
    }

    /// Whether it has drained, and waits for its last commit.
    pub(super) fn waits_for_commit(&self) -> bool {
        self.drain_state().is_some() && self.in_flight() == 0 && self.has_news()
    }

    pub(super) fn is_revoked(&self) -> bool {
        self.drain_state().is_some_and(|drain| drain.is_revoked)
    }

    /// Whether a drain has come to its end: everything is finished and saved, or the time is over.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        let is_done = self.in_flight() == 0 && !self.has_news();
        self.drain_state().is_some_and(|drain| is_done || now >= drain.flush_until)
    }

    /// Whether the source is to pause the partition, or to resume it; none if it is as it should
    /// be. The source yields no record of a revoked partition anyway.
    pub(super) fn pause_or_resume(&mut self, intake_is_open: bool) -> Option<bool> {
        let is_paused = !(intake_is_open && self.is_open());
        if self.is_revoked() || self.is_paused == is_paused {
            return None;
        }
        self.is_paused = is_paused;
        Some(is_paused)
    }

    /// Takes in no more, since the jobs of a key crowd the others.
    pub(super) const fn crowded_by(&mut self, key: KeyHash) {
        self.crowded_by = Some(key);
    }

    /// Takes records in again if that key has room.
    pub(super) fn uncrowd(&mut self, has_room: impl Fn(KeyHash) -> bool) {
        self.crowded_by = self.crowded_by.filter(|key| !has_room(*key));
    }

    /// Takes out a record that was held and fits by now; it is delivered again.
    pub(super) fn take_held(&mut self, window: i64) -> Option<ConsumerRecord> {
        let fits = |held: &mut ConsumerRecord| self.frontier.fits(held.offset, window);
        self.held.take_if(fits)
    }

    /// Whether each record that was delivered is within the window above the frontier.
    pub(super) fn all_fit(&self, window: i64) -> bool {
        self.frontier.all_fit(window)
    }

    /// Keeps what a former assignment has executed, unless it is finished.
    pub(super) fn inherit(&mut self, unpublished: Unpublished) {
        let (_, offset) = unpublished.place();
        if !self.frontier.is_inherited(offset) {
            self.unpublished.insert(offset, unpublished);
        }
    }

    /// Takes in no other record before this one, which does not fit into the window yet.
    pub(super) fn hold(&mut self, record: ConsumerRecord) {
        self.held = Some(record);
    }

    /// Takes in the next record, if it fits.
    pub(super) fn deliver(
        &mut self,
        record: &ConsumerRecord,
        window: i64,
        now: Instant,
    ) -> Delivery {
        let (offset, expected) = (record.offset, self.frontier.next());
        if !self.is_open() {
            return Delivery::Dropped;
        }
        if offset < expected {
            return Delivery::Below(expected);
        }
        if !self.frontier.fits(offset, window) {
            return Delivery::Held;
        }
        if !self.frontier.is_waiting() {
            self.frontier_since = now;
        }
        match self.frontier.deliver(offset) {
            Delivered::New => match self.unpublished.get(&offset) {
                Some(executed) if executed.is_of(record) => {
                    Delivery::AlreadyExecuted(Box::new(executed.clone()))
                }
                _ => Delivery::New,
            },
            Delivered::AlreadyFinished => {
                self.unsaved += 1;
                Delivery::AlreadyFinished
            }
        }
    }

    /// Counts a record as finished.
    pub(super) fn finish(&mut self, offset: i64, now: Instant) {
        if self.frontier.finish(offset) {
            self.frontier_since = now;
        }
        self.unpublished.remove(&offset);
        self.unsaved += 1;
    }

    /// Counts records that are in flight no more, and were left unfinished.
    pub(super) const fn cut_off(&mut self, records: usize) {
        self.cut_off += records;
    }

    /// Counts a record into the batch that is being published.
    pub(super) fn publishing(&mut self, offset: i64) {
        self.frontier.publishing(offset);
    }

    /// The batch has changes that only the partition's owner may make.
    pub(super) const fn fence_batch(&mut self) {
        self.is_fenced_by_batch = true;
    }

    /// Counts a record out of a batch that is not published.
    pub(super) fn not_published(&mut self, offset: i64) {
        self.frontier.not_published(offset);
    }

    /// The frontier after the batch, if it is so far below the record that the batch's own commit
    /// can't name the record as finished.
    pub(super) fn is_beyond_window(&self, offset: i64, window: i64) -> bool {
        let frontier = self.frontier.position_once_published(window).frontier();
        offset >= frontier && offset - frontier >= window
    }

    /// The executed records that an earlier assignment has left, and this one has not finished.
    pub(super) fn into_unpublished(self) -> BTreeMap<i64, Unpublished> {
        self.unpublished
    }

    /// Whether finished records are in no committed position.
    pub(super) const fn has_news(&self) -> bool {
        self.unsaved > 0
    }

    /// Whether the batch that is being published carries its position.
    pub(super) const fn is_in_batch(&self) -> bool {
        self.has_news() || self.frontier.in_batch() > 0 || self.is_fenced_by_batch
    }

    /// The position of what is finished, to be saved by a commit.
    pub(super) fn save(&mut self, window: i64) -> Position {
        self.saving = self.unsaved;
        self.frontier.position(window)
    }

    /// The position at which the batch that is being published is finished, too, to be saved with
    /// it.
    pub(super) fn save_with_batch(&mut self, window: i64) -> Position {
        self.is_fenced_by_batch = false;
        self.saving = self.unsaved + self.frontier.in_batch();
        self.frontier.position_once_published(window)
    }

    /// What was being saved is committed.
    pub(super) const fn saved(&mut self) {
        self.unsaved -= self.saving;
        self.saving = 0;
    }
}
