//! A history that a test builds, of one group on one partition of records, all but one with the same key.

use std::collections::BTreeMap;
use std::time::Duration;

use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::topology::Limits;

use super::Holds;
use crate::simulation::{Delivery, GroupHistory, History, Occurrence, Place, What, Who};

/// The place of an offset in the first assignment of the partition.
pub(super) fn place(offset: i64) -> Place {
    Place { partition: TopicPartition::new("jobs", 0), generation: 1, life: 0, offset }
}

/// The offset of the one record that has another key.
pub(super) const OF_ANOTHER_KEY: i64 = 9;

fn input(offset: i64) -> ConsumerRecord {
    let key = if offset == OF_ANOTHER_KEY { "another key" } else { "key" };
    ConsumerRecord::new(place(offset).partition, offset, 0).key(key)
}

/// What has happened to the members, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct TestHistory {
    entries: Vec<Occurrence>,
    at: Duration,
    no_set_fits: bool,
}

impl TestHistory {
    pub(super) fn then(mut self, next: &[(usize, What)]) -> Self {
        for (member, what) in next {
            let who = Some(Who { member: *member, life: 1 });
            let step = self.entries.len() as u64;
            self.entries.push(Occurrence { at: self.at, step, who, what: what.clone() });
        }
        self
    }

    /// The broker takes so little metadata that no commit has room for a finished set.
    pub(super) fn with_little_metadata(mut self) -> Self {
        self.no_set_fits = true;
        self
    }

    /// Lets time pass.
    pub(super) fn after(mut self, time: Duration) -> Self {
        self.at += time;
        self
    }

    /// Adds an entry that is of no member.
    pub(super) fn then_outside(mut self, what: What) -> Self {
        let step = self.entries.len() as u64;
        self.entries.push(Occurrence { at: self.at, step, who: None, what });
        self
    }

    pub(super) fn judged(self, holds: Holds) -> Result<(), String> {
        self.judged_as(|group| group, holds)
    }

    /// Judged as a history of a group with other settings.
    pub(super) fn judged_as(
        self,
        settings: fn(GroupHistory) -> GroupHistory,
        holds: Holds,
    ) -> Result<(), String> {
        let group = settings(GroupHistory {
            name: "group".into(),
            members: 0..3,
            topics: vec!["jobs".into()],
            inputs: (0..10).map(input).collect(),
            state: Vec::new(),
            delivery: Delivery::AtLeastOnce,
            limits: Limits::default(),
            attempts_max: None,
            attempt_timeout: None,
            limited_by: None,
            identity: |_| None,
        });
        let history = History {
            seed: 0,
            entries: self.entries,
            groups: vec![group.clone()],
            outputs: BTreeMap::new(),
            uncommitted_outputs: BTreeMap::new(),
            sets_fit: !self.no_set_fits,
            settled: true,
        };
        holds(&history, &group)
    }
}
