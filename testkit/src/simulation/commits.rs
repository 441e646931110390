//! The positions that groups have committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::position::Position;
use jobstream::record::TopicPartition;

use super::fault::ForeignOffset;
use super::reopened::ForeignCommit;
use crate::broker::{Broker, CommittedOffset};

/// How far beyond the end of a log another program commits: further than it ever grows.
const BEYOND_THE_END: i64 = 1_000_000;

/// What each group had committed when it was last looked at.
pub(super) struct Commits(Vec<(Arc<str>, BTreeMap<TopicPartition, CommittedOffset>)>);

impl Commits {
    pub(super) fn of(groups: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self(groups.into_iter().map(|group| (group, BTreeMap::new())).collect())
    }

    /// The positions of a group, by its number, that are others than before.
    pub(super) fn news(
        &mut self,
        group: usize,
        broker: &Broker,
    ) -> Vec<(TopicPartition, Position)> {
        let (name, known) = &mut self.0[group];
        let before = std::mem::replace(known, broker.committed(name));
        let is_news = |(partition, offset): &(&TopicPartition, &CommittedOffset)| {
            before.get(*partition) != Some(*offset)
        };
        let position = |(partition, offset): (&TopicPartition, &CommittedOffset)| {
            let position = offset
                .position()
                .unwrap_or_else(|error| unreachable!("a topology commits positions only: {error}"));
            (partition.clone(), position)
        };
        known.iter().filter(is_news).map(position).collect()
    }

    /// Commits for a group as another program does, which has taken the partition from its owner.
    pub(super) fn overwrite(
        &mut self,
        group: usize,
        broker: &Broker,
        partition: TopicPartition,
        (offset, metadata): (ForeignOffset, Option<&'static str>),
    ) -> ForeignCommit {
        let (name, known) = &mut self.0[group];
        let was = broker.committed(name).remove(&partition).unwrap_or_default();
        let end = broker.high_watermark(&partition).unwrap_or_default();
        let offset = match offset {
            ForeignOffset::Same => was.offset,
            ForeignOffset::Back(offsets) => (was.offset - offsets).max(0),
            ForeignOffset::BeyondTheEnd => end + BEYOND_THE_END,
        };
        let before = goes_on_at(&was, end);
        let after = match offset {
            _ if offset > end => Position::at(0),
            _ if offset == was.offset && metadata.is_none() => before.clone(),
            _ => Position::at(offset),
        };
        let metadata = metadata.map_or(was.metadata, str::to_owned);
        broker.alter_committed(name.clone(), &partition, offset, metadata.clone());
        known.insert(partition.clone(), CommittedOffset { offset, metadata });
        if let Some(owner) = broker.assignment(name).get(&partition) {
            broker.expire(*owner);
        }
        ForeignCommit { group: name.clone(), partition, before, after }
    }

    /// The lowest offset of a partition that a group has not finished yet, of all that consume it.
    /// What is committed beyond the end of the log says of no record that it is finished.
    pub(super) fn frontier(
        broker: &Broker,
        groups: &[Arc<str>],
        partition: &TopicPartition,
    ) -> i64 {
        let end = broker.high_watermark(partition).unwrap_or_default();
        let of_group = |group: &Arc<str>| {
            let committed = broker.committed(group).remove(partition).unwrap_or_default();
            goes_on_at(&committed, end).frontier()
        };
        groups.iter().map(of_group).min().unwrap_or_default()
    }
}

/// Where a group goes on by what is committed for a log with this end: metadata of another program is
/// an empty set, and what is beyond the end begins anew.
fn goes_on_at(committed: &CommittedOffset, end: i64) -> Position {
    if committed.offset > end {
        return Position::at(0);
    }
    committed.position().unwrap_or(Position::at(committed.offset))
}
