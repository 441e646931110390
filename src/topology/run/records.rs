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

use futures::channel::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::super::Topology;
use super::super::error::RunError;
use super::super::observe::{Event, Fate};
use super::super::stages::{
    Admitted, Context, ExecutionEnd, Finished, JobKeys, Pipeline, Wait, too_large,
};
use super::assignments::{Assigned, Assignments};
use super::command::Command;
use super::jobs::{Execution, JobId, Jobs};
use super::leftovers::Unpublished;
use super::outbox::{Item, Outbox, Subject};
use super::partition::Delivery;
use super::parts::Parts;
use super::punctuations::{Punctuated, Punctuations};
use crate::record::{ConsumerRecord, Topic, TopicPartition};
use crate::sinks::SinkError;
use crate::sources::{Assignment, SourceError};
use crate::state::{self, Persist, StoreError};

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
            jobs: Jobs::new(*limits, pipeline.key_limits()),
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

    pub(super) const fn parts_mut(&mut self) -> &mut Parts {
        &mut self.parts
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
    pub(super) fn next(&mut self, now: Instant) -> Option<Command<'a>> {
        let dropped = self.jobs.take_dropped();
        if !dropped.is_empty() {
            return Some(Command::Cancel(dropped));
        }
        match self.jobs.next_begun(now) {
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
        self.assignments.uncrowd(|key| self.jobs.have_room(key));
        let calls = from_fn(|| self.punctuations.begin_call(now));
        self.commands.extend(calls.map(|(generation, call)| Command::Punctuate(generation, call)));
        self.commands.extend(from_fn(|| self.parts.begin_restore(now)).map(Command::Restore));
        if self.parts.begin_question(now) {
            self.commands.push_back(Command::Identify);
        }
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
        if let Some(released) = self.assignments.current((name, *generation)) {
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
        let is_of_it = |item: &Item| item.assignment() == (name, generation);
        let mut executed = take_out(&mut self.outbox, &mut self.jobs, is_of_it);
        let mut earlier = partition.into_unpublished();
        executed.iter().for_each(|of_outbox| drop(earlier.remove(&of_outbox.place().1)));
        executed.extend(earlier.into_values());
        executed
    }

    /// Takes a record in, or holds it if its partition's window is full; says whether the partition
    /// takes in no more.
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
        let partition = self.assignments.current((&record.partition, record.generation));
        let Some(partition) = partition else { return Ok(false) };
        match partition.deliver(&record, window, now) {
            Delivery::New => {
                self.context.observers.emit(&Event::Fetched(&record));
                let job = (assigned(&record), record.size_bytes());
                let states = self.parts.states_at(partition.frontier(), partition.drain_end());
                let admitted = self.pipeline.admit(self.context, record, &states);
                drop(states);
                return Ok(self.take_in(admitted, job, now));
            }
            Delivery::AlreadyExecuted(executed) => self.admit_executed(record, *executed, now),
            Delivery::AlreadyFinished => self.emit(&Event::AlreadyFinished(&record)),
            Delivery::Held => {
                partition.hold(record);
                return Ok(true);
            }
            Delivery::Dropped => {}
            Delivery::Below(expected) => {
                let ConsumerRecord { partition, offset, .. } = record;
                let reason =
                    format!("{partition}: found offset {offset}, expected {expected} or above");
                return Err(RunError::Source(SourceError::new(reason)));
            }
        }
        Ok(false)
    }

    /// Takes in what has come of a new record in the stages; says whether its key's jobs crowd the
    /// others, so that its partition takes in no more.
    fn take_in(
        &mut self,
        admitted: Admitted<'a>,
        (assigned, size_bytes): (Assigned, usize),
        now: Instant,
    ) -> bool {
        match admitted {
            Admitted::Finished(Finished { record, outputs, fate, .. }) if outputs.is_empty() => {
                self.meet_fate(&record, (fate, 0), now, now);
            }
            Admitted::Finished(finished) => {
                let job = self.jobs.add_done(assigned, size_bytes, now);
                self.outbox.push(job, finished);
            }
            Admitted::Execute(keys, execution) => {
                let job = self.jobs.add(assigned, size_bytes, keys, execution, now);
                if let Some(quota) = keys.quota.filter(|quota| self.jobs.are_crowding(*quota)) {
                    let partition = self.assignments.get_mut(self.jobs.partition(job));
                    partition.into_iter().for_each(|partition| partition.crowded_by(quota));
                    return true;
                }
            }
        }
        false
    }

    /// Takes in a record that was executed before its partition was lost: in its lane's order, its
    /// outputs go to the outbox.
    fn admit_executed(&mut self, record: ConsumerRecord, executed: Unpublished, now: Instant) {
        self.emit(&Event::Fetched(&record));
        self.emit(&Event::AlreadyExecuted(&record));
        let (assigned, size_bytes) = (assigned(&record), record.size_bytes());
        let Unpublished { mut finished, lane } = executed;
        finished.changes = self.parts.moved(finished.changes.take(), &record);
        finished.record = record;
        let execution = Box::pin(std::future::ready(ExecutionEnd::Finished(finished)));
        self.jobs.add(assigned, size_bytes, JobKeys { lane, quota: None }, execution, now);
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
        if finished.fate == Fate::Succeeded {
            self.jobs.has_succeeded(job, now);
        }
        if finished.outputs.is_empty() {
            self.finish(job, finished, now);
        } else {
            self.jobs.done(job);
            self.outbox.push(job, finished);
        }
    }

    /// A job waits for another attempt.
    pub(super) fn wait(&mut self, job: JobId, wait: Wait, execution: Execution<'a>, now: Instant) {
        let partition = self.jobs.partition(job).clone();
        self.jobs.wait(job, wait, execution, now);
        self.cut_off_late_waits(&partition);
    }

    /// The job sink is ready, and was not.
    pub(super) fn sink_is_back(&mut self, now: Instant) {
        self.jobs.sink_is_back(now);
    }

    /// A record has met its fate, and the next of its key begins.
    fn finish(&mut self, job: JobId, finished: Finished, now: Instant) {
        let Finished { record, fate, attempts, changes, .. } = finished;
        if let Some(changes) = changes {
            changes.apply();
        }
        self.meet_fate(&record, (fate, attempts), self.jobs.since(job), now);
        self.jobs.finish(job);
    }

    /// A record that was taken in at `since` counts as finished in the next position, after so many
    /// attempts.
    fn meet_fate(
        &mut self,
        record: &ConsumerRecord,
        (fate, attempts): (Fate, u32),
        since: Instant,
        now: Instant,
    ) {
        let ConsumerRecord { partition, generation, offset, .. } = record;
        if let Some(partition) = self.assignments.current((partition, *generation)) {
            partition.finish(*offset, now);
            self.punctuations.finished(record, now);
            if !self.context.observers.is_empty() {
                let took = now - since;
                self.emit(&Event::Finished { record, fate, attempts, took });
            }
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
            Subject::Record(job, finished) => self.finish(job, finished, now),
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
    /// If the sink is broken.
    pub(super) fn not_published(
        &mut self,
        mut batch: Outbox,
        error: SinkError,
        now: Instant,
    ) -> Result<(), RunError> {
        for item in batch.items() {
            let partition = self.assignments.current(item.assignment());
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
                let done = batch.replace_refused(&outputs, others_published, substitute);
                done.into_iter().for_each(|subject| self.published(subject, now));
            }
        }
        self.outbox.put_back(batch);
        // The outputs of partitions that were lost meanwhile.
        let assignments = &self.assignments;
        let is_stale = |item: &Item| !assignments.holds(item.assignment());
        let stale = take_out(&mut self.outbox, &mut self.jobs, is_stale);
        self.assignments.keep(stale);
        Ok(())
    }

    /// Publishes what the parts hold before anything else, if the topic of the store was created anew.
    /// No batch may be under way: the parts lack its changes.
    pub(super) fn carry(&mut self) {
        let carried = self.parts.carry(&self.assignments, &self.context.observers);
        self.outbox.push_first(carried);
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
        if self.parts.restored(number, result, &self.context.observers, now)? {
            self.assignments.restored(number);
        }
        Ok(())
    }

    /// Ends the timer of a partition.
    fn end_punctuation(&mut self, partition: &TopicPartition) {
        if self.punctuations.unassigned(partition) {
            self.commands.push_back(Command::EndPunctuation(partition.clone()));
        }
    }

    fn emit(&self, event: &Event<'_>) {
        self.context.observers.emit(event);
    }
}

/// Takes records out of the outbox that are not going to be published now.
fn take_out(
    outbox: &mut Outbox,
    jobs: &mut Jobs<'_>,
    condition: impl Fn(&Item) -> bool,
) -> Vec<Unpublished> {
    let taken = outbox.take_out(condition).into_iter();
    taken.map(|(job, finished)| Unpublished { lane: jobs.finish(job), finished }).collect()
}

fn assigned(record: &ConsumerRecord) -> Assigned {
    (record.partition.clone(), record.generation)
}
