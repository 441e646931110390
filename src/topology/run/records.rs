//! The records of the assigned partitions, on their way from the source to their fate.
//!
//! ```text
//!  deliver ──▶ admit ──▶ jobs ──▶ done ──▶ outbox ──▶ published ──▶ finish
//!    │           │       ▲  │                ▲
//!   held         │       └──┘ wait           │
//!                └─── without execution ─────┘
//! ```

use std::collections::VecDeque;
use std::iter::from_fn;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::super::Topology;
use super::super::error::RunError;
use super::super::observe::{Event, Fate};
use super::super::stages::{Admitted, Context, Finished, Pipeline, States, Step, too_large};
use super::assignments::{Assigned, Assignments};
use super::command::Command;
use super::jobs::{Execution, JobId, Jobs};
use super::leftovers::Unpublished;
use super::outbox::{Done, Item, Outbox, Subject};
use super::partition::Delivery;
use super::parts::Parts;
use super::punctuations::{Punctuated, Punctuations};
use crate::record::{ConsumerRecord, Topic, TopicPartition};
use crate::sinks::SinkError;
use crate::sources::{Assignment, SourceError};
use crate::state::{self, DrainEnd, Persist, State, StoreError};

/// The assigned partitions, and all of theirs that is in flight.
pub(super) struct Records<'a> {
    pipeline: &'a dyn Pipeline,
    context: &'a Context,
    assignments: Assignments,
    jobs: Jobs<'a>,
    outbox: Outbox,
    parts: Parts,
    punctuations: Punctuations,
    /// Restores and calls that begin or end.
    commands: VecDeque<Command<'a>>,
    /// Records that a deadline has cut off.
    unfinished: usize,
}

/// The state of jobs whose partition has its frontier at an offset.
struct StatesOf<'a> {
    parts: &'a Parts,
    frontier: i64,
    drain_end: &'a Arc<DrainEnd>,
}

impl States for StatesOf<'_> {
    fn state_for(&self, record: &ConsumerRecord) -> Box<State> {
        self.parts.state_for(record, self.frontier, self.drain_end.clone())
    }
}

