//! A group whose partitions the broker assigns (KIP-848).
//!
//! ```text
//!  heartbeat ──▶ members, subscriptions ──▶ group epoch ──▶ target assignment ──▶ each member goes
//!  (its epoch,     (names, a regular         +1 where one     (an assignor, all     there at its
//!   what it reads)  expression, topics)      has changed)      members at once)     own heartbeats
//! ```
//!
//! A member first gives up what is not its any more; a partition is given on once its holder has said
//! that it has stopped. It does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::ResponseError;
use regex::Regex;
use tokio::time::Instant;

use super::assignors::{Assignor, Subscriber, TopicIdPartition};
use super::consumer_member::{ConsumerMember, Described};
use super::topics::whole_match;

/// The epochs that say what a member wants.
pub(super) const JOINS: i32 = 0;
pub(super) const LEAVES: i32 = -1;
/// A static member leaves, and will be back.
pub(super) const LEAVES_FOR_NOW: i32 = -2;

/// The topics that there are: the partitions of each id, and the id of each name.
#[derive(Debug, Default)]
pub(super) struct Topics {
    pub(super) ids: BTreeMap<String, u128>,
    pub(super) partitions: BTreeMap<u128, i32>,
}

/// What a heartbeat says; nothing where nothing has changed.
#[derive(Debug, Default)]
pub(super) struct Beat {
    pub(super) member_id: String,
    pub(super) epoch: i32,
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Option<Duration>,
    pub(super) topic_names: Option<BTreeSet<String>>,
    pub(super) topic_regex: Option<String>,
    pub(super) assignor: Option<Assignor>,
    pub(super) owned: Option<BTreeSet<TopicIdPartition>>,
}

/// What it is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beaten {
    pub(super) epoch: i32,
    /// What the member may read, if it is to know.
    pub(super) assignment: Option<BTreeSet<TopicIdPartition>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ConsumerGroup {
    epoch: i32,
    /// The group epoch of the target assignment.
    assignment_epoch: i32,
    members: BTreeMap<String, ConsumerMember>,
    /// What the members subscribe to, as far as it was there at the last heartbeat: the id of each
    /// topic, and how many partitions it has.
    subscribed: BTreeMap<String, (u128, i32)>,
}

