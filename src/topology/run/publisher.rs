//! The publisher: what is to be published and committed, and when.
//!
//! ```text
//!  outbox ──▶ batch ──▶ published ──▶ records are finished ──▶ commit ──▶ saved
//!    ▲          │
//!    └──────────┘ aborted, or too large
//! ```
//!
//! A sink that commits positions has one effect under way at a time, so that no position overtakes
//! another. A sink that leaves them to the source may have several batches under way, and a commit
//! beside them: the commit counts only records that were acknowledged before it began.
//!
//! Batches that overlap are kept alike. If each began as soon as it had an output, small ones would
//! soon have all the places; everything else would gather behind them to one large batch, and the
//! next small ones would wait for that: records in bursts, and time with nothing to do between
//! them.

use std::time::Duration;

use tokio::time::Instant;

use super::assignments::Assignments;
use super::outbox::{Item, Outbox};
use crate::position::PartitionPosition;

/// Batches that may be small beside each other.
const SMALL_BATCHES: usize = 2;
/// Outputs of a batch that is worth a place beside those.
const LARGE_BATCH_OUTPUTS: usize = 2_048;
/// The longest that outputs wait to be so many, while a place is free.
const SMALL_BATCH_WAIT: Duration = Duration::from_millis(50);
/// The longest that a batch for which jobs wait lets others come to it, while there is anything to be
/// taken in.
const GATHER_WAIT: Duration = Duration::from_millis(5);
/// The wait before a commit that failed is made again, and before an aborted batch is, at first.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The wait before the dead letter that can't be made smaller is published again.
const WITHHELD_DELAY: Duration = Duration::from_secs(5);
/// Batches in a row that were aborted, after which nothing more is taken in.
const MOST_ABORTS: u32 = 2;
/// The longest wait before an aborted batch is published again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

pub(super) struct Publisher {
    /// Since when the outbox has not been empty.
    outbox_since: Instant,
    /// Empty: the memory of outboxes that were published, for the next ones.
    spares: Vec<Outbox>,
    /// Whether jobs wait for batches.
    gathers: bool,
    /// Whether all that can come to the next batch by now has come.
    is_gathered: bool,
    /// When the last batch ended.
    ended_at: Instant,
    /// Batches under way.
    publishes: usize,
    publishes_at_once: usize,
    /// Commits and releases under way.
    others: usize,
    /// How far above a frontier a commit can name a record as finished, in offsets.
    window: i64,
    /// Batches that were aborted since one was published.
    aborts: u32,
    no_publish_before: Instant,
    /// When the records are published again whose smallest dead letter was refused.
    withheld_until: Instant,
    commit_at: Instant,
    commit_interval: Duration,
    no_commit_before: Instant,
}

impl Publisher {
    /// `gathers` if jobs wait for batches.
    pub(super) fn new(
        publishes_at_once: usize,
        gathers: bool,
        commit_interval: Duration,
        now: Instant,
    ) -> Self {
        Self {
            outbox_since: now,
            gathers,
            is_gathered: false,
            ended_at: now,
            spares: Vec::new(),
            publishes: 0,
            publishes_at_once,
            others: 0,
            window: 0,
            aborts: 0,
            no_publish_before: now,
            withheld_until: now,
            commit_at: now + commit_interval,
            commit_interval,
            no_commit_before: now,
        }
    }

    pub(super) const fn window(&self) -> i64 {
        self.window
    }

    pub(super) const fn set_window(&mut self, window: i64) {
        self.window = window;
    }

    /// Whether nothing is under way.
    pub(super) const fn is_idle(&self) -> bool {
        self.publishes + self.others == 0
    }

    /// Whether nothing can be published for now: what has waited, or is under way, was aborted again and
    /// again. Further jobs would only be executed again if the run ended meanwhile.
    pub(super) const fn is_refused(&self, outbox: &Outbox) -> bool {
        self.aborts >= MOST_ABORTS && (self.publishes > 0 || !outbox.is_empty())
    }

    /// Whether batches overlap each other and a commit: they carry no positions.
    const fn overlaps(&self) -> bool {
        self.publishes_at_once > 1
    }

