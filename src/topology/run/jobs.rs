//! The jobs in flight: the order of their keys, the limits, the waits for another attempt.
//!
//! ```text
//!  add ──▶ in line ──▶ (limited) ──▶ executing ──▶ done ──▶ finish
//!                          ▲             │
//!                          └── waiting ◀─┘
//! ```
//!
//! A job holds its key, and counts as in flight, until it is finished. It has a *place* among those
//! that execute while it executes or is in line; a job that waits has none, and neither have those
//! in line behind it. So as many as may be in flight can wait, while the others go on.
//!
//! There are two limits of records. Those that execute or are in line are bounded by the smaller
//! one, since a drain waits for them. All in flight are bounded by the larger one: records that
//! wait only for their acknowledgement make batches, and so transactions, large; and a job that
//! waits for another attempt must not take a place, or a server that defers jobs for minutes
//! (greylisting) would soon hold every place. A drain gives up at once each job that would be due
//! after the drain's end, with those in line behind it.
//!
//! Jobs that have limits by a key of theirs are *limited* until it is the key's turn, and have a
//! place only while they execute: neither one that is limited nor one in line takes a place that
//! another key's job could use. All such jobs without a place share a room: what may be in flight
//! less the places, and half of it at least. The jobs of a key *crowd* the others when there are as
//! many of them as there is room left, or when they hold as many bytes, with a place or without, as
//! such jobs leave of what may be in flight. So one key can have half of the room and of the bytes, two
//! a third each, and there is always room for one more. The partition of a record that goes beyond that
//! waits, since records are taken in in the order of their offsets; the other partitions go on.
//!
//! The execution of a job ends with the time of its wait and the future that goes on after it. So
//! the waiting jobs lie here, with one timer for all of them, and one that is due goes on before
//! anything new is taken in.
//!
//! A job to which the job sink was unavailable does not wait for all of its time if the sink is there
//! again: two of them go on when the gate opens, and two more with each job that succeeds, those first
//! that have waited longest. So the others follow soon, and a sink that is not quite there yet meets
//! few of them. That holds for waits that have begun before the gate opened; where jobs have keys with
//! limits, which may be receivers of their own, a job that succeeds is followed by those of its key.

use std::collections::{BTreeMap, VecDeque};

use futures::future::BoxFuture;
use slab::Slab;
use tokio::time::Instant;

use super::super::limits::{KeyLimits, Limits};
use super::super::stages::{ExecutionEnd, JobKeys, KeyHash, Wait};
use super::capacity::Capacity;
use super::lanes::Lanes;
use super::quotas::Quotas;
use crate::record::{Generation, TopicPartition};

/// How many jobs that wait for the job sink follow one that has succeeded.
const FOLLOWING: usize = 2;

/// What takes a job to its end, or to its next wait.
pub(super) type Execution<'a> = BoxFuture<'a, ExecutionEnd<'a>>;

/// Names a job in flight. The number is used again when the job is finished or cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId(usize);

/// All jobs in flight.
pub(super) struct Jobs<'a> {
    capacity: Capacity,
    jobs: Slab<Job<'a>>,
    lanes: Lanes<JobId>,
    quotas: Quotas<JobId>,
    /// The jobs that wait, by when they are due; those due at once in the order in which their
    /// waits began.
    waiting: BTreeMap<(Instant, u64), JobId>,
    /// Waits so far.
    waits: u64,
    /// The waits for a job sink that was unavailable, by the key that limits the job and in the order in
    /// which they began, and when they end at the latest.
    for_sink: BTreeMap<(Option<KeyHash>, u64), Instant>,
    /// How many waits had begun when the job sink was last there again.
    waits_at_return: u64,
    /// The jobs that begin to execute, and are not handed out yet.
    begun: VecDeque<JobId>,
    /// The jobs that were cancelled after they had been handed out.
    dropped: Vec<JobId>,
}

struct Job<'a> {
    partition: TopicPartition,
    generation: Generation,
    size_bytes: usize,
    /// When its record was taken in.
    since: Instant,
    keys: JobKeys,
    /// There until it is handed out, and while the job waits.
    execution: Option<Execution<'a>>,
    stage: Stage,
    has_place: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    InLine,
    Limited,
    Executing,
    Waiting,
    Done,
}

