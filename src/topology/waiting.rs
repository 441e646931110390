//! Jobs that wait for another attempt.
//!
//! ```text
//!  running ──▶ failed, worth another attempt ──▶ waiting ──▶ due, and a place is free ──▶ running
//! ```
//!
//! They hold their key and their place among the records in flight, and none among those that
//! execute, nor do the jobs in line behind them: as many as may be in flight can wait, while the
//! others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::admit::Work;
use super::event::Event;
use super::lanes::KeyHash;
use super::run::Run;
use crate::record::{Generation, TopicPartition};

/// The jobs that wait, in the order in which they are due.
pub(super) struct Waiting<'a> {
    jobs: BTreeMap<(Instant, u64), Work<'a>>,
    /// The lanes that they hold.
    lanes: BTreeSet<KeyHash>,
    /// Waits so far: those that are due at once go on in the order in which they began.
    waits: u64,
}

impl<'a> Waiting<'a> {
    pub(super) const fn new() -> Self {
        Self { jobs: BTreeMap::new(), lanes: BTreeSet::new(), waits: 0 }
    }

    /// Whether one of them holds this lane.
    pub(super) fn holds(&self, lane: Option<KeyHash>) -> bool {
        lane.is_some_and(|lane| self.lanes.contains(&lane))
    }

    fn push(&mut self, until: Instant, work: Work<'a>) {
        self.lanes.extend(work.lane);
        self.jobs.insert((until, self.waits), work);
        self.waits += 1;
    }

    /// When the next one is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.jobs.first_key_value().map(|((until, _), _)| *until)
    }

    /// Takes out the next one, if it is due.
    fn next_due(&mut self, now: Instant) -> Option<Work<'a>> {
        let next = self.jobs.first_entry().filter(|next| next.key().0 <= now)?;
        Some(next.remove())
    }

    /// Takes out those for which `condition` holds.
    fn take_out(&mut self, condition: impl Fn(Instant, &Work<'a>) -> bool) -> Vec<Work<'a>> {
        self.jobs
            .extract_if(.., |(until, _), work| condition(*until, work))
            .map(|(_, w)| w)
            .collect()
    }
}

impl<'a> Run<'a> {
    /// Puts a job aside until its next attempt. It frees its place among those that execute.
    pub(super) fn wait(&mut self, delay: Duration, work: Work<'a>) {
        let (partition, generation) = (work.partition.clone(), work.generation);
        let freed = 1 + self.in_line(work.lane);
        (0..freed).for_each(|_| self.intake.executed());
        self.waiting.push(Instant::now() + delay, work);
        self.cut_off_what_waits_for_too_long(&partition, generation);
    }

    /// Those that are due go on, before others are taken in, while there are places.
    pub(super) fn go_on_with_what_is_due(&mut self) {
        while self.intake.has_place()
            && let Some(work) = self.waiting.next_due(self.now)
        {
            self.waits_no_more(&work);
            self.running.push(work);
        }
    }

    fn in_line(&self, lane: Option<KeyHash>) -> usize {
        lane.map_or(0, |lane| self.lanes.in_line(lane))
    }

    /// A job that has been taken out, and the ones in line behind it, have their places again.
    fn waits_no_more(&mut self, work: &Work<'_>) {
        if let Some(lane) = work.lane {
            self.waiting.lanes.remove(&lane);
        }
        self.intake.execute_again(1 + self.in_line(work.lane));
    }

    /// Takes out the jobs for which `condition` holds. They, and what is in line behind them, have
    /// their places again.
    pub(super) fn take_out_waiting(
        &mut self,
        condition: impl Fn(Instant, &Work<'a>) -> bool,
    ) -> Vec<Work<'a>> {
        let taken = self.waiting.take_out(condition);
        taken.iter().for_each(|work| self.waits_no_more(work));
        taken
    }

    /// When the loop must turn for the next one that is due. Where there is no place for it, it
    /// turns for the end of another one.
    pub(super) fn wait_ends(&self) -> Option<Instant> {
        self.waiting.due().filter(|_| self.intake.has_place())
    }

    /// Cuts off the jobs of a drain that wait until after its end, and the ones with their key
    /// behind them: the drain waits for nothing that it will cut off anyway.
    pub(super) fn cut_off_what_waits_for_too_long(
        &mut self,
        name: &TopicPartition,
        generation: Generation,
    ) {
        let Some(partition) = self.partitions.current(name, generation) else { return };
        let Some(drain) = partition.drain else { return };
        let of_it = |work: &Work<'_>| work.generation == generation && work.partition == *name;
        let waits = |until: Instant, work: &Work<'_>| until >= drain.until && of_it(work);
        let waiting = self.take_out_waiting(waits);
        let mut unfinished = waiting.len();
        for work in waiting {
            if let Some(lane) = work.lane {
                let behind = self.lanes.cancel_behind(lane, of_it);
                unfinished += behind.len();
                behind.iter().for_each(|work| self.cancelled_in_line(work));
            }
            self.intake.executed();
            self.let_go(work.size_bytes, work.lane);
        }
        if unfinished == 0 {
            return;
        }
        if let Some(partition) = self.partitions.get_mut(name) {
            partition.in_flight -= unfinished;
        }
        self.drained.unfinished += unfinished;
        self.context.observers.emit(&Event::CutOff { partition: name, unfinished });
    }

    /// A job that waited for its key is in flight no more.
    pub(super) fn cancelled_in_line(&mut self, work: &Work<'_>) {
        if !self.waiting.holds(work.lane) {
            self.intake.executed();
        }
        self.intake.remove(work.size_bytes);
    }
}
