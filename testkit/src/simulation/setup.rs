//! The setup of a search: the jobs, and the groups that work on them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use jobstream::position::Position;
use jobstream::record::{ProducerRecord, Topic, TopicPartition};

use super::group::Group;
use super::world::{Effect, World};
use crate::broker::{Broker, Protocol};

/// The jobs of a run, a function of its seed.
pub(super) type Jobs = Box<dyn Fn(u64) -> Vec<ProducerRecord>>;

pub(super) struct Setup<O> {
    pub(super) input: Topic,
    pub(super) partitions: i32,
    pub(super) jobs: Jobs,
    pub(super) outputs: BTreeMap<Topic, i32>,
    /// Members are numbered across all groups.
    pub(super) groups: Vec<Group<O>>,
    pub(super) effects: Vec<Effect>,
    pub(super) faults_max: usize,
}

/// Short enough that a session, or a transaction, times out while a member is paused.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
pub(super) const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);
/// A position without a set fits; no position with a set does.
const LITTLE_METADATA_BYTES: usize = 40;

impl<O> Setup<O> {
    pub(super) fn of(groups: Vec<Group<O>>) -> Self {
        Self {
            input: "jobs".into(),
            partitions: 3,
            jobs: Box::new(|_| Vec::new()),
            outputs: BTreeMap::new(),
            groups,
            effects: Vec::new(),
            faults_max: 8,
        }
    }

    pub(super) fn broker(&self, world: &World) -> Broker {
        let clock = world.clone();
        let broker = Broker::builder()
            .seed(world.seed())
            .session_timeout(SESSION_TIMEOUT)
            .transaction_timeout(TRANSACTION_TIMEOUT)
            .offset_metadata_max_bytes(Self::metadata_max_bytes(world.seed()))
            .wall_clock(move || clock.wall_clock())
            .witnessed_by(Arc::new(world.clone()))
            .build();
        broker.create_topic(self.input.clone(), self.partitions);
        for state in self.state_topics() {
            broker.create_topic(state.clone(), self.partitions);
        }
        for (topic, partitions) in &self.outputs {
            broker.create_topic(topic.clone(), *partitions);
        }
        broker
    }

    /// In every fifth run no finished set fits into a commit's metadata. A member learns that from
    /// a refusal, in each of its lives.
    const fn metadata_max_bytes(seed: u64) -> usize {
        if seed % 5 == 4 { LITTLE_METADATA_BYTES } else { Position::METADATA_MAX_BYTES }
    }

    /// Whether the metadata of a commit has room for a finished set.
    pub(super) const fn sets_fit(seed: u64) -> bool {
        Self::metadata_max_bytes(seed) > LITTLE_METADATA_BYTES
    }

    /// Whether commits name the topic that they were made for. If they can't, a commit for a
    /// deleted topic counts for the new topic of the same name.
    pub(super) const fn commits_name_topics(seed: u64) -> bool {
        Self::sets_fit(seed)
    }

    /// Every fourth run rebalances by the older protocol.
    pub(super) const fn protocol(seed: u64) -> Protocol {
        if seed % 4 == 3 { Protocol::Eager } else { Protocol::Cooperative }
    }

    /// In every third run members are static: a restart within the session takes its partitions on
    /// again, and a member that stops does not leave its group.
    pub(super) const fn members_are_static(seed: u64) -> bool {
        seed % 3 == 1
    }

    /// The groups, each with the numbers of its members.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (&Group<O>, Range<usize>)> {
        let mut next = 0;
        self.groups.iter().map(move |group| {
            let members = next..next + group.members;
            next = members.end;
            (group, members)
        })
    }

    /// The number of a member's group, and the group.
    pub(super) fn group_of(&self, member: usize) -> (usize, &Group<O>) {
        let mut groups = self.numbered().enumerate();
        let found = groups.find(|(_, (_, members))| members.contains(&member));
        let (number, (group, _)) = found.expect("a member is in a group");
        (number, group)
    }

    pub(super) fn members(&self) -> usize {
        self.groups.iter().map(|group| group.members).sum()
    }

    /// The compacted topics of keyed state.
    pub(super) fn state_topics(&self) -> impl Iterator<Item = &Topic> {
        self.groups.iter().filter_map(|group| group.state.as_ref())
    }

    pub(super) fn output_ends(&self, broker: &Broker) -> BTreeMap<TopicPartition, i64> {
        let partitions = self.outputs.keys().flat_map(|topic| broker.partitions(topic));
        let ends = partitions.filter_map(|p| broker.high_watermark(&p).map(|end| (p, end)));
        ends.collect()
    }
}
