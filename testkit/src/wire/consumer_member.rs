//! A member of a group whose partitions the broker assigns (KIP-848).

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::assignors::{Assignor, TopicIdPartition};

/// What a member has said about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) topic_names: BTreeSet<String>,
    pub(super) topic_regex: Option<String>,
    pub(super) assignor: Option<Assignor>,
}

#[derive(Clone, Debug)]
pub(super) struct ConsumerMember {
    pub(super) described: Described,
    /// The epoch that the member has reached, and the one before.
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    /// The partitions that it may read.
    pub(super) assigned: BTreeSet<TopicIdPartition>,
    /// Those that it has read and is to give up.
    pub(super) revoking: BTreeSet<TopicIdPartition>,
    /// Whether it waits for partitions that others have to give up.
    pub(super) waits: bool,
    /// What it is to read once all have done their part.
    pub(super) target: BTreeSet<TopicIdPartition>,
    pub(super) session_ends: Instant,
    /// Until when it may give up what it has to.
    pub(super) revocation_ends: Option<Instant>,
}

impl ConsumerMember {
    pub(super) const fn new(described: Described, session_ends: Instant) -> Self {
        Self {
            described,
            epoch: 0,
            previous_epoch: -1,
            assigned: BTreeSet::new(),
            revoking: BTreeSet::new(),
            waits: false,
            target: BTreeSet::new(),
            session_ends,
            revocation_ends: None,
        }
    }

    /// Whether it holds a partition, be it to give it up.
    pub(super) fn holds(&self, part: &TopicIdPartition) -> bool {
        self.assigned.contains(part) || self.revoking.contains(part)
    }

    /// Whether it has all that it is to have, and nothing else, under this epoch.
    pub(super) fn is_stable(&self, epoch: i32) -> bool {
        self.epoch == epoch && self.revoking.is_empty() && !self.waits
    }

    /// Goes on towards the target, as far as others let it. `owned` is what it says that it reads, if
    /// it says so; `is_free` tells whether nobody else holds a partition.
    pub(super) fn reconcile(
        &mut self,
        target_epoch: i32,
        owned: Option<&BTreeSet<TopicIdPartition>>,
        is_free: impl Fn(&TopicIdPartition) -> bool,
        now: Instant,
    ) {
        let (mut epoch, mut given_up) = (self.epoch, BTreeSet::new());
        if !self.revoking.is_empty() {
            // Only the member knows that it has stopped.
            let has_stopped = owned.is_some_and(|owned| owned.is_disjoint(&self.revoking));
            if !has_stopped {
                return;
            }
            // What it has just given up is free at the next heartbeat, for itself, too.
            given_up = std::mem::take(&mut self.revoking);
            self.revocation_ends = None;
            epoch += 1;
        } else if self.is_stable(target_epoch) {
            return;
        }
        let lost: BTreeSet<TopicIdPartition> =
            self.assigned.difference(&self.target).copied().collect();
        self.assigned.retain(|part| self.target.contains(part));
        let reads_lost = owned.is_none_or(|owned| !owned.is_disjoint(&lost));
        if !lost.is_empty() && reads_lost {
            self.revoking = lost;
            self.revocation_ends = Some(now + self.described.rebalance_timeout);
            (self.previous_epoch, self.epoch) = (self.epoch, epoch);
            return;
        }
        let missing = self.target.difference(&self.assigned).copied();
        let (free, held): (Vec<_>, Vec<_>) =
            missing.partition(|part| is_free(part) && !given_up.contains(part));
        self.assigned.extend(free);
        self.waits = !held.is_empty();
        (self.previous_epoch, self.epoch) = (self.epoch, target_epoch);
    }
}
