//! The positions that groups have committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::position::Position;
use jobstream::record::{Topic, TopicId, TopicPartition};

use super::fault::ForeignOffset;
use super::reopened::ForeignCommit;
use crate::broker::{Broker, CommittedOffset};

/// How far beyond the end of a log another program commits: further than any log of a run grows.
const BEYOND_THE_END: i64 = 1_000_000;

/// What each group had committed at the last look.
pub(super) struct Commits {
    groups: Vec<(Arc<str>, BTreeMap<TopicPartition, CommittedOffset>)>,
    /// The topic of the jobs.
    input: Topic,
    /// The ids of that topic, each with its last life so far.
    ids: Vec<(Option<TopicId>, u32)>,
}

impl Commits {
    pub(super) fn of(
        groups: impl IntoIterator<Item = Arc<str>>,
        input: Topic,
        broker: &Broker,
    ) -> Self {
        let groups = groups.into_iter().map(|group| (group, BTreeMap::new())).collect();
        let ids = vec![(broker.topic_id(&input), 0)];
        Self { groups, input, ids }
    }

    /// The current life of the topic of the jobs.
    pub(super) fn life(&self) -> u32 {
        self.ids.last().map_or(0, |(_, life)| *life)
    }

    /// Begins the next life of the topic of the jobs, which may have a new id by now.
    pub(super) fn begin_life(&mut self, broker: &Broker) -> u32 {
        let (life, id) = (self.life() + 1, broker.topic_id(&self.input));
        self.ids.retain(|(of, _)| *of != id);
        self.ids.push((id, life));
        life
    }

    /// The life that a commit was made for: the current one, unless the commit names another topic.
    fn life_of(&self, partition: &TopicPartition, committed: &CommittedOffset) -> u32 {
        if partition.topic != self.input {
            return 0;
        }
        let commit = Position::from_commit(committed.offset, &committed.metadata);
        let id = commit.ok().and_then(|commit| commit.topic_id);
        let of_id = self.ids.iter().find(|(of, _)| id.is_some() && *of == id);
        of_id.map_or(self.life(), |(_, life)| *life)
    }

    /// The positions of a group, by its number, that have changed since the last call.
    pub(super) fn news(
        &mut self,
        group: usize,
        broker: &Broker,
    ) -> Vec<(TopicPartition, u32, Position)> {
        let (name, known) = &mut self.groups[group];
        let before = std::mem::replace(known, broker.committed(name));
        let is_news = |(partition, offset): &(&TopicPartition, &CommittedOffset)| {
            before.get(*partition) != Some(*offset)
        };
        let position = |(partition, offset): (&TopicPartition, &CommittedOffset)| {
            let position = offset
                .position()
                .unwrap_or_else(|error| unreachable!("a topology commits positions only: {error}"));
            (partition.clone(), self.life_of(partition, offset), position)
        };
        let (_, known) = &self.groups[group];
        known.iter().filter(is_news).map(position).collect()
    }

    /// Commits for a group as another program does that has taken the partition from its owner.
    pub(super) fn overwrite(
        &mut self,
        group: usize,
        broker: &Broker,
        partition: TopicPartition,
        (offset, metadata): (ForeignOffset, Option<&'static str>),
    ) -> ForeignCommit {
        let (life, is_first) = (self.life(), self.ids.len() == 1);
        let (name, known) = &mut self.groups[group];
        let was = committed(broker, name, &partition);
        let end = broker.high_watermark(&partition).unwrap_or_default();
        let offset = match offset {
            ForeignOffset::Same => was.offset,
            ForeignOffset::Back(offsets) => (was.offset - offsets).max(0),
            ForeignOffset::BeyondTheEnd => end + BEYOND_THE_END,
        };
        let (is, unstable) = (goes_on_at(&was, end), broker.unstable(name, &partition));
        // The newer commit counts, also where the transaction ends after it.
        // What it counts as finished is worked on again, also where the log has lost its end just now.
        let finished = |commit: &CommittedOffset| match commit.position() {
            Ok(position) if commit.offset < BEYOND_THE_END => position,
            _ => goes_on_at(commit, end),
        };
        let before = finished(unstable.as_ref().unwrap_or(&was));
        let after = match offset {
            _ if offset > end => Position::at(0),
            _ if offset == was.offset && metadata.is_none() => is,
            // It does not name its topic: a member that knew the former topic takes it for a commit
            // of that.
            _ if !is_first => Position::at(0),
            _ => Position::at(offset),
        };
        let metadata = metadata.map_or(was.metadata, str::to_owned);
        broker.alter_committed(name.clone(), &partition, offset, metadata.clone());
        known.insert(partition.clone(), CommittedOffset { offset, metadata, leader_epoch: None });
        if let Some(owner) = broker.assignment(name).get(&partition) {
            broker.expire(*owner);
        }
        ForeignCommit { group: name.clone(), partition, life, before, after }
    }

    /// The lowest offset of a partition that some group that consumes it has not finished yet. A
    /// commit beyond the end of the log does not finish any record.
    pub(super) fn frontier(
        broker: &Broker,
        groups: &[Arc<str>],
        partition: &TopicPartition,
    ) -> i64 {
        let end = broker.high_watermark(partition).unwrap_or_default();
        let of_group =
            |group: &Arc<str>| goes_on_at(&committed(broker, group, partition), end).frontier();
        groups.iter().map(of_group).min().unwrap_or_default()
    }
}

/// What a group has committed for a partition; nothing if the commit is for a former topic.
fn committed(broker: &Broker, group: &str, partition: &TopicPartition) -> CommittedOffset {
    let is = broker.topic_id(&partition.topic);
    let is_of_it = |committed: &CommittedOffset| {
        let commit = Position::from_commit(committed.offset, &committed.metadata);
        commit.map_or(true, |commit| commit.is_of(is))
    };
    broker.committed(group).remove(partition).filter(is_of_it).unwrap_or_default()
}

/// Where a group goes on with a commit and a log with this end: metadata of another program is an
/// empty set, and a commit beyond the end means a new beginning.
fn goes_on_at(committed: &CommittedOffset, end: i64) -> Position {
    if committed.offset > end {
        return Position::at(0);
    }
    committed.position().unwrap_or(Position::at(committed.offset))
}