impl ConsumerGroup {
    pub(super) const fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) const fn assignment_epoch(&self) -> i32 {
        self.assignment_epoch
    }

    /// Its members with their ids, ascending.
    pub(super) const fn members(&self) -> &BTreeMap<String, ConsumerMember> {
        &self.members
    }

    /// As Kafka names its state.
    pub(super) fn phase(&self) -> &'static str {
        let epoch = self.assignment_epoch;
        match self.members.values().all(|member| member.is_stable(epoch)) {
            _ if self.members.is_empty() => "Empty",
            _ if self.epoch > epoch => "Assigning",
            true => "Stable",
            false => "Reconciling",
        }
    }

    /// The assignor that most members want; the uniform one if nobody wants any.
    pub(super) fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|member| member.described.assignor) {
            *votes.entry(assignor).or_default() += 1;
        }
        let most = votes.into_iter().rev().max_by_key(|(_, votes)| *votes);
        most.map_or_else(Assignor::default, |(assignor, _)| assignor)
    }

    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        self.members.values().any(|member| {
            member.described.topic_names.contains(topic)
                || expression(&member.described).is_some_and(|regex| regex.is_match(topic))
        })
    }

    /// Takes a heartbeat.
    pub(super) fn beat(
        &mut self,
        beat: &Beat,
        topics: &Topics,
        session_timeout: Duration,
        now: Instant,
    ) -> Result<Beaten, ResponseError> {
        if matches!(beat.epoch, LEAVES | LEAVES_FOR_NOW) {
            return self.leave(beat, topics);
        }
        if beat.topic_regex.as_deref().is_some_and(|regex| whole_match(regex).is_err()) {
            // Nothing has changed, not even if a member was let in.
            self.clone().admit(beat, now + session_timeout)?;
            return Err(ResponseError::InvalidRegularExpression);
        }
        self.admit(beat, now + session_timeout)?;
        let Some(member) = self.members.get_mut(&beat.member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        member.session_ends = now + session_timeout;
        let before = member.assigned.clone();
        let described = described(beat, &member.described);
        let has_changed = described.topic_names != member.described.topic_names
            || described.topic_regex != member.described.topic_regex;
        member.described = described;
        self.assign(topics, has_changed || self.epoch == 0);
        self.reconcile(&beat.member_id, beat.owned.as_ref(), now);
        let Some(member) = self.members.get(&beat.member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        let is_full = beat.owned.is_some()
            && beat.rebalance_timeout.is_some()
            && (beat.topic_names.is_some() || beat.topic_regex.is_some());
        let tells = beat.epoch == JOINS || is_full || member.assigned != before;
        Ok(Beaten { epoch: member.epoch, assignment: tells.then(|| member.assigned.clone()) })
    }

    /// Lets a member in, or finds it.
    fn admit(&mut self, beat: &Beat, session_ends: Instant) -> Result<(), ResponseError> {
        let holder = beat.instance.as_deref().map(|instance| self.holder(instance));
        let joins = beat.epoch == JOINS;
        match holder.map(|holder| holder.map(str::to_owned)) {
            Some(Some(holder)) if joins => {
                if self.members[&holder].epoch != LEAVES_FOR_NOW {
                    return Err(ResponseError::UnreleasedInstanceId);
                }
                self.replace(&holder, &beat.member_id);
                return Ok(());
            }
            Some(None) if !joins => return Err(ResponseError::UnknownMemberId),
            Some(Some(holder)) if holder != beat.member_id => {
                return Err(ResponseError::FencedInstanceId);
            }
            _ => {}
        }
        if joins && !self.members.contains_key(&beat.member_id) {
            let member = ConsumerMember::new(Described::default(), session_ends);
            self.members.insert(beat.member_id.clone(), member);
            return Ok(());
        }
        let member = self.members.get(&beat.member_id).ok_or(ResponseError::UnknownMemberId)?;
        if joins && beat.instance.is_some() {
            return Ok(());
        }
        // Its last answer may have been lost.
        let is_late = beat.epoch == member.previous_epoch
            && beat.epoch < member.epoch
            && beat.owned.as_ref().is_some_and(|owned| owned.is_subset(&member.assigned));
        let is_current = beat.epoch == member.epoch || is_late;
        if is_current { Ok(()) } else { Err(ResponseError::FencedMemberEpoch) }
    }

    /// The member of an instance.
    fn holder(&self, instance: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let found =
            members.find(|(_, member)| member.described.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.as_str())
    }

    /// A static member is back, perhaps with another id.
    fn replace(&mut self, old_id: &str, new_id: &str) {
        if let Some(mut member) = self.members.remove(old_id) {
            (member.epoch, member.previous_epoch) = (JOINS, JOINS);
            self.members.insert(new_id.to_owned(), member);
        }
    }

    fn leave(&mut self, beat: &Beat, topics: &Topics) -> Result<Beaten, ResponseError> {
        if let Some(instance) = &beat.instance {
            let holder = self.holder(instance).ok_or(ResponseError::UnknownMemberId)?;
            if holder != beat.member_id {
                return Err(ResponseError::FencedInstanceId);
            }
        }
        let member = self.members.get_mut(&beat.member_id);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        if beat.epoch == LEAVES_FOR_NOW {
            member.epoch = LEAVES_FOR_NOW;
            member.revoking.clear();
            member.revocation_ends = None;
        } else {
            self.remove(&beat.member_id);
            self.subscribed = Self::subscribed(&self.subscribers(topics), topics);
        }
        Ok(Beaten { epoch: beat.epoch, assignment: None })
    }

    /// Takes a member out; the others get its partitions at their next heartbeats.
    fn remove(&mut self, member_id: &str) {
        if self.members.remove(member_id).is_some() {
            self.epoch += 1;
            let mut subscribed = std::mem::take(&mut self.subscribed);
            subscribed.retain(|topic, _| self.subscribes_to(topic));
            self.subscribed = subscribed;
        }
    }

    /// Takes a member out, or all.
    pub(super) fn expel(&mut self, member_id: Option<&str>) {
        let ids = self.members.keys().filter(|id| member_id.is_none_or(|member| member == *id));
        let ids: Vec<_> = ids.cloned().collect();
        ids.iter().for_each(|id| self.remove(id));
    }

    /// Makes a new target, if members, subscriptions or topics have changed.
    fn assign(&mut self, topics: &Topics, has_changed: bool) {
        let subscribers = self.subscribers(topics);
        let subscribed = Self::subscribed(&subscribers, topics);
        if has_changed || subscribed != self.subscribed {
            self.epoch += 1;
        }
        self.subscribed = subscribed;
        if self.epoch == self.assignment_epoch {
            return;
        }
        let counts = self.subscribed.values().copied().collect();
        let mut target = self.assignor().assign(&subscribers, &counts);
        for (id, member) in &mut self.members {
            member.target = target.remove(id).unwrap_or_default();
        }
        self.assignment_epoch = self.epoch;
    }

    fn subscribers(&self, topics: &Topics) -> Vec<Subscriber> {
        let subscribers = self.members.iter().map(|(id, member)| Subscriber {
            id: id.clone(),
            instance: member.described.instance.clone(),
            topics: subscription(&member.described, topics),
            before: member.target.clone(),
        });
        subscribers.collect()
    }

    /// The topics that anybody subscribes to, as far as they are there.
    fn subscribed(subscribers: &[Subscriber], topics: &Topics) -> BTreeMap<String, (u128, i32)> {
        let named: BTreeSet<u128> =
            subscribers.iter().flat_map(|member| member.topics.iter().copied()).collect();
        let named = topics.ids.iter().filter(|(_, id)| named.contains(id));
        let topic =
            |(name, id): (&String, &u128)| Some((name.clone(), (*id, *topics.partitions.get(id)?)));
        named.filter_map(topic).collect()
    }

    fn reconcile(
        &mut self,
        member_id: &str,
        owned: Option<&BTreeSet<TopicIdPartition>>,
        now: Instant,
    ) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        let is_free =
            |part: &TopicIdPartition| !self.members.values().any(|other| other.holds(part));
        member.reconcile(self.assignment_epoch, owned, is_free, now);
        self.members.insert(member_id.to_owned(), member);
    }

    /// Says why a member may not commit, or read what was committed, if so.
    pub(super) fn validate(&self, member_id: &str, epoch: i32) -> Result<(), ResponseError> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        match self.members.get(member_id) {
            None => Err(ResponseError::UnknownMemberId),
            Some(member) if member.epoch != epoch => Err(ResponseError::StaleMemberEpoch),
            Some(_) => Ok(()),
        }
    }

    /// When a session or a revocation times out.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.members.values().map(ends).min()
    }

    pub(super) fn expire_overdue(&mut self, now: Instant) {
        let overdue = self.members.iter().filter(|(_, member)| ends(member) <= now);
        let overdue: Vec<_> = overdue.map(|(id, _)| id.clone()).collect();
        overdue.iter().for_each(|id| self.remove(id));
    }
}

