//! The engine: it decides everything in a run, and does none of it.
//!
//! ```text
//!            ┌──────────── handle(Input, now) ───────────┐
//!            │                                           ▼
//!  driver: source · jobs · sink · store               engine
//!            ▲                                           │
//!            └── next() -> Command ◀── advance(now) ─────┘
//! ```
//!
//! It knows no I/O, no task and no clock: time comes in. It holds the executions of jobs while these
//! wait, and never polls them.
//!
//! The order of calls is the driver's duty:
//!
//! 1. `handle` takes in one thing that has happened. The commands that follow from it, by `next`, are
//!    carried out before the next input: records that come after a `Pause` would be dropped, and a
//!    job that was cancelled has no end.
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
use super::super::observe::{Event, Fate, Turning};
use super::super::punctuator::Punctuation;
use super::super::stages::{Admitted, Context, Finished, KeyHash, Pipeline, Step, too_large};
use super::Drained;
use super::assignments::{Assignments, Delivery};
use super::jobs::{Begins, Cancelled, Execution, JobId, Jobs};
use super::leftovers::Unpublished;
use super::outbox::{Done, Entry, Outbox, Subject};
use super::parts::Parts;
use super::publisher::Publisher;
use super::punctuations::{Punctuated, Punctuations};
use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Generation, Topic, TopicPartition};
use crate::sinks::{Published, SinkError};
use crate::sources::{Assignment, CommitError, SourceError, SourceEvent};
use crate::state::{self, Persist, State, StoreError};

/// A partition under one assignment.
pub(super) type Assigned = (TopicPartition, Generation);

/// What has happened.
pub(super) enum Input<'a> {
    /// The source has yielded something.
    Source(SourceEvent),
    /// A job was executed.
    Done(JobId, Finished),
    /// A job waits so long for another attempt, and goes on then.
    Waits(JobId, Duration, Execution<'a>),
    /// The job sink is ready, or is not.
    Ready(bool),
    /// A job waits for changes to be durable.
    Persist(Persist),
    /// The part of this number was read.
    Restored(i32, Result<Vec<state::Entry>, StoreError>),
    /// A punctuator's call has ended.
    Punctuated(Punctuated),
    /// A batch was published or not, after this time.
    Published(Outbox, Result<Published, SinkError>, Duration),
    /// Positions were committed or not, after this time.
    Committed(Vec<PartitionPosition>, Result<(), CommitError>, Duration),
    /// Partitions were given up.
    Released(Vec<Assigned>, Result<(), SourceError>),
    /// The run is to come to its end.
    Shutdown,
}

/// What the driver is to do. It answers publishes, commits, releases, restores, executions and calls
/// by an input, unless they are cancelled.
pub(super) enum Command<'a> {
    /// Execute a job.
    Execute(JobId, Execution<'a>),
    /// Drop these executions, in ascending order.
    Cancel(Vec<JobId>),
    /// Let the source yield no record of these partitions.
    Pause(Vec<TopicPartition>),
    /// Let it yield their records again.
    Resume(Vec<TopicPartition>),
    /// Publish the batch of an outbox.
    Publish(Outbox),
    /// Commit positions through the source.
    Commit(Vec<PartitionPosition>),
    /// Give partitions up.
    Release(Vec<Assigned>),
    /// Read the part of this number.
    Restore(i32),
    /// Drop the restore of this part, if there is one.
    EndRestore(i32),
    /// Call the punctuator.
    Punctuate(Generation, Punctuation),
    /// Drop the call on this partition.
    EndPunctuation(TopicPartition),
}

/// What an assignment that is over leaves.
#[derive(Default)]
struct Abandoned {
    /// How many of its records are not finished.
    unfinished: usize,
    /// Those of them that were executed.
    executed: Vec<Unpublished>,
}

/// The state of a run.
pub(super) struct Engine<'a> {
    pipeline: &'a dyn Pipeline,
    context: &'a Context,
    limits: Limits,
    turning: Turning<'a>,
    assignments: Assignments,
    jobs: Jobs<'a>,
    publisher: Publisher,
    /// The keyed state, if the topology has any.
    parts: Option<Parts>,
    /// The timers of the partitions, if the topology has a punctuator.
    punctuations: Option<Punctuations>,
    /// Commands that are not carried out yet.
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
    drained: Drained,
}

