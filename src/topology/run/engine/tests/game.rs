//! A run of which the dice are the outside world, and what must hold in it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::channel::mpsc::unbounded;
use futures::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

use super::script::{Dice, LIMITS, NoCalls, QUOTA, Script, lane_of, quota_of};
use crate::position::{PartitionPosition, Position};
use crate::record::{ConsumerRecord, Generation, ProducerRecord, TopicId, TopicPartition};
use crate::sinks::{Published, SinkError};
use crate::sources::{Assignment, CommitError, Reset, SourceEvent};
use crate::state::StoreError;
use crate::topology::punctuator::Punctuation;
use crate::topology::run::assignments::Assigned;
use crate::topology::run::command::{Command, Input};
use crate::topology::run::engine::Engine;
use crate::topology::run::jobs::JobId;
use crate::topology::run::outbox::Outbox;
use crate::topology::run::punctuations::Punctuated;
use crate::topology::stages::{ExecutionEnd, Finished, Wait};
use crate::topology::{Event, Topology};

const KEYS: usize = 5;
const WINDOW: i64 = 40;

/// A partition as the source has it.
pub(super) struct AtSource {
    name: TopicPartition,
    generation: Generation,
    holding: Holding,
    is_paused: bool,
    next: i64,
    committed: Option<Position>,
    /// Delivered under this generation, and not finished.
    unfinished: BTreeSet<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    Nobody,
    Assigned,
    Revoked,
}

pub(super) type FinishedRecords = Arc<Mutex<Vec<(TopicPartition, Generation, i64)>>>;

/// A run of which the dice are the outside world.
pub(super) struct Game<'a> {
    engine: Engine<'a>,
    now: Instant,
    partitions: Vec<AtSource>,
    finished: FinishedRecords,
    executing: Vec<(JobId, Finished)>,
    /// The places of jobs that were executed.
    ended: BTreeSet<(TopicPartition, i64)>,
    /// The keys under way, from the execution to the fate: the record, and whether it waits.
    busy: BTreeMap<u8, ((TopicPartition, Generation, i64), bool)>,
    publishes: Vec<Outbox>,
    commits: Vec<Vec<PartitionPosition>>,
    releases: Vec<Vec<Assigned>>,
    restores: BTreeSet<i32>,
    is_asked_for_the_id: bool,
    calls: BTreeMap<TopicPartition, Generation>,
    commits_with_batches: bool,
    /// Whether batches overlap.
    overlaps: bool,
    is_stopping: bool,
    pub(super) inputs: u64,
}

fn place(record: &ConsumerRecord) -> (TopicPartition, i64) {
    (record.partition.clone(), record.offset)
}

pub(super) fn topology(is_stateful: bool, finished: &FinishedRecords) -> Topology {
    let finished = finished.clone();
    let observer = move |event: &Event<'_>| {
        if let Event::Finished { record, .. } = event {
            let ConsumerRecord { partition, generation, offset, .. } = record;
            finished.lock().unwrap().push((partition.clone(), *generation, *offset));
        }
    };
    Topology::new(Arc::new(Script { is_stateful }))
        .with_limits(LIMITS)
        .with_observer(Arc::new(observer))
        .with_punctuator(Duration::from_millis(700), Arc::new(NoCalls))
}

