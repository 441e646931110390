//! The partitions that this worker is assigned, and what is kept of those that it has lost.
//!
//! ```text
//!  assign ──▶ Restoring ──▶ Awaiting ──▶ Open ──▶ Draining ──▶ remove
//!                └─────────────┴───────────────────▲
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::limits::Limits;
use super::frontier::{Delivered, Frontier};
use super::leftovers::{Leftovers, Unpublished};
use crate::position::{PartitionPosition, Position};
use crate::record::{ConsumerRecord, Generation, TopicPartition};
use crate::sources::Assignment;

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Partition {
    generation: Generation,
    frontier: Frontier,
    /// When the frontier came to stand where it is.
    frontier_since: Instant,
    /// The offset that was reported as stuck.
    stuck: Option<i64>,
    phase: Phase,
    /// A record that does not fit into the window yet; no other is taken in before it.
    held: Option<ConsumerRecord>,
    /// Whether the source was asked to pause it.
    is_paused: bool,
    /// Records taken in that a deadline has cut off.
    cut_off: usize,
    /// Finished records that are in no committed position yet.
    unsaved: usize,
    /// Of these, the ones in the position that is being committed.
    saving: usize,
    /// Whether the next batch carries the position without news, so that the changes in it are fenced.
    is_fenced_by_batch: bool,
    /// What an earlier assignment has executed and not published, by offset, until it is finished.
    unpublished: BTreeMap<i64, Unpublished>,
}

/// How far an assignment is. Records are taken in while it is open.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Its part of the state is not there yet.
    Restoring,
    /// A batch that was begun under an earlier assignment may have its outputs: what becomes of them
    /// comes first.
    Awaiting,
    Open,
    Draining(Drain),
}

/// The end of an assignment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drain {
    /// What is in flight may execute until then.
    pub(super) until: Instant,
    /// What was executed may be published, and the position committed, until then.
    pub(super) flush_until: Instant,
    /// Whether what had not been executed by the first deadline was cut off.
    is_cut: bool,
    /// Whether the source has asked for it back.
    is_revoked: bool,
}

/// What becomes of a record that the source has yielded.
pub(super) enum Delivery {
    /// It is of a former assignment, or comes after the end of this one.
    Dropped,
    /// It does not fit into the window yet.
    Held,
    /// A former owner had finished it.
    AlreadyFinished(ConsumerRecord),
    /// A former assignment had executed it, and not published the outputs.
    AlreadyExecuted(ConsumerRecord, Box<Unpublished>),
    New(ConsumerRecord),
    /// It is below this offset, which was to be the next one at least.
    Below(i64, ConsumerRecord),
}

impl Partition {
    fn new(assignment: &Assignment, now: Instant) -> Self {
        Self {
            generation: assignment.generation,
            frontier: Frontier::new(assignment.position.clone()),
            frontier_since: now,
            stuck: None,
            phase: Phase::Open,
            held: None,
            is_paused: false,
            cut_off: 0,
            // A commit from before must not count once there are as many records again.
            unsaved: usize::from(assignment.reset.is_some() && assignment.position.is_some()),
            saving: 0,
            is_fenced_by_batch: false,
            unpublished: BTreeMap::new(),
        }
    }

    /// Its lowest unfinished offset.
    pub(super) fn frontier(&self) -> i64 {
        self.frontier.offset()
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
        matches!(self.phase, Phase::Open) && self.held.is_none()
    }

    const fn drain(&self) -> Option<&Drain> {
        match &self.phase {
            Phase::Draining(drain) => Some(drain),
            Phase::Restoring | Phase::Awaiting | Phase::Open => None,
        }
    }