impl Job<'_> {
    fn is_of(&self, partition: &TopicPartition, generation: Generation) -> bool {
        self.generation == generation && self.partition == *partition
    }
}

impl<'a> Jobs<'a> {
    pub(super) fn new(limits: Limits, key_limits: KeyLimits) -> Self {
        Self {
            capacity: Capacity::new(limits),
            jobs: Slab::new(),
            lanes: Lanes::new(),
            quotas: Quotas::new(key_limits),
            waiting: BTreeMap::new(),
            waits: 0,
            for_sink: BTreeMap::new(),
            waits_at_return: 0,
            begun: VecDeque::new(),
            dropped: Vec::new(),
        }
    }

    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether a limit is reached.
    pub(super) const fn is_full(&self) -> bool {
        self.capacity.is_full()
    }

    /// The partition of a job, under its assignment.
    pub(super) fn partition(&self, id: JobId) -> &TopicPartition {
        &self.jobs[id.0].partition
    }

    /// When the record of a job was taken in.
    pub(super) fn since(&self, id: JobId) -> Instant {
        self.jobs[id.0].since
    }

    /// Whether the jobs with this key crowd the others.
    pub(super) fn are_crowding(&self, key: KeyHash) -> bool {
        self.capacity.do_crowd(self.quotas.held_of(key), self.quotas.held(), 0)
    }

    /// Whether they crowd them no more: there is some room.
    pub(super) fn have_room(&self, key: KeyHash) -> bool {
        !self.capacity.do_crowd(self.quotas.held_of(key), self.quotas.held(), 8)
    }

    /// The next job that begins to execute.
    pub(super) fn next_begun(&mut self, now: Instant) -> Option<(JobId, Execution<'a>)> {
        if self.begun.is_empty() {
            self.take_turn(now);
        }
        let id = self.begun.pop_front()?;
        Some((id, self.jobs[id.0].execution.take()?))
    }

    /// The jobs that were cancelled since the last call, though they were handed out, ascending.
    pub(super) fn take_dropped(&mut self) -> Vec<JobId> {
        self.dropped.sort_unstable();
        std::mem::take(&mut self.dropped)
    }

    /// Adds a job of an assignment. It begins, or is put in line.
    pub(super) fn add(
        &mut self,
        (partition, generation): (TopicPartition, Generation),
        size_bytes: usize,
        keys: JobKeys,
        execution: Execution<'a>,
        since: Instant,
    ) -> JobId {
        let (execution, stage, has_place) = (Some(execution), Stage::InLine, keys.quota.is_none());
        keys.quota.into_iter().for_each(|quota| self.quotas.enter(quota, size_bytes));
        let job =
            Job { partition, generation, size_bytes, since, keys, execution, stage, has_place };
        let id = self.insert(job);
        match keys.lane.and_then(|lane| self.lanes.enter(lane, id)) {
            None => self.begin(id),
            Some(head) if self.jobs[head.0].stage == Stage::Waiting => self.set_place(id, false),
            Some(_) => {}
        }
        if keys.quota.is_some() {
            self.take_turn(since);
        }
        id
    }

    /// Adds a record that needs no execution: it is done.
    pub(super) fn add_done(
        &mut self,
        (partition, generation): (TopicPartition, Generation),
        size_bytes: usize,
        since: Instant,
    ) -> JobId {
        let (keys, execution, stage, has_place) = (JobKeys::default(), None, Stage::Done, false);
        let job =
            Job { partition, generation, size_bytes, since, keys, execution, stage, has_place };
        self.insert(job)
    }

    /// A job is executed: it waits for its outputs to be published.
    pub(super) fn done(&mut self, id: JobId) {
        self.set_place(id, false);
        self.leave_quota(id);
        self.jobs[id.0].stage = Stage::Done;
    }

    /// A job waits for another attempt.
    pub(super) fn wait(&mut self, id: JobId, wait: Wait, execution: Execution<'a>, now: Instant) {
        let until = now + wait.delay;
        self.waiting.insert((until, self.waits), id);
        let job = &mut self.jobs[id.0];
        if wait.for_sink {
            self.for_sink.insert((job.keys.quota, self.waits), until);
        }
        self.waits += 1;
        (job.execution, job.stage) = (Some(execution), Stage::Waiting);
        self.set_places_of_lane(id, false);
    }

