//! A group: members that run one topology.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, Topic};
use jobstream::topology::{Limits, Topology};

use super::history::Identity;
use super::member::Member;
use crate::broker::Operation;

/// How outputs and positions become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Outputs first, positions later.
    #[default]
    AtLeastOnce,
    /// Outputs and positions in one transaction.
    ExactlyOnce,
}

/// Makes the topology for one life of a member.
type Executor<O> = Box<dyn Fn(&Member<O>) -> Topology>;

/// Members that run one topology from the topics that they consume to those of their outputs. If
/// the outputs of one group are the jobs of another, a search covers the whole chain.
pub struct Group<O = ()> {
    pub(super) name: Arc<str>,
    pub(super) topics: Vec<Topic>,
    pub(super) topology: Executor<O>,
    pub(super) members: usize,
    /// The topic on which keyed state outlives its member.
    pub(super) state: Option<Topic>,
    pub(super) identity: Identity,
    pub(super) delivery: Delivery,
    pub(super) limits: Limits,
    pub(super) attempts_max: Option<u32>,
    pub(super) attempt_timeout: Option<Duration>,
    pub(super) limited_by: Option<(Identity, usize)>,
}

impl<O> Group<O> {
    /// A group of two members. `topology` makes the topology for each life of a member. If there
    /// are several topics, a member has the same partitions of each, as the assignor `range`
    /// assigns them.
    pub fn new<T: Into<Topic>>(
        name: impl Into<Arc<str>>,
        topics: impl IntoIterator<Item = T>,
        topology: impl Fn(&Member<O>) -> Topology + 'static,
    ) -> Self {
        let limits = Limits::new()
            .in_flight_records(16)
            .drain_timeout(Duration::from_secs(30))
            .shutdown_timeout(Duration::from_secs(30))
            .close_timeout(Duration::from_secs(20));
        Self {
            name: name.into(),
            topics: topics.into_iter().map(Into::into).collect(),
            topology: Box::new(topology),
            members: 2,
            state: None,
            identity: |record| record.value.clone(),
            delivery: Delivery::default(),
            limits,
            attempts_max: None,
            attempt_timeout: None,
            limited_by: None,
        }
    }

    /// How many members it has; two by default.
    #[must_use]
    pub const fn members(mut self, members: usize) -> Self {
        self.members = members;
        self
    }

    /// A compacted topic for the members' keyed state, with one partition for each partition of the
    /// jobs.
    #[must_use]
    pub fn state(mut self, topic: impl Into<Topic>) -> Self {
        self.state = Some(topic.into());
        self
    }

    /// The identity of a record, both as input of this group and as its output; inputs must have
    /// different identities. `None` for an input that has no output of its own, and for a record
    /// that is not an output of this group. The record's value by default.
    #[must_use]
    pub fn identified_by(mut self, identity: fn(&ConsumerRecord) -> Option<Bytes>) -> Self {
        self.identity = identity;
        self
    }

    /// How outputs and positions become durable; at least once by default.
    #[must_use]
    pub const fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// The limits of every member; 16 records in flight and half a minute to drain by default.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The most attempts that a job may have in one assignment, not counting those that found the
    /// sink unavailable; not checked by default.
    #[must_use]
    pub const fn attempts_max(mut self, attempts: u32) -> Self {
        self.attempts_max = Some(attempts);
        self
    }

    /// How long an attempt may take; not checked by default.
    #[must_use]
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// The key by which jobs are limited, of an input, and how many jobs with one key a member may
    /// execute at once; not checked by default.
    #[must_use]
    pub fn limited_by(
        mut self,
        key: fn(&ConsumerRecord) -> Option<Bytes>,
        executing_max: usize,
    ) -> Self {
        self.limited_by = Some((key, executing_max));
        self
    }

    /// The operations of its members' sources, sinks and stores.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = vec![
            Operation::Join,
            Operation::Fetch,
            Operation::Publish,
            Operation::Commit,
            Operation::Release,
            Operation::Leave,
        ];
        if self.delivery == Delivery::ExactlyOnce {
            operations.extend([Operation::BeginTransaction, Operation::EndTransaction]);
        }
        operations.extend(self.state.as_ref().map(|_| Operation::Restore));
        operations
    }
}

impl<O> fmt::Debug for Group<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("name", &self.name)
            .field("topics", &self.topics)
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}
