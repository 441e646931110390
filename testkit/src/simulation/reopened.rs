//! Commits of other programs, and the finished records that groups are allowed to work on again.

use std::collections::BTreeSet;
use std::sync::Arc;

use jobstream::position::Position;
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sources::Reset;

use super::history::{GroupHistory, History, What};
use super::lives::{NewLife, life};

/// A commit that another program has made for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCommit {
    /// The group.
    pub group: Arc<str>,
    /// The partition.
    pub partition: TopicPartition,
    /// The life of the partition then.
    pub life: u32,
    /// The group's position before; that of a transaction that was open, which no longer counts.
    pub before: Position,
    /// Where the group goes on: at the commit's offset, or from the start if that is beyond the end
    /// of the log.
    pub after: Position,
}

impl ForeignCommit {
    /// Whether it reopens a record: the record was committed as finished, and no longer is.
    pub fn reopens(&self, partition: &TopicPartition, offset: i64) -> bool {
        self.partition == *partition
            && self.before.is_finished(offset)
            && !self.after.is_finished(offset)
    }

    /// The offsets that it reopens.
    pub(super) fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        let below = self.after.frontier()..self.before.frontier();
        let offsets = below.chain(self.before.finished_above());
        offsets.filter(|offset| self.reopens(&self.partition, *offset))
    }
}

/// The finished records that a group is allowed to work on again, after a commit of another
/// program, or after a log has lost its end and its partition begins anew. Each time explains one
/// more output of the record, also in exactly-once mode.
#[derive(Clone, Debug, Default)]
pub struct Reopened<'a> {
    commits: Vec<&'a ForeignCommit>,
    lost_ends: Vec<&'a NewLife>,
}

impl<'a> Reopened<'a> {
    /// Those of a group.
    pub(super) fn of(history: &'a History, group: &GroupHistory) -> Self {
        let (mut reopened, mut read_again) = (Self::default(), BTreeSet::new());
        for entry in &history.entries {
            let is_of_group = entry.who.is_some_and(|who| group.members.contains(&who.member));
            match &entry.what {
                What::ForeignCommit(commit) if commit.group == group.name => {
                    reopened.commits.push(commit);
                }
                What::Reset(partition, Reset::OffsetsWentBack { .. }) if is_of_group => {
                    read_again.insert(partition);
                }
                What::BeganAnew(new_life) if read_again.remove(&new_life.partition) => {
                    reopened.lost_ends.push(new_life);
                }
                _ => {}
            }
        }
        reopened
    }

    /// How often this record was reopened.
    pub fn times(&self, record: &ConsumerRecord) -> usize {
        let reopens = |commit: &&&ForeignCommit| {
            life(record) <= commit.life && commit.reopens(&record.partition, record.offset)
        };
        let is_left = |new: &&&NewLife| {
            new.partition == record.partition && life(record) < new.life && record.offset < new.from
        };
        let commits = self.commits.iter().filter(reopens).count();
        commits + self.lost_ends.iter().filter(is_left).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_no_longer_finished_is_reopened() {
        let mut before = Position::at(5);
        assert!([7, 9].into_iter().all(|offset| before.finish(offset)));
        let partition = TopicPartition::new("jobs", 0);
        let reopened = |after: i64| {
            let (group, before, partition) = ("group".into(), before.clone(), partition.clone());
            let after = Position::at(after);
            let commit = ForeignCommit { group, partition, life: 0, before, after };
            commit.offsets().collect::<Vec<_>>()
        };
        assert_eq!(reopened(3), [3, 4, 7, 9]);
        assert_eq!(reopened(5), [7, 9]);
    }
}