impl<'a> Game<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        finished: FinishedRecords,
        commits_with_batches: bool,
    ) -> Self {
        let (sender, _) = unbounded();
        let (now, batches) = (Instant::now(), if commits_with_batches { 1 } else { 4 });
        let store = topology.pipeline.is_stateful().then(|| "state".into());
        let names = [("jobs", 0), ("jobs", 1), ("jobs", 2), ("others", 1)];
        let partitions = names.map(|(topic, number)| AtSource {
            name: TopicPartition::new(topic, number),
            generation: 0,
            holding: Holding::Nobody,
            is_paused: false,
            next: 0,
            committed: None,
            unfinished: BTreeSet::new(),
        });
        let mut engine = Engine::new(topology, store, sender, batches, now);
        engine.set_window(WINDOW);
        Self {
            engine,
            now,
            partitions: partitions.into(),
            finished,
            executing: Vec::new(),
            ended: BTreeSet::new(),
            busy: BTreeMap::new(),
            publishes: Vec::new(),
            commits: Vec::new(),
            releases: Vec::new(),
            restores: BTreeSet::new(),
            is_asked_for_the_id: false,
            calls: BTreeMap::new(),
            commits_with_batches,
            overlaps: !commits_with_batches && topology.pipeline.has_lanes(),
            is_stopping: false,
            inputs: 0,
        }
    }

    /// Lets something happen, and the engine advance.
    pub(super) fn step(&mut self, dice: &mut Dice) {
        match dice.below(24) {
            0..9 => self.yield_records(dice),
            9..16 => self.end_jobs(dice),
            16..19 => self.end_an_effect(dice),
            19 => self.answer_the_rest(dice),
            20 => self.rebalance(dice),
            21 => self.input(Input::Ready(!dice.one_in(4))),
            22 => self.now += Duration::from_millis(dice.below(60) as u64),
            _ => self.now = self.now.max(self.engine.wakes_at()),
        }
        self.advance();
    }

    fn input(&mut self, input: Input<'a>) {
        self.inputs += 1;
        self.engine.handle(input, self.now).unwrap();
        self.obey();
    }

    fn advance(&mut self) {
        self.engine.advance(self.now).unwrap();
        self.obey();
        assert!(self.engine.records.in_flight() <= LIMITS.in_flight_records, "limits hold");
        assert!(
            self.engine.wakes_at() >= self.now || self.engine.drained().is_some() || self.is_due()
        );
    }

    /// Whether something is due that the next turn begins.
    fn is_due(&self) -> bool {
        !self.engine.records.outbox().is_empty() || self.engine.records.assignments().have_news()
    }

    fn obey(&mut self) {
        self.note_what_is_finished();
        while let Some(command) = self.engine.next() {
            match command {
                Command::Execute(job, execution) => self.execute(job, execution),
                Command::Cancel(jobs) => {
                    assert!(jobs.is_sorted(), "in ascending order");
                    let before = self.executing.len();
                    for (job, finished) in &self.executing {
                        if jobs.contains(job) {
                            let key = lane_of(&finished.record);
                            key.into_iter().for_each(|key| drop(self.busy.remove(&key)));
                        }
                    }
                    self.executing.retain(|(job, _)| !jobs.contains(job));
                    assert_eq!(before - self.executing.len(), jobs.len(), "they were executing");
                }
                Command::Pause(names) => self.set_paused(&names, true),
                Command::Resume(names) => self.set_paused(&names, false),
                Command::Publish(batch) => self.publish(batch),
                Command::Commit(positions) => {
                    assert!(self.commits.is_empty() && self.releases.is_empty(), "one at a time");
                    assert!(self.overlaps || self.publishes.is_empty());
                    positions.iter().for_each(|position| self.check(position, &[]));
                    self.commits.push(positions);
                }
                Command::Release(assigned) => {
                    assert!(self.commits.is_empty() && self.publishes.is_empty(), "at rest");
                    self.releases.push(assigned);
                }
                Command::Restore(number) => assert!(self.restores.insert(number), "once at a time"),
                Command::EndRestore(number) => drop(self.restores.remove(&number)),
                Command::Identify => self.is_asked_for_the_id = true,
                Command::Punctuate(generation, Punctuation { partition, .. }) => {
                    assert_eq!(self.holding(&partition, generation), Some(Holding::Assigned));
                    assert!(self.calls.insert(partition, generation).is_none(), "one at a time");
                }
                Command::EndPunctuation(partition) => drop(self.calls.remove(&partition)),
            }
        }
    }

    fn note_what_is_finished(&mut self) {
        for (name, generation, offset) in self.finished.lock().unwrap().drain(..) {
            let place = (name, generation, offset);
            self.busy.retain(|_, (busy, _)| *busy != place);
            let mut partitions = self.partitions.iter_mut();
            let of_it = |p: &&mut AtSource| p.name == place.0 && p.generation == generation;
            let partition = partitions.find(of_it).expect("what is finished is assigned");
            assert!(partition.unfinished.remove(&offset), "{place:?} is finished once");
        }
    }

    /// A job begins: its partition is there, and no other job of its key is under way.
    fn execute(&mut self, job: JobId, execution: BoxFuture<'a, ExecutionEnd<'a>>) {
        let Some(ExecutionEnd::Finished(finished)) = execution.now_or_never() else {
            unreachable!()
        };
        let ConsumerRecord { partition, generation, offset, .. } = &finished.record;
        let holding = self.holding(partition, *generation);
        assert!(holding.is_some_and(|holding| holding != Holding::Nobody), "begun after a loss");
        let place = (partition.clone(), *generation, *offset);
        if let Some(lane) = lane_of(&finished.record) {
            let other = self.busy.insert(lane, (place.clone(), false));
            // What waits in a drain for longer than that is cut off.
            let drains = self.is_stopping || holding == Some(Holding::Revoked);
            let is_free = other.is_none_or(|(other, waits)| other == place || waits && drains);
            assert!(is_free, "{place:?} beside another of its key");
        }
        self.executing.push((job, finished));
        self.check_quotas();
    }

    /// No key has more jobs that execute than its limit, beside those that were executed before a
    /// loss and go to the outbox.
    fn check_quotas(&self) {
        let mut executing: BTreeMap<u8, usize> = BTreeMap::new();
        for (_, finished) in &self.executing {
            let record = &finished.record;
            if let Some(quota) = quota_of(record).filter(|_| !self.ended.contains(&place(record))) {
                *executing.entry(quota).or_default() += 1;
            }
        }
        assert!(executing.values().all(|jobs| *jobs <= QUOTA), "{executing:?}");
    }

    fn publish(&mut self, batch: Outbox) {
        let mut releasing = self.releases.iter().flatten();
        let is_over = |(name, generation): &Assigned| !self.is_held(name, *generation);
        assert!(releasing.all(is_over), "nothing is published beside a release");
        let at_once = if self.overlaps { 3 } else { 0 };
        assert!(self.publishes.len() <= at_once, "batches overlap as far as they may");
        assert!(self.overlaps || self.commits.is_empty());
        let in_batch: Vec<_> = batch
            .items()
            .filter_map(|item| Some((item.assignment().0.clone(), item.offset()?)))
            .collect();
        let positions = &batch.batch().positions;
        assert!(!self.overlaps || positions.is_empty());
        positions.iter().for_each(|position| self.check(position, &in_batch));
        self.publishes.push(batch);
    }

    /// A position never passes an unfinished record that is not in its batch.
    fn check(&self, position: &PartitionPosition, in_batch: &[(TopicPartition, i64)]) {
        let PartitionPosition { partition, generation, position } = position;
        let Some(at) = self.partitions.iter().find(|p| p.name == *partition) else { return };
        if at.generation != *generation || at.holding == Holding::Nobody {
            return;
        }
        assert!(position.frontier() <= at.next, "{partition}: a position beyond its records");
        for offset in &at.unfinished {
            let is_published = || in_batch.contains(&(partition.clone(), *offset));
            let is_true = !position.is_finished(*offset) || is_published();
            assert!(is_true, "{partition}: {position:?} passes {offset}, which is not finished");
        }
    }

    fn holding(&self, name: &TopicPartition, generation: Generation) -> Option<Holding> {
        let mut partitions = self.partitions.iter();
        partitions.find(|p| p.name == *name && p.generation == generation).map(|p| p.holding)
    }

    fn set_paused(&mut self, names: &[TopicPartition], is_paused: bool) {
        for partition in self.partitions.iter_mut().filter(|p| names.contains(&p.name)) {
            assert_ne!(partition.is_paused, is_paused, "{} is so already", partition.name);
            partition.is_paused = is_paused;
        }
    }

    fn yield_records(&mut self, dice: &mut Dice) {
        let index = dice.below(self.partitions.len());
        for _ in 0..=dice.below(24) {
            let partition = &mut self.partitions[index];
            if partition.holding != Holding::Assigned
                || partition.is_paused
                || !self.engine.is_open()
            {
                return;
            }
            partition.next += i64::from(dice.one_in(8));
            let offset = partition.next;
            partition.next += 1;
            let was_finished =
                partition.committed.as_ref().is_some_and(|committed| committed.is_finished(offset));
            if !was_finished {
                partition.unfinished.insert(offset);
            }
            let key = (index * KEYS + dice.below(KEYS + 1)) as u8;
            let (name, generation) = (partition.name.clone(), partition.generation);
            let record =
                ConsumerRecord::new(name, offset, generation).value(vec![dice.below(256) as u8]);
            let record = if usize::from(key) % KEYS == 0 { record } else { record.key(vec![key]) };
            self.input(Input::Source(SourceEvent::Record(record)));
        }
    }

    fn end_jobs(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.below(24) {
            if self.executing.is_empty() {
                return;
            }
            let (job, finished) = self.executing.swap_remove(dice.below(self.executing.len()));
            if dice.one_in(16) {
                let delay = Duration::from_millis(dice.below(3_000) as u64);
                let key = lane_of(&finished.record);
                let busy = key.and_then(|key| self.busy.get_mut(&key));
                busy.into_iter().for_each(|(_, waits)| *waits = true);
                let execution = ready(ExecutionEnd::Finished(finished)).boxed();
                let wait = Wait { delay, for_sink: dice.one_in(2) };
                self.input(Input::Waits(job, wait, execution));
            } else {
                self.ended.insert(place(&finished.record));
                self.input(Input::Done(job, finished));
            }
        }
    }

    fn end_an_effect(&mut self, dice: &mut Dice) {
        let (took, is_well) = (Duration::ZERO, !dice.one_in(6));
        if !self.publishes.is_empty() {
            let batch = self.publishes.remove(dice.below(self.publishes.len()));
            let positions = &batch.batch().positions;
            let is_fenced = positions.iter().any(|it| !self.is_held(&it.partition, it.generation));
            let published = match self.commits_with_batches {
                true => Published::records_and_positions(),
                false => Published::records(),
            };
            let result = match is_well && !is_fenced {
                true => Ok(published),
                false => Err(SinkError::aborted("by the dice")),
            };
            if result.is_ok() && self.commits_with_batches {
                let positions = positions.clone();
                positions.iter().for_each(|position| self.commit(position));
            }
            self.input(Input::Published(batch, result, took));
        } else if let Some(positions) = self.commits.pop() {
            let is_fenced = positions.iter().any(|it| !self.is_held(&it.partition, it.generation));
            let result = match (is_fenced, is_well) {
                (true, _) => Err(CommitError::fenced("lost")),
                (false, false) => Err(CommitError::transient("by the dice")),
                (false, true) => Ok(()),
            };
            if result.is_ok() {
                positions.iter().for_each(|position| self.commit(position));
            }
            self.input(Input::Committed(positions, result, took));
        } else if let Some(assigned) = self.releases.pop() {
            for (name, generation) in &assigned {
                let mut partitions = self.partitions.iter_mut();
                let of_it = |p: &&mut AtSource| p.name == *name && p.generation == *generation;
                let released = partitions.find(of_it).filter(|p| p.holding == Holding::Revoked);
                released.into_iter().for_each(|partition| partition.holding = Holding::Nobody);
            }
            self.forget_busy();
            self.input(Input::Released(assigned, Ok(())));
        }
    }

    fn is_held(&self, name: &TopicPartition, generation: Generation) -> bool {
        self.holding(name, generation).is_some_and(|holding| holding != Holding::Nobody)
    }

    fn commit(&mut self, PartitionPosition { partition, position, .. }: &PartitionPosition) {
        let committed = self.partitions.iter_mut().find(|p| p.name == *partition);
        committed.into_iter().for_each(|p| p.committed = Some(position.clone()));
    }

    fn answer_the_rest(&mut self, dice: &mut Dice) {
        if let Some(number) = self.restores.pop_first() {
            let missing = || StoreError::missing("no such partition");
            let result = if dice.one_in(3) { Err(missing()) } else { Ok(Vec::new()) };
            self.input(Input::Restored(number, result));
        }
        if std::mem::take(&mut self.is_asked_for_the_id) {
            let id = (!dice.one_in(3)).then(|| TopicId::new(dice.below(2) as u128));
            self.input(Input::Identified(id));
        }
        if let Some((partition, generation)) = self.calls.pop_first() {
            let outputs = vec![ProducerRecord::to("timers"); dice.below(2)];
            self.input(Input::Punctuated(Punctuated { partition, generation, outputs }));
        }
    }

    fn rebalance(&mut self, dice: &mut Dice) {
        let index = dice.below(self.partitions.len());
        let partition = &mut self.partitions[index];
        let name = partition.name.clone();
        match (partition.holding, dice.below(4)) {
            (Holding::Nobody, _) => self.assign(index, None),
            (Holding::Assigned, 0) => {
                partition.holding = Holding::Revoked;
                self.input(Input::Source(SourceEvent::Revoked(vec![name])));
            }
            (Holding::Assigned, 1) => {
                let to = dice.below(20) as i64;
                partition.committed = Some(Position::at(to));
                let from = partition.next;
                self.assign(index, Some(Reset::OffsetsWentBack { from, to }));
            }
            (_, 2) => {
                let everything = dice.one_in(2);
                let held = |p: &&mut AtSource| {
                    p.name == name || everything && p.holding != Holding::Nobody
                };
                let lost = self.partitions.iter_mut().filter(held).map(|partition| {
                    partition.holding = Holding::Nobody;
                    partition.name.clone()
                });
                let lost = lost.collect();
                self.forget_busy();
                self.input(Input::Source(SourceEvent::Lost(lost)));
            }
            _ => {}
        }
    }

    fn assign(&mut self, index: usize, reset: Option<Reset>) {
        let partition = &mut self.partitions[index];
        partition.generation += 1;
        (partition.holding, partition.is_paused) = (Holding::Assigned, false);
        partition.next = partition.committed.as_ref().map_or(0, Position::frontier);
        partition.unfinished.clear();
        let assignment = Assignment {
            partition: partition.name.clone(),
            generation: partition.generation,
            position: partition.committed.clone(),
            reset,
        };
        self.forget_busy();
        self.input(Input::Source(SourceEvent::Assigned(vec![assignment])));
    }

    /// Keys of assignments that are over are under way no more.
    fn forget_busy(&mut self) {
        let busy = std::mem::take(&mut self.busy).into_iter();
        self.busy = busy
            .filter(|(_, ((name, generation, _), _))| self.is_held(name, *generation))
            .collect();
    }

    /// Asks the run to stop, lets everything end well, and expects its end.
    pub(super) fn come_to_the_end(&mut self, dice: &mut Dice) {
        self.is_stopping = true;
        self.input(Input::Shutdown);
        let streams = |p: &AtSource| p.holding == Holding::Assigned && !p.is_paused;
        assert!(!self.partitions.iter().any(streams), "nothing is fetched after the shutdown");
        for _ in 0..100_000 {
            if self.engine.drained().is_some() {
                assert!(self.engine.now <= self.engine.stop.unwrap().1);
                return;
            }
            match dice.below(4) {
                0 => self.end_jobs(dice),
                1 => self.end_an_effect(dice),
                2 => self.answer_the_rest(dice),
                _ => self.now = self.now.max(self.engine.wakes_at()),
            }
            self.advance();
        }
        panic!("the run does not come to its end");
    }
}