impl<'a> Records<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        store: Option<Topic>,
        persists: UnboundedSender<Persist>,
    ) -> Self {
        let Topology { pipeline, context, limits, schedule, .. } = topology;
        let has_state = pipeline.is_stateful();
        Self {
            pipeline: &**pipeline,
            context,
            assignments: Assignments::new(*limits, has_state),
            jobs: Jobs::new(*limits),
            outbox: Outbox::default(),
            parts: Parts::new(has_state, store, persists),
            punctuations: Punctuations::new(schedule.as_ref().map(|schedule| schedule.every)),
            commands: VecDeque::new(),
            unfinished: 0,
        }
    }

    pub(super) const fn assignments_mut(&mut self) -> &mut Assignments {
        &mut self.assignments
    }

    /// The partitions, and what is to be published of them.
    pub(super) const fn publishable(&mut self) -> (&mut Assignments, &mut Outbox) {
        (&mut self.assignments, &mut self.outbox)
    }

    pub(super) const fn assignments(&self) -> &Assignments {
        &self.assignments
    }

    pub(super) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// How many are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.jobs.len()
    }

    /// How many a deadline has cut off.
    pub(super) const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Whether as many are in flight as may be.
    pub(super) const fn are_full(&self) -> bool {
        self.jobs.is_full()
    }

    /// The next command. What is cancelled comes before what begins, which may have its number.
    pub(super) fn next(&mut self) -> Option<Command<'a>> {
        let dropped = self.jobs.take_dropped();
        if !dropped.is_empty() {
            return Some(Command::Cancel(dropped));
        }
        match self.jobs.next_begun() {
            Some((job, execution)) => Some(Command::Execute(job, execution)),
            None => self.commands.pop_front(),
        }
    }

    /// When something is due even if nothing happens; what is due already is not counted again.
    pub(super) fn wakes_at(&self, now: Instant) -> impl Iterator<Item = Instant> + '_ {
        let waits = [self.jobs.wakes_at(), self.parts.wakes_at(), self.punctuations.wakes_at()];
        let drains = self.assignments.iter().filter_map(|(_, partition)| partition.deadline());
        waits.into_iter().flatten().chain(drains.filter(move |at| *at > now))
    }

    /// Begins what is due.
    pub(super) fn advance(&mut self, now: Instant) {
        for (partition, generation) in self.assignments.cut_drains(now) {
            // What is executed withdraws by itself, or else is dropped at the end of the flush.
            let unfinished = match self.pipeline.withdraws() {
                true => self.jobs.cancel_idle(&partition, generation),
                false => self.jobs.cancel(&partition, generation),
            };
            self.cut_off(&partition, unfinished);
        }
        self.jobs.go_on(now);
        let calls = from_fn(|| self.punctuations.begin_call(now));
        self.commands.extend(calls.map(|(generation, call)| Command::Punctuate(generation, call)));
        self.commands.extend(from_fn(|| self.parts.begin_restore(now)).map(Command::Restore));
    }

    /// Begins an assignment; one of the same partition that is not over ends.
    pub(super) fn assign(&mut self, assignment: &Assignment, now: Instant) {
        let Assignment { partition, generation, reset, .. } = assignment;
        let executed = self.abandon(partition);
        if let Some(reset) = *reset {
            self.assignments.begin_anew(partition, *generation);
            self.emit(&Event::Reset { partition, reset });
        }
        self.assignments.keep(executed);
        let number = partition.partition;
        let is_restored = self.parts.take_on(number, now);
        if !is_restored {
            self.commands.push_back(Command::EndRestore(number));
        }
        self.assignments.assign(assignment, is_restored, now);
        self.punctuations.assigned(assignment, now);
        self.emit(&Event::Assigned(assignment));
    }

    /// A partition is gone. With batches under way, which may have outputs of it, its next
    /// assignment waits for their end.
    pub(super) fn lose(&mut self, name: &TopicPartition, has_batches: bool) {
        self.emit(&Event::Lost(name));
        if has_batches {
            self.assignments.await_batches(name);
        }
        let executed = self.abandon(name);
        self.assignments.keep(executed);
    }

    /// Takes nothing more of a partition in, and lets what is in flight finish.
    pub(super) fn drain(&mut self, name: &TopicPartition, until: Instant, flush_until: Instant) {
        self.end_punctuation(name);
        if let Some(partition) = self.assignments.get_mut(name) {
            partition.drain(until, flush_until);
        }
        self.cut_off_late_waits(name);
    }

    /// The source has asked for a partition that drains.
    pub(super) fn release_once_drained(&mut self, name: &TopicPartition) {
        if let Some(partition) = self.assignments.get_mut(name) {
            partition.release_once_drained();
        }
    }

    /// A partition was given up; what of it is in flight stays unfinished.
    pub(super) fn release(&mut self, (name, generation): &Assigned) {
        if let Some(released) = self.assignments.current(name, *generation) {
            self.unfinished += released.in_flight();
            self.emit(&Event::Released(name));
            self.abandon(name);
        }
    }

    /// Takes out everything that belongs to a partition, and returns what was executed of it and
    /// not published.
    fn abandon(&mut self, name: &TopicPartition) -> Vec<Unpublished> {
        self.end_punctuation(name);
        let Some(partition) = self.assignments.remove(name) else { return Vec::new() };
        let generation = partition.generation();
        self.jobs.cancel(name, generation);
        let number = name.partition;
        let is_shared = self.assignments.iter().any(|(other, _)| other.partition == number);
        if !is_shared && self.parts.drop_part(number) {
            self.commands.push_back(Command::EndRestore(number));
        }
        let mut executed = self.take_out(|item| item.assignment() == (name, generation));
        let mut earlier = partition.into_unpublished();
        executed.iter().for_each(|of_outbox| drop(earlier.remove(&of_outbox.place().1)));
        executed.extend(earlier.into_values());
        executed
    }

    /// Takes records out of the outbox that are not going to be published now.
    fn take_out(&mut self, condition: impl Fn(&Item) -> bool) -> Vec<Unpublished> {
        let taken = self.outbox.take_out(condition).into_iter();
        let let_go = |(job, finished)| Unpublished { lane: self.jobs.finish(job), finished };
        taken.map(let_go).collect()
    }

    /// Takes a record in, or holds it if its partition's window is full; says whether it is held.
    ///
    /// # Errors
    /// If the source yields a record from below the last one, which breaks its contract: the
    /// partition's offsets have gone back, and it has not said so.
    pub(super) fn deliver(
        &mut self,
        record: ConsumerRecord,
        window: i64,
        now: Instant,
    ) -> Result<bool, RunError> {
        let partition = self.assignments.current(&record.partition, record.generation);
        let Some(partition) = partition else { return Ok(false) };
        match partition.deliver(record, window, now) {
            Delivery::New(record) => {
                let (frontier, drain_end) = (partition.frontier(), partition.drain_end().clone());
                self.admit(record, frontier, &drain_end, now);
            }
            Delivery::AlreadyExecuted(record, executed) => self.admit_executed(record, *executed),
            Delivery::AlreadyFinished(record) => self.emit(&Event::AlreadyFinished(&record)),
            Delivery::Held => return Ok(true),
            Delivery::Dropped => {}
            Delivery::Below(expected, ConsumerRecord { partition, offset, .. }) => {
                let reason =
                    format!("{partition}: found offset {offset}, expected {expected} or above");
                return Err(RunError::Source(SourceError::new(reason)));
            }
        }
        Ok(false)
    }

    fn admit(
        &mut self,
        record: ConsumerRecord,
        frontier: i64,
        drain_end: &Arc<DrainEnd>,
        now: Instant,
    ) {
        self.emit(&Event::Fetched(&record));
        let (assigned, size_bytes) = (assigned(&record), record.size_bytes());
        let states = StatesOf { parts: &self.parts, frontier, drain_end };
        match self.pipeline.admit(self.context, record, &states) {
            Admitted::Finished(Finished { record, outputs, fate, .. }) if outputs.is_empty() => {
                self.meet_fate(&record, fate, now);
            }
            Admitted::Finished(finished) => {
                let job = self.jobs.add_done(assigned, size_bytes);
                self.outbox.push(job, finished);
            }
            Admitted::Execute(lane, execution) => {
                self.jobs.add(assigned, size_bytes, lane, execution);
            }
        }
    }

    /// Takes in a record that was executed before its partition was lost: in its lane's order, its
    /// outputs go to the outbox.
    fn admit_executed(&mut self, record: ConsumerRecord, executed: Unpublished) {
        self.emit(&Event::Fetched(&record));
        self.emit(&Event::AlreadyExecuted(&record));
        let (assigned, size_bytes) = (assigned(&record), record.size_bytes());
        let Unpublished { finished, lane } = executed;
        let changes = self.parts.moved(finished.changes, &record);
        let finished = Finished { record, changes, ..finished };
        let execution = Box::pin(std::future::ready(Step::Finished(finished)));
        self.jobs.add(assigned, size_bytes, lane, execution);
    }

    /// Takes in the records that were held and fit by now, as long as there is room.
    ///
    /// # Errors
    /// See [`deliver`](Self::deliver).
    pub(super) fn take_in_held(&mut self, window: i64, now: Instant) -> Result<(), RunError> {
        while !self.are_full()
            && let Some(record) = self.assignments.take_held(window)
        {
            self.deliver(record, window, now)?;
        }
        Ok(())
    }

    /// A job was executed: its outputs are to be published.
    pub(super) fn done(&mut self, job: JobId, finished: Finished, now: Instant) {
        if finished.outputs.is_empty() {
            let Finished { record, fate, changes, .. } = finished;
            self.finish(Done { record, fate, job, changes }, now);
        } else {
            self.jobs.done(job);
            self.outbox.push(job, finished);
        }
    }

    /// A job waits for another attempt until then.
    pub(super) fn wait(&mut self, job: JobId, until: Instant, execution: Execution<'a>) {
        let partition = self.jobs.partition(job).clone();
        self.jobs.wait(job, until, execution);
        self.cut_off_late_waits(&partition);
    }

    /// A record has met its fate, and the next of its key begins.
    fn finish(&mut self, Done { record, fate, job, changes }: Done, now: Instant) {
        if let Some(changes) = changes {
            changes.apply();
        }
        self.meet_fate(&record, fate, now);
        self.jobs.finish(job);
    }

    /// A record counts as finished in the next position.
    fn meet_fate(&mut self, record: &ConsumerRecord, fate: Fate, now: Instant) {
        let ConsumerRecord { partition, generation, offset, .. } = record;
        if let Some(partition) = self.assignments.current(partition, *generation) {
            partition.finish(*offset, now);
            self.punctuations.finished(record, now);
            self.emit(&Event::Finished { record, fate });
        }
    }

    /// Cuts off the jobs of a drain that wait until after its end, and those of their keys behind
    /// them: the drain does not wait for what it is going to cut off anyway.
    fn cut_off_late_waits(&mut self, name: &TopicPartition) {
        let Some(partition) = self.assignments.get(name) else { return };
        if let Some(until) = partition.drains_until() {
            let unfinished = self.jobs.cancel_waiting(name, partition.generation(), until);
            self.cut_off(name, unfinished);
        }
    }

    /// Jobs of a drain are left unfinished.
    fn cut_off(&mut self, name: &TopicPartition, unfinished: usize) {
        if unfinished > 0
            && let Some(partition) = self.assignments.get_mut(name)
        {
            partition.cut_off(unfinished);
            self.unfinished += unfinished;
            self.emit(&Event::CutOff { partition: name, unfinished });
        }
    }

    pub(super) fn persist(&mut self, persist: Persist) {
        self.outbox.push_persist(persist);
    }

    pub(super) fn punctuated(&mut self, punctuated: Punctuated, now: Instant) {
        if self.punctuations.call_ended(&punctuated, now) {
            self.outbox.push_punctuated(punctuated);
        }
    }

    /// The outputs of an item of the outbox are published: its record, persist or call is finished.
    pub(super) fn published(&mut self, subject: Subject, now: Instant) {
        match subject {
            Subject::Record(done) => self.finish(done, now),
            Subject::Persist(persist) => persist.complete(),
            Subject::Punctuated(name, generation) => {
                self.punctuations.published(&name, generation, now);
            }
        }
    }

    /// A batch was not published: it goes back to the outbox, with substitutes for the outputs that
    /// were refused as too large. If the other outputs were published, the records that need no
    /// more than those are finished.
    ///
    /// # Errors
    /// If the sink is broken, or even a dead letter without key and headers was refused.
    pub(super) fn not_published(
        &mut self,
        mut batch: Outbox,
        error: SinkError,
        now: Instant,
    ) -> Result<(), RunError> {
        for item in batch.items() {
            let (name, generation) = item.assignment();
            let partition = self.assignments.current(name, generation);
            if let (Some(partition), Some(offset)) = (partition, item.offset()) {
                partition.not_published(offset);
            }
        }
        match error {
            SinkError::Broken(_) => return Err(RunError::Sink(error)),
            SinkError::Aborted(_) => {}
            SinkError::TooLarge { outputs, others_published } => {
                let (dead_letters, context) = (self.pipeline.dead_letters(), self.context);
                let substitute = |record: &ConsumerRecord, refusals: u8| {
                    too_large(dead_letters, context, record, refusals)
                };
                let done = batch.replace_refused(&outputs, others_published, substitute)?;
                done.into_iter().for_each(|subject| self.published(subject, now));
            }
        }
        self.outbox.put_back(batch);
        // The outputs of partitions that were lost meanwhile.
        let assignments = &self.assignments;
        let stale = self.outbox.take_out(|item| {
            let (name, generation) = item.assignment();
            !assignments.holds(name, generation)
        });
        for (job, finished) in stale {
            self.assignments.keep([Unpublished { lane: self.jobs.finish(job), finished }]);
        }
        Ok(())
    }

    /// The part of a number was read, or is not there.
    ///
    /// # Errors
    /// If the store is broken.
    pub(super) fn restored(
        &mut self,
        number: i32,
        result: Result<Vec<state::Entry>, StoreError>,
        now: Instant,
    ) -> Result<(), RunError> {
        match result {
            Ok(restored) => {
                let entries = restored.len();
                let took = self.parts.restored(number, restored, now);
                self.assignments.restored(number);
                self.emit(&Event::Restored { partition: number, entries, took });
                Ok(())
            }
            Err(StoreError::Missing(reason)) => {
                self.parts.is_missing(number, now);
                self.emit(&Event::PartMissing { partition: number, reason: reason.text() });
                Ok(())
            }
            Err(error @ StoreError::Broken(_)) => Err(RunError::Store(error)),
        }
    }

    /// Ends the timer of a partition.
    fn end_punctuation(&mut self, partition: &TopicPartition) {
        if self.punctuations.unassigned(partition) {
            self.commands.push_back(Command::EndPunctuation(partition.clone()));
        }
    }

    /// Reports where the partitions stand.
    pub(super) fn report(&mut self, stuck_after: Duration, now: Instant) {
        let observers = &self.context.observers;
        for (partition, state) in self.assignments.iter_mut() {
            let (offset, in_flight, age) = (state.frontier(), state.in_flight(), state.age(now));
            observers.emit(&Event::Frontier { partition, offset, in_flight, age });
            if state.is_newly_stuck(now, stuck_after) {
                observers.emit(&Event::Stuck { partition, offset, age });
            }
        }
    }

    fn emit(&self, event: &Event<'_>) {
        self.context.observers.emit(event);
    }
}

fn assigned(record: &ConsumerRecord) -> Assigned {
    (record.partition.clone(), record.generation)
}
