//! The jobs in flight: the order of their keys, the limits, the waits for another attempt.
//!
//! ```text
//!  add ──▶ in line ──▶ executing ──▶ done ──▶ finish
//!                       ▲     │
//!                       │     ▼
//!                       waiting
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
//! The execution of a job ends with the time of its wait and the future that goes on after it. So
//! the waiting jobs lie here, with one timer for all of them, and one that is due goes on before
//! anything new is taken in.

use std::collections::{BTreeMap, VecDeque};

use futures::future::BoxFuture;
use slab::Slab;
use tokio::time::Instant;

use super::super::limits::Limits;
use super::super::stages::{KeyHash, Step};
use super::lanes::Lanes;
use crate::record::{Generation, TopicPartition};

/// What takes a job to its end, or to its next wait.
pub(super) type Execution<'a> = BoxFuture<'a, Step<'a>>;

/// Names a job in flight. The number is used again when the job is finished or cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId(usize);

/// All jobs in flight.
pub(super) struct Jobs<'a> {
    limits: Limits,
    jobs: Slab<Job<'a>>,
    lanes: Lanes<JobId>,
    /// The jobs that wait, by when they are due; those due at once in the order in which their
    /// waits began.
    waiting: BTreeMap<(Instant, u64), JobId>,
    /// Waits so far.
    waits: u64,
    /// The jobs that begin to execute, and are not handed out yet.
    begun: VecDeque<JobId>,
    /// The jobs that were cancelled after they had been handed out.
    dropped: Vec<JobId>,
    /// Jobs that have a place.
    places: usize,
    /// Bytes of the records.
    bytes: usize,
    /// Set when a limit is reached, until there is room again: the source is not paused and resumed
    /// for every record.
    is_full: bool,
}

