//! Commits of other programs, and the finished records that these let groups work on again.

use std::sync::Arc;

use jobstream::position::Position;
use jobstream::record::{ConsumerRecord, TopicPartition};

use super::history::{History, What};
use super::lives::life;

/// A commit that another program has made for a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignCommit {
    /// The group.
    pub group: Arc<str>,
    /// The partition.
    pub partition: TopicPartition,
    /// The life of the partition then.
    pub life: u32,
    /// The group's position until then.
    pub before: Position,
    /// Where the group is to go on: at the commit's offset, or from the start if that is beyond the
    /// end of the log.
    pub after: Position,
}

impl ForeignCommit {
    /// Whether it lets the group work again on a record that was committed as finished.
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

/// The finished records of a group that other programs have let it work on again. Each such commit
/// explains one more output of them, also in exactly-once mode.
#[derive(Clone, Debug, Default)]
pub struct Reopened<'a>(Vec<&'a ForeignCommit>);

impl<'a> Reopened<'a> {
    /// Those of a group, by its name.
    pub(super) fn of(history: &'a History, group: &str) -> Self {
        let commits = history.entries.iter().filter_map(|entry| match &entry.what {
            What::ForeignCommit(commit) if *commit.group == *group => Some(commit),
            _ => None,
        });
        Self(commits.collect())
    }

    /// How often this record was reopened.
    pub fn times(&self, record: &ConsumerRecord) -> usize {
        let reopens = |commit: &&&ForeignCommit| {
            life(record) <= commit.life && commit.reopens(&record.partition, record.offset)
        };
        self.0.iter().filter(reopens).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_finished_and_is_not_any_more_is_reopened() {
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