    /// When the next batch is to be published, if there is something for it, and it may begin
    /// beside what is under way.
    pub(super) fn publish_due(&self, outbox: &Outbox) -> Option<Instant> {
        let may_begin =
            if self.overlaps() { self.publishes < self.publishes_at_once } else { self.is_idle() };
        if outbox.is_empty() || !may_begin {
            return None;
        }
        if outbox.is_withheld() {
            return Some(self.withheld_until.max(self.no_publish_before));
        }
        if self.gathers && !self.is_gathered {
            let since = self.outbox_since.max(self.ended_at);
            return Some((since + GATHER_WAIT).max(self.no_publish_before));
        }
        let outputs = outbox.batch().outputs.len();
        let is_worth_it = self.publishes < SMALL_BATCHES || outputs >= LARGE_BATCH_OUTPUTS;
        let wait = if is_worth_it { Duration::ZERO } else { SMALL_BATCH_WAIT };
        Some((self.outbox_since + wait).max(self.no_publish_before))
    }

    /// Whether a batch is due as soon as all has [come to it](Self::gathered).
    pub(super) fn is_gathering(&self, outbox: &Outbox) -> bool {
        let may_gather = self.gathers && !self.is_gathered && !outbox.is_withheld();
        may_gather && self.publish_due(outbox).is_some()
    }

    /// There is nothing that could come to the next batch at once.
    pub(super) const fn gathered(&mut self) {
        self.is_gathered = true;
    }

    /// Begins a batch, with its positions where they go with it; none if everything is held back.
    pub(super) fn begin_publish(
        &mut self,
        (assignments, outbox): (&mut Assignments, &mut Outbox),
        now: Instant,
    ) -> Option<Outbox> {
        self.is_gathered = false;
        outbox.drop_abandoned();
        let next = self.spares.pop().unwrap_or_default();
        let mut batch = std::mem::replace(outbox, next);
        // What may be refused again would take the others with it.
        let its_turn = now >= self.withheld_until;
        if let Some(others) = batch.split_withheld(!its_turn) {
            outbox.put_back(others);
            if its_turn {
                self.withheld_until = now + WITHHELD_DELAY;
            }
        }
        if !self.overlaps() {
            if let Some(held) = hold_back(&mut batch, assignments, self.window) {
                outbox.put_back(held);
            }
            if batch.is_empty() {
                self.spares.push(batch);
                self.no_publish_before = now + RETRY_DELAY;
                return None;
            }
            batch.set_positions(positions_with(&batch, assignments, self.window));
        }
        self.publishes += 1;
        Some(batch)
    }

    /// A batch was published.
    pub(super) fn published(&mut self, batch: Outbox, now: Instant) {
        self.publishes -= 1;
        self.ended_at = now;
        self.aborts = 0;
        self.spares.push(batch.emptied());
    }

    /// A batch was not published; if it was aborted, nothing is for a while.
    pub(super) fn not_published(&mut self, is_aborted: bool, now: Instant) {
        self.publishes -= 1;
        if !is_aborted {
            self.aborts = 0;
            return;
        }
        let delay = RETRY_DELAY.saturating_mul(1 << self.aborts.min(10));
        self.no_publish_before = now + delay.min(MAX_RETRY_DELAY);
        self.aborts = self.aborts.saturating_add(1);
    }

    /// Notes whether the outbox has anything to be published at once.
    pub(super) fn note_outbox(&mut self, outbox: &Outbox, now: Instant) {
        if outbox.is_withheld() {
            self.outbox_since = now;
        }
    }

    /// When the next commit is to be made, if a position has moved and the commit may begin beside
    /// what is under way: after the interval, or at once if a drain waits for it.
    pub(super) fn commit_due(&self, assignments: &Assignments) -> Option<Instant> {
        let beside = if self.overlaps() { 0 } else { self.publishes };
        if self.others + beside > 0 || !assignments.have_news() {
            return None;
        }
        let has_drained = assignments.iter().any(|(_, partition)| partition.waits_for_commit());
        let due = if has_drained { self.no_commit_before } else { self.commit_at };
        Some(due.max(self.no_commit_before))
    }

    /// Begins a commit.
    pub(super) fn begin_commit(&mut self, assignments: &mut Assignments) -> Vec<PartitionPosition> {
        self.others += 1;
        assignments.save(self.window)
    }

    /// A commit has ended.
    pub(super) fn committed(&mut self, is_made: bool, now: Instant) {
        self.others -= 1;
        self.commit_at = now + self.commit_interval;
        if !is_made {
            self.no_commit_before = now + RETRY_DELAY;
        }
    }

    pub(super) const fn begin_release(&mut self) {
        self.others += 1;
    }

    pub(super) const fn released(&mut self) {
        self.others -= 1;
    }
}

