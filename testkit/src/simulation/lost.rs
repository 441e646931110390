//! Inputs that were lost before a group could work on them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jobstream::position::Position;
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sources::Reset;

use super::history::{GroupHistory, History, What};
use super::lives::{Lives, NewLife, life};
use super::zombies::Zombies;

/// Records that were lost before a group worked on them.
#[derive(Clone, Debug, Default)]
pub struct Lost<'a> {
    /// The lost offsets of a partition, up to this life.
    offsets: Vec<(TopicPartition, u32, Range<i64>)>,
    lives: Lives<'a>,
}

impl<'a> Lost<'a> {
    pub(super) fn of(history: &'a History, group: &GroupHistory) -> Self {
        Self { lives: Lives::of(history), ..Self::unread(history, group) }
    }

    /// The records that existed in the last life of their partition, and that the group could not
    /// read.
    pub(super) fn unread(history: &'a History, group: &GroupHistory) -> Self {
        let mut lost = Self::default();
        lost.add_to_retention(history, group);
        lost.add_hidden(history, group);
        lost
    }

    /// Adds the offsets that retention removed before the group worked on them: those that were
    /// reported to it, and those that were removed while it had no position to compare with. A
    /// member whose partition begins anew at an offset has no position to compare lower offsets
    /// with. A report to a zombie does not count for the others.
    fn add_to_retention(&mut self, history: &History, group: &GroupHistory) {
        let (mut positioned, mut began) = (BTreeSet::new(), BTreeMap::new());
        let (mut zombies, mut now) = (Zombies::default(), 0);
        for entry in &history.entries {
            let of_group = entry.who.filter(|who| group.members.contains(&who.member));
            of_group.into_iter().for_each(|who| zombies.follow(who, entry));
            let is_live = of_group.is_some_and(|who| !zombies.contains(who));
            let mut add = |partition: &TopicPartition, offsets| {
                self.offsets.push((partition.clone(), now, offsets));
            };
            match &entry.what {
                What::BeganAnew(NewLife { partition, life, is_recreated, .. }) => {
                    now = *life;
                    if *is_recreated {
                        began.insert(partition, *life);
                        positioned.remove(partition);
                    }
                }
                What::Committed(commit)
                    if of_group.is_some()
                        && began.get(&commit.partition).is_none_or(|life| commit.life >= *life) =>
                {
                    positioned.insert(&commit.partition);
                }
                What::Truncated { partition, from, to } if is_live => add(partition, *from..*to),
                What::Reset(partition, Reset::OffsetsWentBack { to, .. }) if is_live => {
                    add(partition, 0..*to);
                }
                What::Removed { partition, before } if !positioned.contains(partition) => {
                    add(partition, 0..*before);
                }
                _ => {}
            }
        }
    }

    /// Adds the offsets above a lost end that were in the group's committed set: a member that goes
    /// on below that end can't notice that new records have these offsets.
    fn add_hidden(&mut self, history: &History, group: &GroupHistory) {
        let mut committed: BTreeMap<&TopicPartition, &Position> = BTreeMap::new();
        for entry in &history.entries {
            match &entry.what {
                What::Committed(commit)
                    if entry.who.is_some_and(|who| group.members.contains(&who.member)) =>
                {
                    committed.insert(&commit.partition, &commit.position);
                }
                What::ForeignCommit(commit) if commit.group == group.name => {
                    committed.insert(&commit.partition, &commit.after);
                }
                What::BeganAnew(NewLife { partition, is_recreated: true, .. }) => {
                    committed.remove(partition);
                }
                What::BeganAnew(NewLife { partition, from, .. }) => {
                    let set = committed.get(partition).into_iter();
                    let hidden = set.flat_map(|set| set.finished_above()).filter(|o| o >= from);
                    let hidden = hidden.map(|o| (partition.clone(), u32::MAX, o..o + 1));
                    self.offsets.extend(hidden);
                }
                _ => {}
            }
        }
    }

    /// Whether this record was lost.
    pub fn contains(&self, record: &ConsumerRecord) -> bool {
        let holds = |(partition, until, offsets): &(TopicPartition, u32, Range<i64>)| {
            *partition == record.partition
                && offsets.contains(&record.offset)
                && life(record) <= *until
        };
        self.offsets.iter().any(holds) || self.lives.have_lost(record)
    }
}
