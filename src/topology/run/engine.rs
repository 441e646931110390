//! The engine: it decides everything in a run and carries out nothing.
//!
//! ```text
//!            ┌──────────── handle(Input, now) ───────────┐
//!            │                                           ▼
//!  driver: source · jobs · sink · store               engine
//!            ▲                                           │
//!            └── next() -> Command ◀── advance(now) ─────┘
//! ```
//!
//! It knows no I/O, no task and no clock: time comes in. It holds the executions of jobs while
//! these wait, and never polls them.
//!
//! The order of calls is the driver's duty:
//!
//! 1. `handle` takes in one thing that has happened. The commands that follow from it, by `next`,
//!    are carried out before the next input: records that come after a `Pause` would be dropped,
//!    and a job that was cancelled has no end.
//! 2. `advance`, once a turn, begins what is due; its commands are carried out, too.
//! 3. If the run is not over by then, the driver waits for the next thing to happen, until
//!    `wakes_at` at the latest.
//!
//! A record's way is `deliver`, `admit`, `execute`, `done`, `publish`, `finish`, `commit`.

use std::collections::VecDeque;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::super::Topology;
use super::super::error::RunError;
use super::super::limits::Limits;
use super::super::observe::{Event, Observers, Turning};
use super::assignments::Assigned;
use super::command::{Command, Input};
use super::outbox::Outbox;
use super::publisher::Publisher;
use super::records::Records;
use crate::position::PartitionPosition;
use crate::record::{Topic, TopicPartition};
use crate::sinks::{Published, SinkError};
use crate::sources::{Assignment, CommitError, SourceError, SourceEvent};
use crate::state::Persist;

/// How a run ended, when nothing broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records that were taken in and left unfinished, because a deadline cut them off. They are
    /// delivered again.
    pub unfinished: usize,
}

/// The state of a run.
pub(super) struct Engine<'a> {
    observers: &'a Observers,
    turning: Turning<'a>,
    limits: Limits,
    records: Records<'a>,
    publisher: Publisher,
    /// Commands that are not carried out yet, without those of the records.
    commands: VecDeque<Command<'a>>,
    /// The time of the last call.
    now: Instant,
    tick_at: Instant,
    /// Whether the job sink is ready.
    is_ready: bool,
    /// Whether intake was open when partitions were last paused and resumed.
    was_open: bool,
    /// Whether partitions are to be released as soon as nothing is under way.
    is_releasing: bool,
    /// After the shutdown: when the drain, and when all publishing and committing must end.
    stop: Option<(Instant, Instant)>,
}

impl<'a> Engine<'a> {
    /// An engine at the begin of a run. `store` is the topic of the keyed state, and `persists`
    /// where jobs ask for durable changes; `batches_at_once` is the sink's.
    pub(super) fn new(
        topology: &'a Topology,
        store: Option<Topic>,
        persists: UnboundedSender<Persist>,
        batches_at_once: usize,
        now: Instant,
    ) -> Self {
        let Topology { pipeline, context, limits, .. } = topology;
        // Without a lane, nothing keeps the records of one key out of two batches at once.
        let publishes_at_once = if pipeline.has_lanes() { batches_at_once } else { 1 };
        let gathers = store.is_some();
        Self {
            observers: &context.observers,
            turning: Turning::new(&context.observers),
            limits: *limits,
            records: Records::new(topology, store, persists),
            publisher: Publisher::new(publishes_at_once, gathers, limits.commit_interval, now),
            commands: VecDeque::new(),
            now,
            tick_at: now + limits.commit_interval,
            is_ready: true,
            was_open: true,
            is_releasing: false,
            stop: None,
        }
    }

    /// Takes in what has happened.
    ///
    /// # Errors
    /// If source, sink or store are broken.
    pub(super) fn handle(&mut self, input: Input<'a>, now: Instant) -> Result<(), RunError> {
        self.now = now;
        match input {
            Input::Source(event) => self.on_event(event)?,
            Input::Done(job, finished) => self.records.done(job, finished, now),
            Input::Waits(job, wait, execution) => self.records.wait(job, wait, execution, now),
            Input::Ready(is_ready) => {
                self.is_ready = is_ready;
                if is_ready {
                    self.records.sink_is_back(now);
                }
            }
            Input::Persist(persist) => self.records.persist(persist),
            Input::Restored(number, result) => self.records.restored(number, result, now)?,
            Input::Identified(id) => self.records.parts_mut().identified(id, now),
            Input::Punctuated(punctuated) => self.records.punctuated(punctuated, now),
            Input::Published(outbox, result, took) => self.published(outbox, result, took)?,
            Input::Committed(positions, result, took) => {
                self.committed(&positions, result, took)?;
            }
            Input::Released(partitions, result) => self.released(&partitions, result)?,
            Input::Shutdown => self.shut_down(),
        }
        Ok(())
    }