/// Takes out of a batch what its own commit could not name: records that are further above the
/// frontier, as the batch moves it, than the window is wide. There are some only if it has shrunk
/// since they were taken in.
fn hold_back(outbox: &mut Outbox, assignments: &mut Assignments, window: i64) -> Option<Outbox> {
    if assignments.iter().all(|(_, partition)| partition.all_fit(window)) {
        return None;
    }
    for (item, offset) in finishing(outbox) {
        assignments.current(item.assignment()).into_iter().for_each(|p| p.publishing(offset));
    }
    let is_beyond = |item: &Item| {
        let (name, generation) = item.assignment();
        let assigned = assignments.get(name).filter(|_| assignments.holds((name, generation)));
        let record = item.offset().zip(assigned);
        record.is_some_and(|(offset, partition)| partition.is_beyond_window(offset, window))
    };
    let held = outbox.split(is_beyond);
    for (item, offset) in finishing(&held) {
        assignments.current(item.assignment()).into_iter().for_each(|p| p.not_published(offset));
    }
    Some(held)
}

/// The items that finish a record, with its offset.
fn finishing(outbox: &Outbox) -> impl Iterator<Item = (&Item, i64)> {
    outbox.items().filter_map(|item| Some((item, item.offset()?)))
}

/// The positions at which a batch is finished.
fn positions_with(
    outbox: &Outbox,
    assignments: &mut Assignments,
    window: i64,
) -> Vec<PartitionPosition> {
    for item in outbox.items() {
        let Some(partition) = assignments.current(item.assignment()) else { continue };
        match item.offset() {
            Some(offset) => partition.publishing(offset),
            None => partition.fence_batch(),
        }
    }
    assignments.save_with_batch(window)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::record::{ConsumerRecord, ProducerRecord, TopicPartition};
    use crate::topology::Fate;
    use crate::topology::run::jobs::JobId;
    use crate::topology::stages::Finished;

    fn push(outbox: &mut Outbox, outputs: usize) {
        let record = ConsumerRecord::new(TopicPartition::new("jobs", 0), 0, 1);
        let outputs = vec![ProducerRecord::to("results"); outputs];
        let finished =
            Finished { record, outputs, fate: Fate::Succeeded, attempts: 1, changes: None };
        outbox.push(JobId::default(), finished);
    }

    #[test]
    fn a_batch_that_jobs_wait_for_begins_once_all_has_come_to_it_and_is_not_put_off_for_ever() {
        let since = Instant::now();
        let limits = crate::topology::Limits::default();
        let mut publisher = Publisher::new(1, true, limits.commit_interval, since);
        let (mut assignments, mut outbox) = (Assignments::new(limits, true), Outbox::default());
        assert!(!publisher.is_gathering(&outbox));
        push(&mut outbox, 1);
        assert!(publisher.is_gathering(&outbox));
        assert_eq!(publisher.publish_due(&outbox), Some(since + GATHER_WAIT));
        publisher.gathered();
        assert!(!publisher.is_gathering(&outbox));
        assert_eq!(publisher.publish_due(&outbox), Some(since));
        let batch = publisher.begin_publish((&mut assignments, &mut outbox), since).unwrap();
        push(&mut outbox, 1);
        assert_eq!(publisher.publish_due(&outbox), None);
        let ended = since + limits.commit_interval;
        publisher.published(batch, ended);
        assert!(publisher.is_gathering(&outbox));
        assert_eq!(publisher.publish_due(&outbox), Some(ended + GATHER_WAIT));
    }

    #[test]
    fn beside_two_others_a_batch_waits_until_it_is_large_but_not_for_ever() {
        let since = Instant::now();
        let limits = crate::topology::Limits::default();
        let mut publisher = Publisher::new(4, false, limits.commit_interval, since);
        let (mut assignments, mut outbox) = (Assignments::new(limits, false), Outbox::default());
        for _ in 0..SMALL_BATCHES {
            push(&mut outbox, 1);
            assert_eq!(publisher.publish_due(&outbox), Some(since));
            assert!(publisher.begin_publish((&mut assignments, &mut outbox), since).is_some());
        }
        assert_eq!(publisher.publish_due(&outbox), None);
        push(&mut outbox, 1);
        assert_eq!(publisher.publish_due(&outbox), Some(since + SMALL_BATCH_WAIT));
        push(&mut outbox, LARGE_BATCH_OUTPUTS);
        assert_eq!(publisher.publish_due(&outbox), Some(since));
    }
}