impl<'a> Engine<'a> {
    /// An engine at the begin of a run. `store` is the topic of the keyed state, and `persists` where
    /// jobs ask for durable changes; `batches_at_once` is the sink's.
    pub(super) fn new(
        topology: &'a Topology,
        store: Option<Topic>,
        persists: UnboundedSender<Persist>,
        batches_at_once: usize,
        now: Instant,
    ) -> Self {
        let Topology { pipeline, context, limits, schedule } = topology;
        let has_state = pipeline.is_stateful();
        // Without a lane, nothing keeps the records of one key out of two batches at once.
        let publishes_at_once = if pipeline.has_lanes() { batches_at_once } else { 1 };
        Self {
            pipeline: &**pipeline,
            context,
            limits: *limits,
            turning: Turning::new(&context.observers),
            assignments: Assignments::new(*limits, has_state),
            jobs: Jobs::new(*limits),
            publisher: Publisher::new(publishes_at_once, limits.commit_interval, now),
            parts: has_state.then(|| Parts::new(store, persists)),
            punctuations: schedule.as_ref().map(|schedule| Punctuations::new(schedule.every)),
            commands: VecDeque::new(),
            now,
            tick_at: now + limits.commit_interval,
            is_ready: true,
            was_open: true,
            is_releasing: false,
            stop: None,
            drained: Drained::default(),
        }
    }

    /// Takes in what has happened.
    ///
    /// # Errors
    /// If source, sink or store are broken.
    pub(super) fn handle(&mut self, input: Input<'a>, now: Instant) -> Result<(), RunError> {
        self.now = now;
        match input {
            Input::Source(event) => return self.on_event(event),
            Input::Done(job, finished) => self.done(job, finished),
            Input::Waits(job, delay, execution) => self.wait(job, now + delay, execution),
            Input::Ready(is_ready) => self.is_ready = is_ready,
            Input::Persist(persist) => self.publisher.outbox().push_persist(persist),
            Input::Restored(number, result) => return self.restored(number, result),
            Input::Punctuated(punctuated) => self.punctuated(punctuated),
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
        self.cut_drains();
        while let Some(begins) = self.jobs.next_due(now) {
            self.begin(begins);
        }
        while self.is_open()
            && let Some(record) = self.assignments.take_held(self.publisher.window())
        {
            self.deliver(record)?;
        }
        self.begin_calls_and_restores();
        self.pause_and_resume();
        self.begin_effects();
        self.publisher.note_outbox(now);
        Ok(())
    }

    /// The next command, in order.
    pub(super) fn next(&mut self) -> Option<Command<'a>> {
        self.commands.pop_front()
    }

    /// When to `advance` even if nothing happens.
    pub(super) fn wakes_at(&self) -> Instant {
        let effects = if self.waits_for_the_end() {
            [None, None]
        } else {
            [self.publisher.publish_due(), self.publisher.commit_due(&self.assignments)]
        };
        let parts = self.parts.as_ref().and_then(Parts::wakes_at);
        let calls = self.punctuations.as_ref().and_then(Punctuations::wakes_at);
        let end = self.stop.map(|(_, end)| end);
        let deadlines = self.assignments.drain_deadlines().chain(end).filter(|at| *at > self.now);
        let waits = [self.jobs.wakes_at(), parts, calls].into_iter().chain(effects).flatten();
        waits.chain(deadlines).fold(self.tick_at, Instant::min)
    }

    /// How far above a frontier the source's commits can name a record as finished, in offsets.
    pub(super) const fn set_window(&mut self, offsets: i64) {
        self.publisher.set_window(offsets);
    }

    /// Whether records are taken in.
    pub(super) const fn is_open(&self) -> bool {
        self.is_ready && self.stop.is_none() && !self.jobs.is_full()
    }

    /// Whether the run is to come to its end.
    pub(super) const fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// After the shutdown: what is left unfinished, once there is nothing to be done any more, or no
    /// time.
    pub(super) fn drained(&self) -> Option<Drained> {
        let (_, end) = self.stop?;
        let in_flight = self.jobs.len();
        let is_done = in_flight == 0 && self.publisher.is_idle() && !self.assignments.have_news();
        let unfinished = self.drained.unfinished + in_flight;
        (is_done || self.now >= end).then_some(Drained { unfinished })
    }