struct Job<'a> {
    partition: TopicPartition,
    generation: Generation,
    size_bytes: usize,
    lane: Option<KeyHash>,
    /// There until it is handed out, and while the job waits.
    execution: Option<Execution<'a>>,
    stage: Stage,
    has_place: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    InLine,
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
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            jobs: Slab::new(),
            lanes: Lanes::new(),
            waiting: BTreeMap::new(),
            waits: 0,
            begun: VecDeque::new(),
            dropped: Vec::new(),
            places: 0,
            bytes: 0,
            is_full: false,
        }
    }

    /// How many are in flight.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether a limit is reached.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// The partition of a job, under its assignment.
    pub(super) fn partition(&self, id: JobId) -> &TopicPartition {
        &self.jobs[id.0].partition
    }

    /// The next job that begins to execute.
    pub(super) fn next_begun(&mut self) -> Option<(JobId, Execution<'a>)> {
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
        lane: Option<KeyHash>,
        execution: Execution<'a>,
    ) {
        let (execution, stage, has_place) = (Some(execution), Stage::InLine, true);
        let job = Job { partition, generation, size_bytes, lane, execution, stage, has_place };
        let id = self.insert(job);
        match lane.and_then(|lane| self.lanes.enter(lane, id)) {
            None => self.begin(id),
            Some(head) if self.jobs[head.0].stage == Stage::Waiting => self.set_place(id, false),
            Some(_) => {}
        }
    }

    /// Adds a record that needs no execution: it is done.
    pub(super) fn add_done(
        &mut self,
        (partition, generation): (TopicPartition, Generation),
        size_bytes: usize,
    ) -> JobId {
        let (lane, execution, stage) = (None, None, Stage::Done);
        let job =
            Job { partition, generation, size_bytes, lane, execution, stage, has_place: false };
        self.insert(job)
    }

    /// A job is executed: it waits for its outputs to be published.
    pub(super) fn done(&mut self, id: JobId) {
        self.jobs[id.0].stage = Stage::Done;
        self.set_place(id, false);
    }

    /// A job waits for another attempt until then.
    pub(super) fn wait(&mut self, id: JobId, until: Instant, execution: Execution<'a>) {
        self.waiting.insert((until, self.waits), id);
        self.waits += 1;
        let job = &mut self.jobs[id.0];
        (job.execution, job.stage) = (Some(execution), Stage::Waiting);
        self.set_places_of_lane(id, false);
    }

    /// Begins the jobs whose wait is over, while there are places.
    pub(super) fn go_on(&mut self, now: Instant) {
        while self.wakes_at().is_some_and(|at| at <= now)
            && let Some((_, id)) = self.waiting.pop_first()
        {
            self.set_places_of_lane(id, true);
            self.is_full |= !self.has_place();
            self.begin(id);
        }
    }

    /// When the next wait is over. Where there is no place for that job, the end of another one is
    /// waited for instead.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let ((until, _), _) = self.waiting.first_key_value().filter(|_| self.has_place())?;
        Some(*until)
    }

    /// A job is in flight no more, and the next of its lane begins; returns the lane.
    pub(super) fn finish(&mut self, id: JobId) -> Option<KeyHash> {
        let lane = self.remove(id);
        if let Some(next) = lane.and_then(|lane| self.lanes.leave(lane)) {
            // Those behind a job that waited have their places again.
            if !self.jobs[next.0].has_place {
                self.set_places_of_lane(next, true);
            }
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
        self.begun.retain(|id| !is_of_it(id));
        let in_line = self.lanes.take_out(|id| is_of_it(&id));
        let heads = jobs.iter().filter(|(_, job)| {
            job.is_of(partition, generation)
                && matches!(job.stage, Stage::Executing | Stage::Waiting)
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
        let late: Vec<_> = late.map(|(_, id)| id).collect();
        let lanes = late.iter().filter_map(|id| jobs[id.0].lane);
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

    fn begin(&mut self, id: JobId) {
        self.jobs[id.0].stage = Stage::Executing;
        self.begun.push_back(id);
    }

    fn insert(&mut self, job: Job<'a>) -> JobId {
        self.bytes += job.size_bytes;
        self.places += usize::from(job.has_place);
        let id = JobId(self.jobs.insert(job));
        let Limits { in_flight_records, in_flight_bytes, .. } = self.limits;
        self.is_full = self.jobs.len() >= in_flight_records.max(1)
            || self.bytes >= in_flight_bytes
            || !self.has_place();
        id
    }

    fn remove(&mut self, id: JobId) -> Option<KeyHash> {
        self.set_place(id, false);
        let job = self.jobs.remove(id.0);
        self.bytes -= job.size_bytes;
        self.make_room();
        job.lane
    }

    fn has_place(&self) -> bool {
        self.places < self.limits.executing_records.max(1)
    }

    /// Gives a job its place, or takes it.
    fn set_place(&mut self, id: JobId, has_place: bool) {
        let had_place = std::mem::replace(&mut self.jobs[id.0].has_place, has_place);
        match (had_place, has_place) {
            (false, true) => self.places += 1,
            (true, false) => {
                self.places -= 1;
                self.make_room();
            }
            _ => {}
        }
    }

    /// Gives the head of a lane and those in line behind it their places, or takes them.
    fn set_places_of_lane(&mut self, head: JobId, has_place: bool) {
        self.set_place(head, has_place);
        let in_line: Vec<_> =
            self.jobs[head.0].lane.map_or_else(Vec::new, |lane| self.lanes.in_line(lane).collect());
        in_line.into_iter().for_each(|id| self.set_place(id, has_place));
    }

    fn make_room(&mut self) {
        let Limits { in_flight_records, in_flight_bytes, executing_records, .. } = self.limits;
        let is_full = self.places >= low(executing_records).max(1)
            || self.jobs.len() >= low(in_flight_records).max(1)
            || self.bytes >= low(in_flight_bytes);
        self.is_full &= is_full && !self.jobs.is_empty();
    }
}

/// The lower of the two watermarks: there is room below it.
const fn low(limit: usize) -> usize {
    limit - limit / 8
}
