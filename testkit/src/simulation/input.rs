//! The topic of the jobs: the faults that it suffers, and the commits for it.

use std::collections::BTreeMap;

use jobstream::position::Position;
use jobstream::record::{ConsumerRecord, Topic, TopicPartition};

use super::cast::Cast;
use super::commits::Commits;
use super::fault::ForeignOffset;
use super::history::What;
use super::lives::NewLife;
use super::workload::Workload;
use super::world::World;
use crate::broker::{Broker, Isolation};

pub(super) struct Input<'a> {
    world: World,
    broker: Broker,
    cast: &'a dyn Cast,
    topic: Topic,
    commits: Commits,
    workload: Workload,
    /// The jobs that were removed from the topic.
    gone: Vec<ConsumerRecord>,
    /// The partitions that have lost their ends, each with the first lost offset. No new job comes
    /// until each member that has read further has noticed.
    lost_ends: BTreeMap<TopicPartition, i64>,
}

impl<'a> Input<'a> {
    pub(super) fn new(
        world: World,
        broker: Broker,
        cast: &'a dyn Cast,
        workload: Workload,
    ) -> Self {
        let groups = cast.groups().into_iter().map(|(group, _)| group);
        let (topic, lost_ends) = (cast.input(), BTreeMap::new());
        let commits = Commits::of(groups, topic.clone(), &broker);
        Self { world, broker, cast, topic, commits, workload, gone: Vec::new(), lost_ends }
    }

    /// The positions of a group, by its number, that have changed since the last call, each with
    /// the life of its partition.
    pub(super) fn news(&mut self, group: usize) -> Vec<(TopicPartition, u32, Position)> {
        self.commits.news(group, &self.broker)
    }

    /// Ends the run: counts lost ends that no member has noticed yet as well. Returns the jobs that
    /// were removed from the topic.
    pub(super) fn end(&mut self) -> Vec<ConsumerRecord> {
        self.grow_all();
        std::mem::take(&mut self.gone)
    }

    fn partition(&self, number: i32) -> TopicPartition {
        TopicPartition::new(self.topic.clone(), number)
    }

    /// Remembers the jobs that meet the condition, which are about to be removed.
    fn note_gone(&mut self, is_gone: impl Fn(&ConsumerRecord) -> bool) {
        let records = self.broker.records(&self.topic, Isolation::ReadCommitted);
        self.gone.extend(records.into_iter().filter(is_gone));
    }

    /// Removes the jobs that every consuming group has finished, and this many offsets more. The
    /// last record stays, as Kafka keeps its active segment: a member that reads it is notified of
    /// the removed ones.
    pub(super) fn truncate(&mut self, partition: i32, beyond: i64) {
        let partition = self.partition(partition);
        let groups = self.cast.groups().into_iter();
        let groups = groups.filter(|(_, topics)| topics.contains(&self.topic));
        let groups: Vec<_> = groups.map(|(group, _)| group).collect();
        let last = self.broker.high_watermark(&partition).unwrap_or_default() - 1;
        let before = (Commits::frontier(&self.broker, &groups, &partition) + beyond).min(last);
        self.note_gone(|record| record.partition == partition && record.offset < before);
        self.broker.truncate(&partition, before);
        self.world.note(None, What::Removed { partition, before });
    }

    /// Deletes the topic and creates it again, unless commits do not name their topic: then a
    /// commit for the former topic could not be distinguished from one for the new topic.
    pub(super) fn recreate(&mut self, jobs: usize) {
        if !self.cast.commits_name_topics() {
            return;
        }
        self.grow_all();
        self.note_gone(|_| true);
        let partitions = self.broker.partitions(&self.topic);
        self.broker.recreate_topic(self.topic.clone(), partitions.len() as i32);
        let life = self.begin_life();
        for partition in partitions {
            let new_life = NewLife { partition, from: 0, life, is_recreated: true };
            self.world.note(None, What::BeganAnew(new_life));
        }
        self.workload.produce(jobs);
    }

    /// Removes the last records of a partition.
    pub(super) fn lose_end(&mut self, partition: i32, offsets: i64) {
        let partition = self.partition(partition);
        let start = self.broker.log_start_offset(&partition).unwrap_or_default();
        let end = self.broker.high_watermark(&partition).unwrap_or_default();
        let from = (end - offsets).max(start);
        if from == end || self.lost_ends.contains_key(&partition) {
            return;
        }
        self.note_gone(|record| record.partition == partition && record.offset >= from);
        self.broker.lose_end(&partition, from);
        self.workload.hold();
        self.lost_ends.insert(partition, from);
    }

    /// Lets new jobs come once every member has noticed the lost ends.
    pub(super) fn grow(&mut self) {
        if self.lost_ends.is_empty() {
            return;
        }
        let broker = &self.broker;
        let (waiting, known) = std::mem::take(&mut self.lost_ends)
            .into_iter()
            .partition(|(partition, _)| broker.is_outrun(partition));
        self.lost_ends = waiting;
        let known: BTreeMap<_, _> = known;
        known.into_iter().for_each(|end| self.grow_again(end));
    }

    fn grow_all(&mut self) {
        std::mem::take(&mut self.lost_ends).into_iter().for_each(|end| self.grow_again(end));
    }

    fn grow_again(&mut self, (partition, from): (TopicPartition, i64)) {
        let life = self.begin_life();
        let new_life = NewLife { partition, from, life, is_recreated: false };
        self.world.note(None, What::BeganAnew(new_life));
        if self.lost_ends.is_empty() {
            self.workload.release();
        }
    }

    fn begin_life(&mut self) -> u32 {
        let life = self.commits.begin_life(&self.broker);
        self.workload.begin_life(life);
        life
    }

    pub(super) fn commit_as_another_program(
        &mut self,
        partition: i32,
        commit: (ForeignOffset, Option<&'static str>),
    ) {
        let partition = self.partition(partition);
        let groups = self.cast.groups();
        let group = groups.iter().position(|(_, topics)| topics.contains(&partition.topic));
        let Some(group) = group else { return };
        let made = self.commits.overwrite(group, &self.broker, partition, commit);
        self.world.note(None, What::ForeignCommit(made));
    }
}