    fn on_event(&mut self, event: SourceEvent) -> Result<(), RunError> {
        match event {
            SourceEvent::Record(record) => self.deliver(record)?,
            SourceEvent::Assigned(assignments) => {
                assignments.iter().for_each(|assignment| self.assign(assignment));
                self.pause_and_resume();
            }
            SourceEvent::Revoked(partitions) => partitions.iter().for_each(|p| self.revoke(p)),
            SourceEvent::Lost(partitions) => partitions.iter().for_each(|p| self.lose(p)),
            SourceEvent::Truncated { partition, from, to } => {
                self.emit(&Event::Truncated { partition: &partition, from, to });
            }
        }
        Ok(())
    }

    fn assign(&mut self, assignment: &Assignment) {
        let Assignment { partition, generation, reset, .. } = assignment;
        let Abandoned { executed, .. } = self.abandon(partition);
        if let Some(reset) = *reset {
            self.assignments.begin_anew(partition, *generation);
            self.emit(&Event::Reset { partition, reset });
        }
        self.assignments.keep(executed);
        let is_restoring = !self.take_on_part(partition.partition);
        self.assignments.assign(assignment, is_restoring, self.now);
        if let Some(punctuations) = &mut self.punctuations {
            punctuations.assigned(assignment, self.now);
        }
        self.emit(&Event::Assigned(assignment));
        if let Some((until, flush_until)) = self.stop {
            self.drain(partition, until, flush_until);
        }
    }

    fn revoke(&mut self, partition: &TopicPartition) {
        self.emit(&Event::Revoked(partition));
        let until = self.now + self.limits.drain_timeout;
        self.drain(partition, until, until + self.limits.flush_timeout());
        self.assignments.release_once_drained(partition);
    }

    fn lose(&mut self, partition: &TopicPartition) {
        self.emit(&Event::Lost(partition));
        if !self.publisher.is_idle() {
            self.assignments.await_batches(partition);
        }
        let Abandoned { executed, .. } = self.abandon(partition);
        self.assignments.keep(executed);
    }

    fn shut_down(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let until = self.now + self.limits.shutdown_timeout;
        let flush_until = until + self.limits.flush_timeout();
        self.stop = Some((until, flush_until));
        for partition in self.assignments.names() {
            self.drain(&partition, until, flush_until);
        }
        self.pause_and_resume();
    }

    /// Takes nothing more of a partition in, and lets what is in flight finish.
    fn drain(&mut self, partition: &TopicPartition, until: Instant, flush_until: Instant) {
        self.end_punctuation(partition);
        self.assignments.drain(partition, until, flush_until);
        self.cut_off_late_waits(partition);
    }

    /// Takes out everything that belongs to a partition, published or not.
    fn abandon(&mut self, name: &TopicPartition) -> Abandoned {
        self.end_punctuation(name);
        let Some((generation, partition)) = self.assignments.remove(name) else {
            return Abandoned::default();
        };
        let unfinished = partition.in_flight();
        let cancelled = self.jobs.cancel(name, generation);
        self.cancel(cancelled);
        self.drop_part_of(name);
        let mut executed = self.take_out(|entry| entry.assignment() == (name, generation));
        let mut earlier = partition.into_unpublished();
        executed.iter().for_each(|of_outbox| drop(earlier.remove(&of_outbox.place().1)));
        executed.extend(earlier.into_values());
        Abandoned { unfinished, executed }
    }

    /// Takes records out of the outbox that are not going to be published now.
    fn take_out(&mut self, condition: impl Fn(&Entry) -> bool) -> Vec<Unpublished> {
        let taken = self.publisher.outbox().take_out(condition);
        let let_go = |(job, finished)| Unpublished { lane: self.let_go(job), finished };
        taken.into_iter().map(let_go).collect()
    }

    /// Takes a record in, or holds it if its partition's window is full.
    fn deliver(&mut self, record: ConsumerRecord) -> Result<(), RunError> {
        match self.assignments.deliver(record, self.publisher.window(), self.now) {
            Delivery::New(record) => self.admit(record),
            Delivery::AlreadyExecuted(record, executed) => self.admit_executed(record, *executed),
            Delivery::AlreadyFinished(record) => self.emit(&Event::AlreadyFinished(&record)),
            Delivery::Held => self.pause_and_resume(),
            Delivery::Dropped => {}
            Delivery::Below(expected, ConsumerRecord { partition, offset, .. }) => {
                let reason =
                    format!("{partition}: found offset {offset}, expected {expected} or above");
                return Err(RunError::Source(SourceError(reason)));
            }
        }
        Ok(())
    }