fn ends(member: &ConsumerMember) -> Instant {
    let session = member.session_ends;
    member.revocation_ends.map_or(session, |revocation| revocation.min(session))
}

fn described(beat: &Beat, before: &Described) -> Described {
    let is_new = beat.epoch == JOINS;
    Described {
        instance: beat.instance.clone().or_else(|| before.instance.clone()),
        rack: beat.rack.clone().or_else(|| before.rack.clone()),
        client_id: beat.client_id.clone(),
        client_host: beat.client_host.clone(),
        rebalance_timeout: beat.rebalance_timeout.unwrap_or(before.rebalance_timeout),
        topic_names: match &beat.topic_names {
            Some(names) => names.clone(),
            None if is_new => BTreeSet::new(),
            None => before.topic_names.clone(),
        },
        topic_regex: match &beat.topic_regex {
            // An empty one takes it back.
            Some(regex) => Some(regex.clone()).filter(|regex| !regex.is_empty()),
            None if is_new => None,
            None => before.topic_regex.clone(),
        },
        assignor: beat.assignor.or(before.assignor),
    }
}

/// The topics that a member reads, as far as they are there.
fn subscription(described: &Described, topics: &Topics) -> BTreeSet<u128> {
    let named = described.topic_names.iter().filter_map(|name| topics.ids.get(name)).copied();
    let mut subscription: BTreeSet<u128> = named.collect();
    if let Some(regex) = expression(described) {
        let matching = topics.ids.iter().filter(|(name, _)| regex.is_match(name));
        subscription.extend(matching.map(|(_, id)| *id));
    }
    subscription
}

fn expression(described: &Described) -> Option<Regex> {
    described.topic_regex.as_ref().and_then(|regex| whole_match(regex).ok())
}
