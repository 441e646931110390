//! What the broker keeps for clients on the wire, behind its one lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::record::Topic;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::broker_config::BrokerConfigs;
use super::classic::ClassicGroup;
use super::consumer_group::ConsumerGroup;
use super::fetch_session::FetchSessions;
use super::group_config::GroupConfig;
use crate::broker::state::State;
use crate::broker::topic::TopicState;
use crate::broker::topic_config::Defaults;

#[derive(Debug, Default)]
pub(crate) struct WireState {
    pub(super) groups: BTreeMap<Arc<str>, ClassicGroup>,
    pub(super) consumer_groups: BTreeMap<Arc<str>, ConsumerGroup>,
    pub(super) fetch_sessions: FetchSessions,
    /// Those that clients have given rise to; the traits see none of them.
    pub(crate) internal_topics: BTreeMap<Topic, TopicState>,
    /// What the configuration of the broker says of topics.
    pub(crate) topic_defaults: Defaults,
    pub(super) broker_configs: BrokerConfigs,
    pub(super) group_configs: BTreeMap<String, GroupConfig>,
    /// How many member ids there ever were.
    pub(super) member_ids: u64,
    deadline_moved: Arc<Notify>,
}

impl WireState {
    /// Is notified when something is to end sooner than before.
    pub(super) fn deadline_moved(&self) -> Arc<Notify> {
        self.deadline_moved.clone()
    }

    /// Says that something may end sooner than before.
    pub(crate) fn move_deadline(&self) {
        self.deadline_moved.notify_one();
    }

    /// Whether clients are members of this group.
    pub(crate) fn has_members(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|group| !group.is_unused())
    }

    /// When the next session or rebalance times out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let consumers = self.consumer_groups.values().filter_map(ConsumerGroup::next_deadline);
        self.groups.values().filter_map(ClassicGroup::next_deadline).chain(consumers).min()
    }

    /// Ends the sessions and the rebalances whose time is over.
    pub(crate) fn expire_overdue(&mut self, now: Instant) {
        self.groups.values_mut().for_each(|group| group.expire_overdue(now));
        self.consumer_groups.values_mut().for_each(|group| group.expire_overdue(now));
    }
}

impl State {
    /// Ends the session of a member that has joined by the wire, or of all of them.
    pub(super) fn expel(&mut self, group_id: &str, member: Option<&str>, now: Instant) {
        if let Some(group) = self.wire.groups.get_mut(group_id) {
            group.expel(member, now);
        }
        if let Some(group) = self.wire.consumer_groups.get_mut(group_id) {
            group.expel(member);
        }
        self.wire.move_deadline();
    }
}
