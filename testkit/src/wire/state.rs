//! What the broker keeps for clients on the wire, behind its one lock.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::classic::ClassicGroup;

#[derive(Debug, Default)]
pub(crate) struct WireState {
    pub(super) groups: BTreeMap<Arc<str>, ClassicGroup>,
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
    pub(super) fn move_deadline(&self) {
        self.deadline_moved.notify_one();
    }

    /// When the next session or rebalance times out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.groups.values().filter_map(ClassicGroup::next_deadline).min()
    }

    /// Ends the sessions and the rebalances whose time is over.
    pub(crate) fn expire_overdue(&mut self, now: Instant) {
        self.groups.values_mut().for_each(|group| group.expire_overdue(now));
    }
}