    /// Begins what is due.
    ///
    /// # Errors
    /// If the source has yielded a record that was not to be expected, and that was held.
    pub(super) fn advance(&mut self, now: Instant) -> Result<(), RunError> {
        self.now = now;
        if now >= self.tick_at {
            self.tick();
        }
        self.records.advance(now);
        if self.is_open() {
            self.records.take_in_held(self.publisher.window(), now)?;
        }
        self.pause_and_resume();
        if self.publisher.is_idle() {
            self.records.carry();
        }
        self.begin_effects();
        self.publisher.note_outbox(self.records.outbox(), now);
        Ok(())
    }

    /// The next command.
    pub(super) fn next(&mut self) -> Option<Command<'a>> {
        self.records.next(self.now).or_else(|| self.commands.pop_front())
    }

    /// When to `advance` even if nothing happens.
    pub(super) fn wakes_at(&self) -> Instant {
        let (assignments, outbox) = (self.records.assignments(), self.records.outbox());
        let effects = match self.waits_for_the_end() {
            true => [None, None],
            false => [self.publisher.publish_due(outbox), self.publisher.commit_due(assignments)],
        };
        let end = self.stop.map(|(_, end)| end).filter(|end| *end > self.now);
        let due = effects.into_iter().chain([end]).flatten();
        due.chain(self.records.wakes_at(self.now)).fold(self.tick_at, Instant::min)
    }

    /// Whether a batch begins as soon as there is [nothing](Self::gathered) that could come to it.
    pub(super) fn is_gathering(&self) -> bool {
        !self.waits_for_the_end() && self.publisher.is_gathering(self.records.outbox())
    }

    /// There is nothing to be taken in at once.
    pub(super) const fn gathered(&mut self) {
        self.publisher.gathered();
    }

    /// How far above a frontier the source's commits can name a record as finished, in offsets.
    pub(super) const fn set_window(&mut self, offsets: i64) {
        self.publisher.set_window(offsets);
    }

    /// Whether records are taken in.
    pub(super) const fn is_open(&self) -> bool {
        self.is_ready
            && self.stop.is_none()
            && !self.records.are_full()
            && !self.publisher.is_refused(self.records.outbox())
    }

    /// Whether the run is to come to its end.
    pub(super) const fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// After the shutdown: what is left unfinished, once there is nothing to be done any more, or
    /// no time.
    pub(super) fn drained(&self) -> Option<Drained> {
        let (_, end) = self.stop?;
        let in_flight = self.records.in_flight();
        let has_news = self.records.assignments().have_news();
        let is_done = in_flight == 0 && self.publisher.is_idle() && !has_news;
        let unfinished = self.records.unfinished() + in_flight;
        (is_done || self.now >= end).then_some(Drained { unfinished })
    }

    fn on_event(&mut self, event: SourceEvent) -> Result<(), RunError> {
        match event {
            SourceEvent::Record(record) => {
                if self.records.deliver(record, self.publisher.window(), self.now)? {
                    self.pause_and_resume();
                }
            }
            SourceEvent::Assigned(assignments) => self.assign(&assignments),
            SourceEvent::Revoked(partitions) => partitions.iter().for_each(|p| self.revoke(p)),
            SourceEvent::Lost(partitions) => {
                let has_batches = !self.publisher.is_idle();
                partitions.iter().for_each(|p| self.records.lose(p, has_batches));
            }
            SourceEvent::Truncated { partition, from, to } => {
                let assigned = self.records.assignments().get(&partition);
                let lost = u64::try_from(to - from).unwrap_or_default();
                let unfinished = assigned.map_or(lost, |it| it.unfinished_in(&(from..to)));
                let partition = &partition;
                self.observers.emit(&Event::Truncated { partition, from, to, unfinished });
            }
        }
        Ok(())
    }

    fn assign(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            self.records.assign(assignment, self.now);
            if let Some((until, flush_until)) = self.stop {
                self.records.drain(&assignment.partition, until, flush_until);
            }
        }
        self.pause_and_resume();
    }

    fn revoke(&mut self, name: &TopicPartition) {
        self.observers.emit(&Event::Revoked(name));
        let until = self.now + self.limits.drain_timeout;
        self.records.drain(name, until, until + self.limits.flush_timeout());
        self.records.release_once_drained(name);
    }

    fn shut_down(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let until = self.now + self.limits.shutdown_timeout;
        let flush_until = until + self.limits.flush_timeout();
        self.stop = Some((until, flush_until));
        let assigned = self.records.assignments().iter();
        let names: Vec<_> = assigned.map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.records.drain(name, until, flush_until));
        self.pause_and_resume();
    }

    /// Brings the source's pauses up to date.
    fn pause_and_resume(&mut self) {
        let open = self.is_open();
        let (pause, resume) = self.records.assignments_mut().pause_and_resume(open);
        if !pause.is_empty() {
            self.commands.push_back(Command::Pause(pause));
        }
        if !resume.is_empty() {
            self.commands.push_back(Command::Resume(resume));
        }
        if std::mem::replace(&mut self.was_open, open) != open {
            self.observers.emit(&Event::Intake { open });
        }
    }

    /// Begins a release, a commit or a batch, where one is due and may be under way beside the
    /// others.
    fn begin_effects(&mut self) {
        let to_release = self.records.assignments().to_release(self.now);
        self.is_releasing = !to_release.is_empty();
        if self.waits_for_the_end() {
            return;
        }
        if self.is_releasing {
            self.publisher.begin_release();
            self.commands.push_back(Command::Release(to_release));
            return;
        }
        let is_due = |due: Option<Instant>| due.is_some_and(|due| self.now >= due);
        if is_due(self.publisher.commit_due(self.records.assignments())) {
            let positions = self.publisher.begin_commit(self.records.assignments_mut());
            self.commands.push_back(Command::Commit(positions));
        }
        if is_due(self.publisher.publish_due(self.records.outbox()))
            && let Some(batch) = self.publisher.begin_publish(self.records.publishable(), self.now)
        {
            self.commands.push_back(Command::Publish(batch));
        }
    }

    /// Whether nothing begins before all that is under way has ended: a partition is to be given
    /// up, or a partition that was lost and is assigned again waits for the end of the batches that
    /// may hold its outputs.
    fn waits_for_the_end(&self) -> bool {
        !self.publisher.is_idle() && (self.is_releasing || self.records.assignments().is_awaiting())
    }

    fn published(
        &mut self,
        mut batch: Outbox,
        result: Result<Published, SinkError>,
        took: Duration,
    ) -> Result<(), RunError> {
        self.records.parts_mut().batch_ended(result.is_ok());
        match result {
            Ok(published) => {
                let Published { places, has_positions } = published;
                self.observers.emit(&Event::Published {
                    batch: batch.batch(),
                    places: &places,
                    took,
                });
                batch.drain().for_each(|subject| self.records.published(subject, self.now));
                let positions = &batch.batch().positions;
                if has_positions && !positions.is_empty() {
                    self.records.assignments_mut().saved(positions);
                    self.observers.emit(&Event::Committed { positions, took });
                }
                self.publisher.published(batch, self.now);
            }
            Err(error) => {
                // Of what is withheld it was said when that began.
                if !batch.is_withheld() {
                    self.observers.emit(&Event::PublishFailed(&error));
                }
                let is_aborted = matches!(error, SinkError::Aborted(_));
                self.publisher.not_published(is_aborted, self.now);
                self.records.not_published(batch, error, self.now)?;
            }
        }
        self.effect_ended();
        Ok(())
    }

    fn committed(
        &mut self,
        positions: &[PartitionPosition],
        result: Result<(), CommitError>,
        took: Duration,
    ) -> Result<(), RunError> {
        self.publisher.committed(result.is_ok(), self.now);
        match result {
            Ok(()) => {
                self.observers.emit(&Event::Committed { positions, took });
                self.records.assignments_mut().saved(positions);
            }
            Err(error) => {
                self.observers.emit(&Event::CommitFailed(&error));
                if let CommitError::Broken(_) = error {
                    return Err(RunError::Commit(error));
                }
            }
        }
        self.effect_ended();
        Ok(())
    }

    fn released(
        &mut self,
        partitions: &[Assigned],
        result: Result<(), SourceError>,
    ) -> Result<(), RunError> {
        self.publisher.released();
        partitions.iter().for_each(|assigned| self.records.release(assigned));
        self.effect_ended();
        Ok(result?)
    }

    fn effect_ended(&mut self) {
        if self.publisher.is_idle() {
            self.records.assignments_mut().batches_ended();
        }
    }

    /// Reports where the partitions stand, once an interval.
    fn tick(&mut self) {
        self.tick_at = self.now + self.limits.commit_interval;
        let stuck_after = self.limits.stuck_after;
        self.records.assignments_mut().report(self.observers, stuck_after, self.now);
        self.turning.turned();
    }
}

#[cfg(test)]
mod tests;
