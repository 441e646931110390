//! A group of the classic protocol, whose clients assign partitions themselves.
//!
//! ```text
//!            join               all have joined               the leader has synced
//!  Empty ─────────▶ Preparing ─────────────────▶ Completing ───────────────────────▶ Stable
//!    ▲                  ▲                             │ join · leave · expiry           │
//!    └── the last leaves┴─────────────────────────────┴────────────────────────────────┘
//! ```
//!
//! It does no I/O: a request that waits holds the other end of a channel.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::Instant;

use super::classic_member::{ClassicMember, Join, Joined, Joining, Sync, Synced, refusal};
use crate::broker::instances::Instances;

/// How long a new member waits for the others.
const NEW_MEMBER_LIMIT: Duration = Duration::from_secs(5 * 60);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Empty,
    /// Members are to join again.
    Preparing,
    /// All have joined; the leader's assignment is awaited.
    Completing,
    Stable,
}

#[derive(Debug, Default)]
pub(super) struct ClassicGroup {
    phase: Phase,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, ClassicMember>,
    /// The member of each instance.
    instances: Instances<String>,
    /// The ids that were handed out and have not joined, and until when they may.
    pending: BTreeMap<String, Instant>,
    /// When the members that have not joined again are given up.
    rebalance_ends: Option<Instant>,
    /// When the members that have not asked for their assignment are given up.
    sync_ends: Option<Instant>,
    /// Whether the rebalance waits its whole time, for more members to come.
    waits_for_more: bool,
}

impl ClassicGroup {
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn generation(&self) -> i32 {
        self.generation
    }

    pub(super) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(super) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Its members with their ids, ascending.
    pub(super) fn members(&self) -> impl Iterator<Item = (&str, &ClassicMember)> {
        self.members.iter().map(|(id, member)| (id.as_str(), member))
    }