    /// The job sink is ready, and was not: the first that wait for it find out more.
    pub(super) fn sink_is_back(&mut self, now: Instant) {
        self.waits_at_return = self.waits;
        let longest = self.for_sink.keys().copied().min_by_key(|(_, number)| *number);
        if let Some((quota, _)) = longest {
            self.end_waits(quota, now);
        }
    }

    /// A job has succeeded: others that wait for the job sink go on.
    pub(super) fn has_succeeded(&mut self, id: JobId, now: Instant) {
        if !self.for_sink.is_empty() {
            self.end_waits(self.jobs[id.0].keys.quota, now);
        }
    }

    /// Ends the longest waits for the job sink, of jobs with this limit by key.
    fn end_waits(&mut self, quota: Option<KeyHash>, now: Instant) {
        for _ in 0..FOLLOWING {
            let mut waits = self.for_sink.range((quota, 0)..(quota, self.waits_at_return));
            let Some((&(_, number), &until)) = waits.next() else { break };
            self.for_sink.remove(&(quota, number));
            if let Some(id) = self.waiting.remove(&(until, number)) {
                self.waiting.insert((until.min(now), number), id);
            }
        }
    }

    /// Begins the jobs whose wait is over, while there are places.
    pub(super) fn go_on(&mut self, now: Instant) {
        while self.capacity.has_place()
            && let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            let (_, number) = *first.key();
            let id = first.remove();
            self.for_sink.remove(&(self.jobs[id.0].keys.quota, number));
            match self.jobs[id.0].keys.quota {
                Some(quota) => self.await_turn(id, quota, true),
                None => {
                    self.set_places_of_lane(id, true);
                    self.capacity.note_places();
                    self.execute(id);
                }
            }
        }
    }

    /// When the next wait is over. Where there is no place for that job, the end of another one is
    /// waited for instead.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        if !self.capacity.has_place() {
            return None;
        }
        let due = self.waiting.first_key_value().map(|((until, _), _)| *until);
        due.into_iter().chain(self.quotas.wakes_at()).min()
    }

    /// A job is in flight no more, and the next of its lane begins; returns the lane.
    pub(super) fn finish(&mut self, id: JobId) -> Option<KeyHash> {
        let lane = self.remove(id);
        if let Some(next) = lane.and_then(|lane| self.lanes.leave(lane)) {
            self.begin(next);
        }
        lane
    }

    /// Takes out the jobs of an assignment that are not done; returns how many.
    pub(super) fn cancel(&mut self, partition: &TopicPartition, generation: Generation) -> usize {
        self.cancel_if(partition, generation, |_| true)
    }

    /// Takes out the jobs of an assignment that are in line or wait; returns how many.
    pub(super) fn cancel_idle(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
    ) -> usize {
        self.cancel_if(partition, generation, |job| job.execution.is_some())
    }

    fn cancel_if(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        condition: impl Fn(&Job<'_>) -> bool,
    ) -> usize {
        let jobs = &self.jobs;
        let is_of_it = |id: &JobId| jobs[id.0].is_of(partition, generation);
        self.waiting.retain(|_, id| !is_of_it(id));
        let waiting = &self.waiting;
        self.for_sink.retain(|(_, number), until| waiting.contains_key(&(*until, *number)));
        self.begun.retain(|id| !is_of_it(id));
        let in_line = self.lanes.take_out(|id| is_of_it(&id));
        self.quotas.take_out(|id| is_of_it(&id));
        let heads = jobs.iter().filter(|(_, job)| {
            job.is_of(partition, generation)
                && matches!(job.stage, Stage::Limited | Stage::Executing | Stage::Waiting)
                && condition(job)
        });
        let heads: Vec<_> = heads.map(|(index, _)| JobId(index)).collect();
        let handed_out = heads.iter().filter(|id| jobs[id.0].execution.is_none());
        self.dropped.extend(handed_out);
        self.take_out(&in_line, &heads)
    }

    /// Takes out the jobs of an assignment that wait until this time or longer, and its jobs in
    /// line behind them; returns how many.
    pub(super) fn cancel_waiting(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        until: Instant,
    ) -> usize {
        let jobs = &self.jobs;
        let is_of_it = |id: &JobId| jobs[id.0].is_of(partition, generation);
        let late = self.waiting.extract_if((until, 0).., |_, id| is_of_it(id));
        let late: Vec<_> = late
            .map(|((_, number), id)| {
                self.for_sink.remove(&(jobs[id.0].keys.quota, number));
                id
            })
            .collect();
        let lanes = late.iter().filter_map(|id| jobs[id.0].keys.lane);
        let in_line: Vec<_> =
            lanes.flat_map(|lane| self.lanes.take_out_behind(lane, |id| is_of_it(&id))).collect();
        self.take_out(&in_line, &late)
    }

    /// The jobs in line are removed first, so that no lane goes on to one of them.
    fn take_out(&mut self, in_line: &[JobId], heads: &[JobId]) -> usize {
        for id in in_line {
            self.remove(*id);
        }
        for id in heads {
            self.finish(*id);
        }
        in_line.len() + heads.len()
    }

    /// Lets the head of a lane execute, or await its key's turn.
    fn begin(&mut self, id: JobId) {
        let Job { keys, has_place, .. } = &self.jobs[id.0];
        let (quota, has_place) = (keys.quota, *has_place);
        if let Some(quota) = quota {
            self.await_turn(id, quota, false);
            return;
        }
        // Those behind a job that waited have their places again.
        if !has_place {
            self.set_places_of_lane(id, true);
        }
        self.execute(id);
    }

    /// Lets the job execute whose key's turn it is, if there is a place.
    fn take_turn(&mut self, now: Instant) {
        if !self.quotas.is_empty()
            && self.capacity.has_place()
            && let Some(id) = self.quotas.next(now, |id| self.jobs[id.0].size_bytes)
        {
            self.set_place(id, true);
            self.capacity.note_places();
            self.execute(id);
        }
    }

    fn await_turn(&mut self, id: JobId, quota: KeyHash, is_due: bool) {
        self.jobs[id.0].stage = Stage::Limited;
        self.quotas.wait(quota, id, is_due);
    }

    fn execute(&mut self, id: JobId) {
        self.jobs[id.0].stage = Stage::Executing;
        self.begun.push_back(id);
    }

    fn leave_quota(&mut self, id: JobId) {
        let Job { keys, size_bytes, stage, .. } = &self.jobs[id.0];
        if let Some(quota) = keys.quota.filter(|_| *stage != Stage::Done) {
            self.quotas.leave(quota, *size_bytes);
        }
    }

    fn insert(&mut self, job: Job<'a>) -> JobId {
        self.capacity.enter(job.size_bytes, job.has_place);
        JobId(self.jobs.insert(job))
    }

    fn remove(&mut self, id: JobId) -> Option<KeyHash> {
        self.set_place(id, false);
        self.leave_quota(id);
        let job = self.jobs.remove(id.0);
        self.capacity.leave(job.size_bytes, self.quotas.held());
        job.keys.lane
    }

    /// Gives a job its place, or takes it.
    fn set_place(&mut self, id: JobId, has_place: bool) {
        let had_place = std::mem::replace(&mut self.jobs[id.0].has_place, has_place);
        match (had_place, has_place) {
            (false, true) => self.capacity.take_place(),
            (true, false) => {
                let Job { keys, size_bytes, .. } = &self.jobs[id.0];
                keys.quota.into_iter().for_each(|quota| self.quotas.ended(quota, *size_bytes));
                self.capacity.give_place(self.quotas.held());
            }
            _ => {}
        }
    }

    /// Gives the head of a lane and those in line behind it their places, or takes them. A job with a
    /// limit by its key has none in line.
    fn set_places_of_lane(&mut self, head: JobId, has_place: bool) {
        self.set_place(head, has_place);
        let Some(lane) = self.jobs[head.0].keys.lane else { return };
        let has_none = |id: &JobId| self.jobs[id.0].keys.quota.is_some();
        let in_line: Vec<_> = self.lanes.in_line(lane).filter(|id| !has_none(id)).collect();
        in_line.into_iter().for_each(|id| self.set_place(id, has_place));
    }
}