    fn deliver(&mut self, record: ConsumerRecord, window: i64, now: Instant) -> Delivery {
        let (offset, expected) = (record.offset, self.frontier.next());
        if !self.is_open() {
            return Delivery::Dropped;
        }
        if offset < expected {
            return Delivery::Below(expected, record);
        }
        if !self.frontier.fits(offset, window) {
            self.held = Some(record);
            return Delivery::Held;
        }
        if !self.frontier.is_waiting() {
            self.frontier_since = now;
        }
        match self.frontier.deliver(offset) {
            Delivered::New => match self.unpublished.get(&offset) {
                Some(executed) if executed.is_of(&record) => {
                    Delivery::AlreadyExecuted(record, Box::new(executed.clone()))
                }
                _ => Delivery::New(record),
            },
            Delivered::AlreadyFinished => {
                self.unsaved += 1;
                Delivery::AlreadyFinished(record)
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

    /// The frontier at which a record would be with the batch, if that is too far below the record
    /// for the batch's own commit to name it.
    pub(super) fn is_beyond_window(&self, offset: i64, window: i64) -> bool {
        let frontier = self.frontier.position_once_published(window).frontier();
        offset >= frontier && offset - frontier >= window
    }

    /// The executed records that an earlier assignment has left, and this one has not finished.
    pub(super) fn into_unpublished(self) -> BTreeMap<i64, Unpublished> {
        self.unpublished
    }

    const fn has_news(&self) -> bool {
        self.unsaved > 0
    }

    /// The position of what is finished, to be saved by a commit.
    fn save(&mut self, window: i64) -> Position {
        self.saving = self.unsaved;
        self.frontier.position(window)
    }

    /// The position at which the batch that is being published is finished, too, to be saved with it.
    fn save_with_batch(&mut self, window: i64) -> Position {
        self.is_fenced_by_batch = false;
        self.saving = self.unsaved + self.frontier.in_batch();
        self.frontier.position_once_published(window)
    }

    const fn saved(&mut self) {
        self.unsaved -= self.saving;
        self.saving = 0;
    }
}

/// All assigned partitions.
#[derive(Debug)]
pub(super) struct Assignments {
    /// Ordered by number and topic: a number is quicker to compare than a name.
    assigned: Vec<(TopicPartition, Partition)>,
    /// Where the last one was found: records come and finish in runs of one partition.
    last: usize,
    leftovers: Leftovers,
    /// Partitions that were lost while a batch was under way that may have outputs of theirs.
    awaited: Vec<TopicPartition>,
    /// Whether partitions with one number are released together.
    share_parts: bool,
}

impl Assignments {
    pub(super) const fn new(limits: Limits, share_parts: bool) -> Self {
        let leftovers = Leftovers::new(limits);
        Self { assigned: Vec::new(), last: 0, leftovers, awaited: Vec::new(), share_parts }
    }

    fn find(&self, partition: &TopicPartition) -> Result<usize, usize> {
        self.assigned.binary_search_by(|(name, _)| {
            let by_number = name.partition.cmp(&partition.partition);
            by_number.then_with(|| name.topic.cmp(&partition.topic))
        })
    }

    /// Begins an assignment of a partition that is not there, with what an earlier one has left.
    pub(super) fn assign(&mut self, assignment: &Assignment, is_restoring: bool, now: Instant) {
        let name = &assignment.partition;
        let Err(index) = self.find(name) else { return };
        let mut partition = Partition::new(assignment, now);
        partition.unpublished = self.leftovers.take(name, assignment.position.as_ref());
        partition.phase = match is_restoring {
            true => Phase::Restoring,
            false => self.phase_once_restored(name),
        };
        self.assigned.insert(index, (name.clone(), partition));
    }

    fn phase_once_restored(&self, name: &TopicPartition) -> Phase {
        if self.awaited.contains(name) { Phase::Awaiting } else { Phase::Open }
    }

    /// The part that the partitions of this number share is there.
    pub(super) fn restored(&mut self, number: i32) {
        for index in 0..self.assigned.len() {
            let (name, partition) = &self.assigned[index];
            if name.partition == number && matches!(partition.phase, Phase::Restoring) {
                self.assigned[index].1.phase = self.phase_once_restored(name);
            }
        }
    }

    /// Forgets what was executed of a partition before this generation, with which it begins anew.
    pub(super) fn begin_anew(&mut self, name: &TopicPartition, generation: Generation) {
        self.awaited.retain(|awaited| awaited != name);
        self.leftovers.begin_anew(name, generation);
    }

    /// A partition is lost while batches are under way: its next assignment waits for their end.
    pub(super) fn await_batches(&mut self, name: &TopicPartition) {
        self.awaited.push(name.clone());
    }

    /// Whether the end of the batches under way is waited for.
    pub(super) const fn is_awaiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// No batch is under way.
    pub(super) fn batches_ended(&mut self) {
        self.awaited.clear();
        for (_, partition) in &mut self.assigned {
            if matches!(partition.phase, Phase::Awaiting) {
                partition.phase = Phase::Open;
            }
        }
    }

    /// Keeps executed records of assignments that are over: with their partitions, where these are
    /// assigned again already.
    pub(super) fn keep(&mut self, unpublished: impl IntoIterator<Item = Unpublished>) {
        for unpublished in unpublished {
            if !self.leftovers.counts(&unpublished) {
                continue;
            }
            let (name, offset) = unpublished.place();
            match self.find(name) {
                Ok(index) => {
                    let assigned = &mut self.assigned[index].1;
                    if !assigned.frontier.is_inherited(offset) {
                        assigned.unpublished.insert(offset, unpublished);
                    }
                }
                Err(_) => self.leftovers.keep(unpublished),
            }
        }
    }

    pub(super) fn remove(&mut self, name: &TopicPartition) -> Option<(Generation, Partition)> {
        let (_, partition) = self.assigned.remove(self.find(name).ok()?);
        Some((partition.generation, partition))
    }

    /// Takes in the next record of a partition, or holds it.
    pub(super) fn deliver(
        &mut self,
        record: ConsumerRecord,
        window: i64,
        now: Instant,
    ) -> Delivery {
        match self.current(&record.partition, record.generation) {
            Some(partition) => partition.deliver(record, window, now),
            None => Delivery::Dropped,
        }
    }

    /// Takes out a record that was held and fits by now; it is delivered again.
    pub(super) fn take_held(&mut self, window: i64) -> Option<ConsumerRecord> {
        let fits = |partition: &Partition| {
            let held = partition.held.as_ref();
            held.is_some_and(|held| partition.frontier.fits(held.offset, window))
        };
        let mut partitions = self.assigned.iter_mut().map(|(_, partition)| partition);
        partitions.find(|partition| fits(partition))?.held.take()
    }

    /// Takes nothing more in, and lets what is in flight finish. A drain that has begun goes on.
    pub(super) fn drain(&mut self, name: &TopicPartition, until: Instant, flush_until: Instant) {
        let Some(partition) = self.get_mut(name) else { return };
        partition.held = None;
        if partition.drain().is_none() {
            let drain = Drain { until, flush_until, is_cut: false, is_revoked: false };
            partition.phase = Phase::Draining(drain);
        }
    }

    /// The source has asked for a partition that drains: it is released at the end.
    pub(super) fn release_once_drained(&mut self, name: &TopicPartition) {
        if let Some(Partition { phase: Phase::Draining(drain), .. }) = self.get_mut(name) {
            drain.is_revoked = true;
        }
    }

    /// The drain of a partition, if it is under way.
    pub(super) fn drain_of(&self, name: &TopicPartition) -> Option<(Generation, Drain)> {
        let partition = self.get(name)?;
        Some((partition.generation, *partition.drain()?))
    }

    /// Notes the drains whose first deadline is over.
    pub(super) fn cut_drains(&mut self, now: Instant) -> Vec<(TopicPartition, Generation)> {
        let mut cut = Vec::new();
        for (name, Partition { phase, generation, .. }) in &mut self.assigned {
            if let Phase::Draining(drain) = phase
                && !drain.is_cut
                && now >= drain.until
            {
                drain.is_cut = true;
                cut.push((name.clone(), *generation));
            }
        }
        cut
    }

    /// The deadlines of drains.
    pub(super) fn drain_deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        let next = |drain: &Drain| if drain.is_cut { drain.flush_until } else { drain.until };
        self.assigned.iter().filter_map(move |(_, partition)| partition.drain().map(next))
    }

    /// Whether a drained partition waits for its last commit.
    pub(super) fn has_drained(&self) -> bool {
        let mut partitions = self.assigned.iter().map(|(_, partition)| partition);
        partitions.any(|p| p.drain().is_some() && p.in_flight() == 0 && p.has_news())
    }

    /// The revoked partitions of which everything is finished and saved, or whose time is over.
    pub(super) fn to_release(&self, now: Instant) -> Vec<(TopicPartition, Generation)> {
        let is_due = |partition: &Partition| {
            let is_done = partition.in_flight() == 0 && !partition.has_news();
            partition.drain().is_some_and(|drain| is_done || now >= drain.flush_until)
        };
        let is_revoked = |partition: &Partition| partition.drain().is_some_and(|d| d.is_revoked);
        let revoked = || self.assigned.iter().filter(|(_, partition)| is_revoked(partition));
        // Those that share a part go together: their next owner must find it at rest.
        let waits_for_another = |name: &TopicPartition| {
            let shares = |other: &TopicPartition| other.partition == name.partition;
            self.share_parts && revoked().any(|(other, p)| shares(other) && !is_due(p))
        };
        let due = revoked().filter(|(name, p)| is_due(p) && !waits_for_another(name));
        due.map(|(name, partition)| (name.clone(), partition.generation)).collect()
    }

    /// The partitions that the source is to pause, and those that it is to resume, since a partition
    /// takes records in or does not. With a shut intake none does.
    pub(super) fn to_pause_and_resume(
        &mut self,
        intake_is_open: bool,
    ) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let (mut pause, mut resume) = (Vec::new(), Vec::new());
        for (name, partition) in &mut self.assigned {
            let is_paused = !(intake_is_open && partition.is_open());
            if std::mem::replace(&mut partition.is_paused, is_paused) != is_paused {
                if is_paused { &mut pause } else { &mut resume }.push(name.clone());
            }
        }
        (pause, resume)
    }

    pub(super) fn get(&self, name: &TopicPartition) -> Option<&Partition> {
        let index = self.find(name).ok()?;
        Some(&self.assigned[index].1)
    }

    fn get_mut(&mut self, name: &TopicPartition) -> Option<&mut Partition> {
        if self.assigned.get(self.last).is_none_or(|(last, _)| last != name) {
            self.last = self.find(name).ok()?;
        }
        Some(&mut self.assigned[self.last].1)
    }

    /// The partition, if it is still assigned as it was.
    pub(super) fn current(
        &mut self,
        name: &TopicPartition,
        generation: Generation,
    ) -> Option<&mut Partition> {
        self.get_mut(name).filter(|partition| partition.generation == generation)
    }

    /// Whether the partition is still assigned as it was.
    pub(super) fn holds(&self, name: &TopicPartition, generation: Generation) -> bool {
        self.get(name).is_some_and(|partition| partition.generation == generation)
    }

    pub(super) fn names(&self) -> Vec<TopicPartition> {
        self.assigned.iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&TopicPartition, &mut Partition)> {
        self.assigned.iter_mut().map(|(name, partition)| (&*name, partition))
    }

    /// Whether a partition of this number is assigned.
    pub(super) fn has_number(&self, number: i32) -> bool {
        self.assigned.iter().any(|(name, _)| name.partition == number)
    }

    /// Whether each record that was delivered is within the window above its frontier.
    pub(super) fn all_fit(&self, window: i64) -> bool {
        self.assigned.iter().all(|(_, partition)| partition.frontier.all_fit(window))
    }

    /// Whether a partition has finished records that are in no committed position.
    pub(super) fn have_news(&self) -> bool {
        self.assigned.iter().any(|(_, partition)| partition.has_news())
    }

    /// The positions with news, as far as they fit into a window.
    pub(super) fn save(&mut self, window: i64) -> Vec<PartitionPosition> {
        let with_news = self.iter_mut().filter(|(_, partition)| partition.has_news());
        with_news.map(|(name, p)| positioned(name, p.generation, p.save(window))).collect()
    }

    /// The positions that a batch carries: those with news, and those that fence it.
    pub(super) fn save_with_batch(&mut self, window: i64) -> Vec<PartitionPosition> {
        let has_news =
            |p: &Partition| p.unsaved + p.frontier.in_batch() > 0 || p.is_fenced_by_batch;
        let with_news = self.iter_mut().filter(|(_, partition)| has_news(partition));
        let position = |(name, p): (&TopicPartition, &mut Partition)| {
            positioned(name, p.generation, p.save_with_batch(window))
        };
        with_news.map(position).collect()
    }

    /// These positions are committed.
    pub(super) fn saved(&mut self, positions: &[PartitionPosition]) {
        for PartitionPosition { partition, generation, .. } in positions {
            self.current(partition, *generation).into_iter().for_each(Partition::saved);
        }
    }
}

fn positioned(
    partition: &TopicPartition,
    generation: Generation,
    position: Position,
) -> PartitionPosition {
    PartitionPosition { partition: partition.clone(), generation, position }
}