    /// The ids of its members, and those that were handed out.
    #[cfg(feature = "programs")]
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.members.keys().chain(self.pending.keys()).map(String::as_str)
    }

    /// Whether a member's metadata names the topic, in the format of consumers. Metadata of another
    /// kind may name anything.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        let is_consumer = self.protocol_type.as_deref() == Some("consumer");
        self.members.values().any(|member| !is_consumer || member.subscribes_to(topic))
    }

    /// Whether nobody has joined or is about to.
    pub(super) fn is_unused(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// Hands out an id, with which the member is to join until then (KIP-394).
    pub(super) fn promise(&mut self, member_id: String, until: Instant) {
        self.pending.insert(member_id, until);
    }

    /// Whether members with these protocols could join.
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[(String, Bytes)]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| common(name))
    }

    /// The id of the member that an instance has.
    pub(super) fn instance(&self, instance: &str) -> Option<&str> {
        self.instances.member(instance).map(String::as_str)
    }

    /// Adds a member, and lets all join again.
    pub(super) fn add(
        &mut self,
        member_id: String,
        joining: Joining,
        delay: Duration,
        now: Instant,
    ) -> Receiver<Join> {
        self.pending.remove(&member_id);
        if self.members.is_empty() {
            self.protocol_type = Some(joining.protocol_type.clone());
        }
        if let Some(instance) = &joining.instance {
            self.instances.give(instance.as_str().into(), member_id.clone());
        }
        let mut member = ClassicMember::new(joining, now + NEW_MEMBER_LIMIT);
        let answer = member.await_join();
        self.leader.get_or_insert_with(|| member_id.clone());
        self.members.insert(member_id, member);
        self.prepare(delay, now);
        answer
    }

    /// A member that is known, or was promised its id, joins.
    ///
    /// # Errors
    /// If it is neither.
    pub(super) fn rejoin(
        &mut self,
        member_id: &str,
        joining: Joining,
        delay: Duration,
        now: Instant,
    ) -> Result<Receiver<Join>, ResponseError> {
        if self.pending.contains_key(member_id) {
            if joining.instance.is_some() {
                // Kafka takes it for a state that can't be.
                return Err(ResponseError::UnknownServerError);
            }
            return Ok(self.add(member_id.to_owned(), joining, delay, now));
        }
        self.validate(member_id, joining.instance.as_deref())?;
        let is_leader = self.leader.as_deref() == Some(member_id);
        let member = self.members.get_mut(member_id).ok_or(ResponseError::UnknownMemberId)?;
        let is_same = member.has_protocols(&joining.protocols);
        let stays = match self.phase {
            Phase::Completing => is_same,
            Phase::Stable => is_same && !is_leader,
            Phase::Empty | Phase::Preparing => false,
        };
        if stays {
            member.renew(now);
            return Ok(answered(Ok(self.joined(member_id))));
        }
        member.update(joining, now);
        let answer = member.await_join();
        self.prepare(delay, now);
        Ok(answer)
    }

    /// A process takes over the instance of another one (KIP-345).
    pub(super) fn replace(
        &mut self,
        instance: &str,
        member_id: String,
        joining: Joining,
        knows_skipping: bool,
        now: Instant,
    ) -> Receiver<Join> {
        let old_id = self.instances.give(instance.into(), member_id.clone());
        let old_id = old_id.unwrap_or_default();
        let Some(mut member) = self.members.remove(&old_id) else {
            return self.add(member_id, joining, Duration::ZERO, now);
        };
        member.fence();
        let was_leader = self.leader.as_deref() == Some(&old_id);
        if was_leader {
            self.leader = Some(member_id.clone());
        }
        member.update(joining, now);
        self.members.insert(member_id.clone(), member);
        if self.phase == Phase::Stable && self.elected() == self.protocol {
            let mut joined = self.joined(&member_id);
            joined.skips_assignment = was_leader && knows_skipping;
            if was_leader && !knows_skipping {
                // Told of another leader, it asks for its assignment and makes none.
                (joined.leader, joined.members) = (old_id, Vec::new());
            }
            return answered(Ok(joined));
        }
        let Some(member) = self.members.get_mut(&member_id) else {
            return answered(Err(ResponseError::UnknownMemberId));
        };
        let answer = member.await_join();
        self.prepare(Duration::ZERO, now);
        answer
    }

    /// Lets all members join again, unless that is under way.
    fn prepare(&mut self, delay: Duration, now: Instant) {
        if self.phase != Phase::Preparing {
            let are_assigned = self.phase != Phase::Completing;
            for member in self.members.values_mut() {
                member.refuse_sync(ResponseError::RebalanceInProgress);
                if !are_assigned {
                    member.clear_assignment();
                }
            }
            self.waits_for_more = self.phase == Phase::Empty && !delay.is_zero();
            let timeouts = self.members.values().map(ClassicMember::rebalance_timeout);
            let limit =
                if self.waits_for_more { delay } else { timeouts.max().unwrap_or_default() };
            (self.rebalance_ends, self.sync_ends) = (Some(now + limit), None);
            let is_first = self.phase == Phase::Empty;
            self.phase = Phase::Preparing;
            if is_first && !self.waits_for_more {
                // Nobody waits for those who were handed out an id.
                self.complete(now);
            }
        }
        self.complete_if_all_joined(now);
    }

    fn complete_if_all_joined(&mut self, now: Instant) {
        let all = self.members.values().all(ClassicMember::is_joining) && self.pending.is_empty();
        if self.phase == Phase::Preparing && all && !self.waits_for_more {
            self.complete(now);
        }
    }

    /// Begins the next generation with those that have joined, and static members.
    fn complete(&mut self, now: Instant) {
        let late = self.members.iter().filter(|(_, m)| !m.is_joining() && m.instance().is_none());
        let late: Vec<_> = late.map(|(id, _)| id.clone()).collect();
        late.iter().for_each(|id| self.forget(id));
        let joining = |id: &str| self.members.get(id).is_some_and(ClassicMember::is_joining);
        if !self.leader.as_deref().is_some_and(joining) {
            let next = self.members.keys().find(|id| joining(id)).cloned();
            if next.is_none() && !self.members.is_empty() {
                // Nobody could lead: the static members have another time to come.
                let timeouts = self.members.values().map(ClassicMember::rebalance_timeout);
                self.rebalance_ends = Some(now + timeouts.max().unwrap_or_default());
                return;
            }
            self.leader = next;
        }
        self.generation = self.generation.wrapping_add(1).max(1);
        (self.rebalance_ends, self.waits_for_more) = (None, false);
        if self.members.is_empty() {
            (self.phase, self.protocol) = (Phase::Empty, None);
            return;
        }
        self.protocol = self.elected();
        self.phase = Phase::Completing;
        let timeouts = self.members.values().map(ClassicMember::rebalance_timeout);
        self.sync_ends = timeouts.max().map(|limit| now + limit);
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.begin(joined, now);
            }
        }
    }

    /// Of the protocols that all support, the one that most members prefer.
    fn elected(&self) -> Option<String> {
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for vote in self.members.values().filter_map(|m| m.protocols().find(|name| common(name))) {
            *votes.entry(vote).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes).map(|(name, _)| name.to_owned())
    }

    fn joined(&self, member_id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.clone();
        let members = self.members.iter().filter(|_| leader == member_id).map(|(id, member)| {
            let metadata = member.metadata(protocol.as_deref().unwrap_or_default());
            (id.clone(), member.instance().map(str::to_owned), metadata.unwrap_or_default())
        });
        Joined {
            member_id: member_id.to_owned(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            members: members.collect(),
            protocol,
            leader,
            skips_assignment: false,
        }
    }

    /// A member asks for its assignment; the leader brings all of them.
    pub(super) fn sync(
        &mut self,
        member_id: &str,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Receiver<Sync> {
        let Some(member) = self.members.get_mut(member_id) else {
            return answered(Err(ResponseError::UnknownMemberId));
        };
        let synced = Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: Bytes::new(),
        };
        match self.phase {
            Phase::Empty => answered(Err(ResponseError::UnknownMemberId)),
            Phase::Preparing => answered(Err(ResponseError::RebalanceInProgress)),
            Phase::Stable => answered(Ok(Synced { assignment: member.synced(now), ..synced })),
            Phase::Completing => {
                let answer = member.await_sync(now);
                if self.leader.as_deref() == Some(member_id) {
                    let mut assignments: BTreeMap<_, _> = assignments.into_iter().collect();
                    self.phase = Phase::Stable;
                    for (id, member) in &mut self.members {
                        let assignment = assignments.remove(id).unwrap_or_default();
                        member.assign(Synced { assignment, ..synced.clone() }, now);
                    }
                }
                answer
            }
        }
    }

    /// A member has shown that it lives.
    pub(super) fn renew(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.renew(now);
        }
    }

    /// A member says that it lives.
    pub(super) fn heartbeat(&mut self, member_id: &str, now: Instant) -> Result<(), ResponseError> {
        let Some(member) = self.members.get_mut(member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        member.renew(now);
        match self.phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Preparing => Err(ResponseError::RebalanceInProgress),
            Phase::Completing | Phase::Stable => Ok(()),
        }
    }

    /// Takes a member out, by its id or by its instance.
    pub(super) fn leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if self.pending.remove(member_id).is_some() {
            self.has_left(now);
            return Ok(());
        }
        let id = match instance {
            Some(instance) => {
                let id = self.instance(instance).ok_or(ResponseError::UnknownMemberId)?.to_owned();
                if !member_id.is_empty() {
                    self.instances.check(instance, member_id).map_err(refusal)?;
                }
                id
            }
            None => member_id.to_owned(),
        };
        if !self.members.contains_key(&id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(&id, now);
        Ok(())
    }

    /// Takes a member out, and lets the others join again.
    pub(super) fn remove(&mut self, member_id: &str, now: Instant) {
        self.forget(member_id);
        self.has_left(now);
    }

    /// The others join again, or are complete without one that has left.
    fn has_left(&mut self, now: Instant) {
        match self.phase {
            Phase::Completing | Phase::Stable => self.prepare(Duration::ZERO, now),
            Phase::Preparing => self.complete_if_all_joined(now),
            Phase::Empty => {}
        }
    }

    /// Ends the session of a member, or of all. An id that was handed out is taken back by its name.
    pub(super) fn expel(&mut self, member_id: Option<&str>, now: Instant) {
        if member_id.is_some_and(|id| self.pending.remove(id).is_some()) {
            self.complete_if_all_joined(now);
        }
        let ids = self.members.keys().filter(|id| member_id.is_none_or(|member| member == *id));
        let ids: Vec<_> = ids.cloned().collect();
        ids.iter().for_each(|id| self.remove(id, now));
    }

    fn forget(&mut self, member_id: &str) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        member.refuse(ResponseError::UnknownMemberId);
        if let Some(instance) = member.instance() {
            self.instances.take(instance);
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// The members of which nothing has come since then.
    #[cfg(feature = "programs")]
    pub(super) fn silent(&self, since: Instant) -> impl Iterator<Item = &str> {
        let is_silent =
            move |member: &ClassicMember| member.silent_since().is_some_and(|at| at < since);
        self.members.iter().filter(move |(_, it)| is_silent(it)).map(|(id, _)| id.as_str())
    }

    /// Says why a member may not speak for the group, if so.
    pub(super) fn validate(
        &self,
        member_id: &str,
        instance: Option<&str>,
    ) -> Result<(), ResponseError> {
        if let Some(instance) = instance {
            self.instances.check(instance, member_id).map_err(refusal)?;
        }
        let is_known = self.members.contains_key(member_id);
        if is_known { Ok(()) } else { Err(ResponseError::UnknownMemberId) }
    }

    /// When a session, a rebalance or a promised id times out.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let sessions = self.members.values().filter_map(ClassicMember::session_ends);
        let limits = self.rebalance_ends.into_iter().chain(self.sync_ends);
        sessions.chain(self.pending.values().copied()).chain(limits).min()
    }

    pub(super) fn expire_overdue(&mut self, now: Instant) {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let pending = self.pending.len();
        self.pending.retain(|_, ends| *ends > now);
        if self.pending.len() < pending {
            self.complete_if_all_joined(now);
        }
        let is_overdue = |member: &ClassicMember| member.session_ends().is_some_and(|at| at <= now);
        let overdue = self.members.iter().filter(|(_, member)| is_overdue(member));
        let overdue: Vec<_> = overdue.map(|(id, _)| id.clone()).collect();
        overdue.iter().for_each(|id| self.remove(id, now));
        if self.sync_ends.is_some_and(|ends| ends <= now) {
            self.sync_ends = None;
            let silent = self.members.iter().filter(|(_, member)| member.owes_sync());
            let silent: Vec<_> = silent.map(|(id, _)| id.clone()).collect();
            silent.iter().for_each(|id| self.remove(id, now));
        }
        if self.rebalance_ends.is_some_and(|ends| ends <= now) {
            self.waits_for_more = false;
            self.complete(now);
        }
    }
}

/// An answer that is there at once.
fn answered<T>(answer: T) -> Receiver<T> {
    let (sender, receiver): (Sender<T>, _) = oneshot::channel();
    // The receiver is in hand.
    let _ = sender.send(answer);
    receiver
}
