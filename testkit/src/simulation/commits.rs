//! The positions that groups have committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::position::Position;
use jobstream::record::TopicPartition;

use crate::broker::{Broker, CommittedOffset};

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

    /// The lowest offset of a partition that a group has not finished yet, of all that consume it.
    pub(super) fn frontier(
        broker: &Broker,
        groups: &[Arc<str>],
        partition: &TopicPartition,
    ) -> i64 {
        let of_group = |group: &Arc<str>| {
            broker.committed(group).get(partition).map_or(0, |committed| committed.offset)
        };
        groups.iter().map(of_group).min().unwrap_or_default()
    }
}
