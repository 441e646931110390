//! Sessions: how members join, leave, stop and are given up.

use jobstream::record::TopicPartition;
use tokio::time::Instant;

use super::group::Replaced;
use super::member::{Member, MemberId, Membership, Process, Subscription};
use super::state::State;

impl State {
    pub(super) fn subscribe(&mut self, subscription: Subscription) -> MemberId {
        self.members.push(Member::new(subscription));
        MemberId(self.members.len() - 1)
    }

    pub(super) fn join(&mut self, id: MemberId) {
        self.sessions += 1;
        let member = &mut self.members[id.0];
        member.membership = Membership::Joined(self.sessions);
        let subscription = member.subscription.clone();
        let group = self.groups.entry(subscription.group.clone()).or_default();
        match group.join(id, &subscription) {
            Some(Replaced { member, lost, is_alike }) => {
                self.fence_replaced(member, lost);
                match is_alike {
                    true => self.reconcile(&subscription.group),
                    false => self.rebalance(&subscription.group),
                }
            }
            None => self.rebalance(&subscription.group),
        }
    }

    /// Another process has the place of this one, which learns that it is no member any more.
    fn fence_replaced(&mut self, id: MemberId, lost: Vec<TopicPartition>) {
        let member = &mut self.members[id.0];
        member.session_ends = None;
        member.touch();
        if member.membership != Membership::Left {
            member.membership = Membership::Fenced;
            member.lose(lost);
            self.ended_sessions.push(id);
        }
    }

    /// Takes a member out of its group, and gives the partitions that it owned.
    fn remove(&mut self, id: MemberId, membership: Membership) -> Vec<TopicPartition> {
        let member = &mut self.members[id.0];
        member.membership = membership;
        member.session_ends = None;
        member.touch();
        let name = member.subscription.group.clone();
        let Some(lost) = self.groups.get_mut(&name).and_then(|group| group.remove(id)) else {
            return Vec::new();
        };
        self.rebalance(&name);
        lost
    }

    /// The member leaves for good. A static one says nothing to its group, which waits for its next
    /// process until the session ends.
    pub(super) fn leave(&mut self, id: MemberId, now: Instant) {
        let session_ends = now + self.session_timeout;
        let member = &mut self.members[id.0];
        let is_joined = matches!(member.membership, Membership::Joined(_));
        if is_joined && member.subscription.instance.is_some() {
            member.membership = Membership::Left;
            member.session_ends.get_or_insert(session_ends);
            member.touch();
        } else if member.membership != Membership::Left {
            self.remove(id, Membership::Left);
        }
        let member = &mut self.members[id.0];
        member.notices.clear();
        member.fetches.clear();
    }

    /// The member's session is over: it has lost what it owned, and may join again.
    pub(super) fn expire(&mut self, id: MemberId) {
        let member = &self.members[id.0];
        match member.membership {
            Membership::Joined(_) => {
                let lost = self.remove(id, Membership::Outside);
                self.members[id.0].lose(lost);
                self.ended_sessions.push(id);
            }
            // A static member that has closed.
            Membership::Left if member.session_ends.is_some() => {
                self.remove(id, Membership::Left);
            }
            Membership::Outside | Membership::Fenced | Membership::Left => {}
        }
    }

    pub(super) fn halt(&mut self, id: MemberId, process: Process, now: Instant) {
        let session_ends = now + self.session_timeout;
        let member = &mut self.members[id.0];
        if member.process == Process::Crashed || member.membership == Membership::Left {
            return;
        }
        member.process = process;
        if matches!(member.membership, Membership::Joined(_)) {
            member.session_ends.get_or_insert(session_ends);
        }
        member.touch();
    }

    pub(super) fn wake(&mut self, id: MemberId, now: Instant) {
        self.expire_overdue(now);
        let member = &mut self.members[id.0];
        if member.process == Process::Suspended {
            member.process = Process::Running;
            member.session_ends = None;
            member.touch();
        }
    }

    /// Ends the sessions and the transactions whose time is over.
    pub(crate) fn expire_overdue(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let overdue = self.members.iter().enumerate().filter_map(|(id, member)| {
            member.session_ends.is_some_and(|ends| ends <= now).then_some(MemberId(id))
        });
        let overdue: Vec<_> = overdue.collect();
        overdue.into_iter().for_each(|id| self.expire(id));
        for id in self.transactions.overdue(now) {
            self.fence_producer(&id);
        }
        #[cfg(feature = "wire")]
        self.wire.expire_overdue(now);
        self.changed = true;
    }

    /// When the next session or transaction times out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let sessions = self.members.iter().filter_map(|member| member.session_ends).min();
        let deadlines = sessions.into_iter().chain(self.transactions.next_deadline());
        #[cfg(feature = "wire")]
        let deadlines = deadlines.chain(self.wire.next_deadline());
        deadlines.min()
    }

    pub(super) fn renew_deadlines(&mut self, now: Instant) {
        for member in &mut self.members {
            member.session_ends = member.session_ends.map(|_| now + self.session_timeout);
        }
        self.transactions.renew_deadlines(now);
    }
}