    fn admit(&mut self, record: ConsumerRecord) {
        self.emit(&Event::Fetched(&record));
        let (assigned, size_bytes) = (assigned(&record), record.size_bytes());
        let state = self.state_for(&record);
        match self.pipeline.admit(self.context, record, state) {
            Admitted::Finished(Finished { record, outputs, fate, .. }) if outputs.is_empty() => {
                self.meet_fate(&record, fate);
            }
            Admitted::Finished(finished) => {
                let job = self.jobs.add_done(assigned, size_bytes);
                self.publisher.outbox().push(job, finished);
            }
            Admitted::Execute(lane, execution) => {
                let begins = self.jobs.add(assigned, size_bytes, lane, execution);
                begins.into_iter().for_each(|begins| self.begin(begins));
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
        let changes =
            self.parts.as_ref().zip(finished.changes).map(|(parts, changes)| {
                Box::new(changes.moved_to(parts.part_for(&record).clone()))
            });
        let finished = Finished { record, changes, ..finished };
        let execution = Box::pin(std::future::ready(Step::Finished(finished)));
        let begins = self.jobs.add(assigned, size_bytes, lane, execution);
        begins.into_iter().for_each(|begins| self.begin(begins));
    }

    fn begin(&mut self, Begins(job, execution): Begins<'a>) {
        self.commands.push_back(Command::Execute(job, execution));
    }

    /// A job was executed: its outputs are to be published.
    fn done(&mut self, job: JobId, finished: Finished) {
        if finished.outputs.is_empty() {
            let Finished { record, fate, changes, .. } = finished;
            self.finish(Done { record, fate, job, changes });
        } else {
            self.jobs.done(job);
            self.publisher.outbox().push(job, finished);
        }
    }

    fn wait(&mut self, job: JobId, until: Instant, execution: Execution<'a>) {
        let partition = self.jobs.partition(job).clone();
        self.jobs.wait(job, until, execution);
        self.cut_off_late_waits(&partition);
    }

    /// A record has met its fate, and the next of its key begins.
    fn finish(&mut self, Done { record, fate, job, changes }: Done) {
        if let Some(changes) = changes {
            changes.apply();
        }
        self.meet_fate(&record, fate);
        self.let_go(job);
    }

    /// A record counts as finished in the next position.
    fn meet_fate(&mut self, record: &ConsumerRecord, fate: Fate) {
        let ConsumerRecord { partition, generation, offset, .. } = record;
        if let Some(partition) = self.assignments.current(partition, *generation) {
            partition.finish(*offset, self.now);
            if let Some(punctuations) = &mut self.punctuations {
                punctuations.finished(record, self.now);
            }
            self.emit(&Event::Finished { record, fate });
        }
    }

    /// A job is in flight no more; returns its lane.
    fn let_go(&mut self, job: JobId) -> Option<KeyHash> {
        let (lane, next) = self.jobs.finish(job);
        next.into_iter().for_each(|next| self.begin(next));
        lane
    }

    /// Drops what was cancelled; says how many jobs.
    fn cancel(&mut self, Cancelled { jobs, executing, next }: Cancelled<'a>) -> usize {
        if !executing.is_empty() {
            self.commands.push_back(Command::Cancel(executing));
        }
        next.into_iter().for_each(|next| self.begin(next));
        jobs
    }

    /// Cuts off the drains whose time is over.
    fn cut_drains(&mut self) {
        for (partition, generation) in self.assignments.cut_drains(self.now) {
            let cancelled = self.jobs.cancel(&partition, generation);
            self.cut_off(&partition, generation, cancelled);
        }
    }

    /// Cuts off the jobs of a drain that wait until after its end, and those of their keys behind
    /// them: the drain does not wait for what it is going to cut off anyway.
    fn cut_off_late_waits(&mut self, partition: &TopicPartition) {
        if let Some((generation, drain)) = self.assignments.drain_of(partition) {
            let cancelled = self.jobs.cancel_waiting(partition, generation, drain.until);
            self.cut_off(partition, generation, cancelled);
        }
    }

    fn cut_off(&mut self, name: &TopicPartition, generation: Generation, jobs: Cancelled<'a>) {
        let unfinished = self.cancel(jobs);
        if unfinished > 0 {
            let partition = self.assignments.current(name, generation);
            partition.into_iter().for_each(|partition| partition.cut_off(unfinished));
            self.drained.unfinished += unfinished;
            self.emit(&Event::CutOff { partition: name, unfinished });
        }
    }

    /// Brings the source's pauses up to date.
    fn pause_and_resume(&mut self) {
        let open = self.is_open();
        let (pause, resume) = self.assignments.to_pause_and_resume(open);
        if !pause.is_empty() {
            self.commands.push_back(Command::Pause(pause));
        }
        if !resume.is_empty() {
            self.commands.push_back(Command::Resume(resume));
        }
        if std::mem::replace(&mut self.was_open, open) != open {
            self.emit(&Event::Intake { open });
        }
    }

    fn begin_calls_and_restores(&mut self) {
        let now = self.now;
        let calls = self
            .punctuations
            .iter_mut()
            .flat_map(|punctuations| std::iter::from_fn(|| punctuations.begin_call(now)));
        self.commands.extend(calls.map(|(generation, call)| Command::Punctuate(generation, call)));
        let restores =
            self.parts.iter_mut().flat_map(|parts| std::iter::from_fn(|| parts.begin_restore(now)));
        self.commands.extend(restores.map(Command::Restore));
    }

    /// Begins a release, a commit or a batch, where one is due and may be under way beside the others.
    fn begin_effects(&mut self) {
        let to_release = self.assignments.to_release(self.now);
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
        if is_due(self.publisher.commit_due(&self.assignments)) {
            let positions = self.publisher.begin_commit(&mut self.assignments);
            self.commands.push_back(Command::Commit(positions));
        }
        if is_due(self.publisher.publish_due())
            && let Some(outbox) = self.publisher.begin_publish(&mut self.assignments, self.now)
        {
            self.commands.push_back(Command::Publish(outbox));
        }
    }

    /// Whether nothing begins before all that is under way has ended: a partition is to be given
    /// up, or one that was lost and is back waits for what becomes of its outputs.
    fn waits_for_the_end(&self) -> bool {
        !self.publisher.is_idle() && (self.is_releasing || self.assignments.is_awaiting())
    }

    fn published(
        &mut self,
        mut outbox: Outbox,
        result: Result<Published, SinkError>,
        took: Duration,
    ) -> Result<(), RunError> {
        match result {
            Ok(published) => {
                self.emit(&Event::Published { batch: outbox.batch(), took });
                outbox.drain().for_each(|subject| self.finish_subject(subject));
                let positions = &outbox.batch().positions;
                if published == Published::RecordsAndPositions && !positions.is_empty() {
                    self.assignments.saved(positions);
                    self.emit(&Event::Committed { positions, took });
                }
                self.publisher.published(outbox);
            }
            Err(error) => self.not_published(outbox, error)?,
        }
        self.effect_ended();
        Ok(())
    }

    fn not_published(&mut self, mut outbox: Outbox, error: SinkError) -> Result<(), RunError> {
        self.emit(&Event::PublishFailed(&error));
        for entry in outbox.entries() {
            let (name, generation) = entry.assignment();
            let partition = self.assignments.current(name, generation);
            if let (Some(partition), Some(offset)) = (partition, entry.offset()) {
                partition.not_published(offset);
            }
        }
        let is_aborted = match error {
            SinkError::Broken(_) => return Err(RunError::Sink(error)),
            SinkError::Aborted(_) => true,
            SinkError::TooLarge { outputs, others_published } => {
                let (pipeline, context) = (self.pipeline, self.context);
                let substitute = |record: &ConsumerRecord, refusals: u8| {
                    too_large(pipeline.dead_letters(), context, record, refusals)
                };
                let done = outbox.replace_refused(&outputs, others_published, substitute)?;
                done.into_iter().for_each(|subject| self.finish_subject(subject));
                false
            }
        };
        self.publisher.not_published(outbox, is_aborted, self.now);
        // The outputs of partitions that were lost meanwhile.
        let stale = self.publisher.outbox().take_out(|entry| {
            let (name, generation) = entry.assignment();
            !self.assignments.holds(name, generation)
        });
        for (job, finished) in stale {
            let unpublished = Unpublished { lane: self.let_go(job), finished };
            self.assignments.keep([unpublished]);
        }
        Ok(())
    }

    fn finish_subject(&mut self, subject: Subject) {
        match subject {
            Subject::Record(done) => self.finish(done),
            Subject::Persist(persist) => persist.complete(),
            Subject::Punctuated(name, generation) => {
                if let Some(punctuations) = &mut self.punctuations {
                    punctuations.published(&name, generation, self.now);
                }
            }
        }
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
                self.emit(&Event::Committed { positions, took });
                self.assignments.saved(positions);
            }
            Err(error) => {
                self.emit(&Event::CommitFailed(&error));
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
        for (partition, generation) in partitions {
            if self.assignments.holds(partition, *generation) {
                self.emit(&Event::Released(partition));
                self.drained.unfinished += self.abandon(partition).unfinished;
            }
        }
        self.effect_ended();
        Ok(result?)
    }

    fn effect_ended(&mut self) {
        if self.publisher.is_idle() {
            self.assignments.batches_ended();
        }
    }

    /// Takes on the part of a partition that is assigned; says whether it is ready.
    fn take_on_part(&mut self, number: i32) -> bool {
        let Some(parts) = &mut self.parts else { return true };
        let is_ready = parts.take_on(number, self.now);
        if !is_ready {
            self.commands.push_back(Command::EndRestore(number));
        }
        is_ready
    }

    /// Drops the part of a partition that has gone, unless another one shares it.
    fn drop_part_of(&mut self, partition: &TopicPartition) {
        let number = partition.partition;
        if let Some(parts) = &mut self.parts
            && !self.assignments.has_number(number)
        {
            parts.drop_part(number);
            self.commands.push_back(Command::EndRestore(number));
        }
    }

    fn restored(
        &mut self,
        number: i32,
        result: Result<Vec<state::Entry>, StoreError>,
    ) -> Result<(), RunError> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        match result {
            Ok(restored) => {
                let entries = restored.len();
                let took = parts.restored(number, restored, self.now);
                self.assignments.restored(number);
                self.emit(&Event::Restored { partition: number, entries, took });
                Ok(())
            }
            Err(StoreError::Missing(reason)) => {
                parts.is_missing(number, self.now);
                self.emit(&Event::PartMissing { partition: number, reason: &reason });
                Ok(())
            }
            Err(error @ StoreError::Broken(_)) => Err(RunError::Store(error)),
        }
    }

    /// The state for a record that is taken in; none if the topology has no state.
    fn state_for(&self, record: &ConsumerRecord) -> Option<Box<State>> {
        let parts = self.parts.as_ref()?;
        let partition = self.assignments.get(&record.partition)?;
        Some(Box::new(parts.state_for(record, partition.frontier())))
    }

    fn punctuated(&mut self, punctuated: Punctuated) {
        if let Some(punctuations) = &mut self.punctuations
            && punctuations.call_ended(&punctuated, self.now)
        {
            self.publisher.outbox().push_punctuated(punctuated);
        }
    }

    /// Ends the timer of a partition.
    fn end_punctuation(&mut self, partition: &TopicPartition) {
        if let Some(punctuations) = &mut self.punctuations
            && punctuations.unassigned(partition)
        {
            self.commands.push_back(Command::EndPunctuation(partition.clone()));
        }
    }

    /// Reports where the partitions stand, once an interval.
    fn tick(&mut self) {
        let Limits { commit_interval, stuck_after, .. } = self.limits;
        let (now, observers) = (self.now, &self.context.observers);
        self.tick_at = now + commit_interval;
        for (partition, state) in self.assignments.iter_mut() {
            let (offset, in_flight, age) = (state.frontier(), state.in_flight(), state.age(now));
            observers.emit(&Event::Frontier { partition, offset, in_flight, age });
            if state.is_newly_stuck(now, stuck_after) {
                observers.emit(&Event::Stuck { partition, offset, age });
            }
        }
        self.turning.turned();
    }

    fn emit(&self, event: &Event<'_>) {
        self.context.observers.emit(event);
    }
}

fn assigned(record: &ConsumerRecord) -> Assigned {
    (record.partition.clone(), record.generation)
}
