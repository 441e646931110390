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

use super::assignors::{Assignor, Part, Subscriber};
use super::consumer_member::{ConsumerMember, Described};

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
    pub(super) owned: Option<BTreeSet<Part>>,
}

/// What it is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Beaten {
    pub(super) epoch: i32,
    /// What the member may read, if it is to know.
    pub(super) assignment: Option<BTreeSet<Part>>,
}

#[derive(Debug, Default)]
pub(super) struct ConsumerGroup {
    epoch: i32,
    /// The group epoch of the target assignment.
    assignment_epoch: i32,
    members: BTreeMap<String, ConsumerMember>,
    /// What the members subscribe to, as far as it is there, when it was last assigned.
    subscribed: BTreeMap<u128, i32>,
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
                || expression(&member.described).is_some_and(|regex| is_whole(&regex, topic))
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
            return self.leave(beat, now);
        }
        let is_new = self.admit(beat, now + session_timeout)?;
        let Some(member) = self.members.get_mut(&beat.member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        member.session_ends = now + session_timeout;
        let before = member.assigned.clone();
        let described = described(beat, &member.described);
        let has_changed = is_new
            || described.topic_names != member.described.topic_names
            || described.topic_regex != member.described.topic_regex
            || described.assignor != member.described.assignor;
        member.described = described;
        self.assign(topics, has_changed);
        self.reconcile(&beat.member_id, beat.owned.as_ref(), now);
        let Some(member) = self.members.get(&beat.member_id) else {
            return Err(ResponseError::UnknownMemberId);
        };
        let is_full = beat.owned.is_some()
            && beat.rebalance_timeout.is_some()
            && (beat.topic_names.is_some() || beat.topic_regex.is_some());
        let tells = is_new || beat.epoch == JOINS || is_full || member.assigned != before;
        Ok(Beaten { epoch: member.epoch, assignment: tells.then(|| member.assigned.clone()) })
    }

    /// Lets a member in, or finds it; says whether it is new.
    fn admit(&mut self, beat: &Beat, session_ends: Instant) -> Result<bool, ResponseError> {
        if let Some(instance) = &beat.instance
            && let Some(holder) = self.holder(instance)
            && holder != beat.member_id
        {
            let holder = holder.to_owned();
            let is_back = self.members[&holder].epoch == LEAVES_FOR_NOW;
            return match (beat.epoch, is_back) {
                (JOINS, true) => {
                    self.replace(&holder, &beat.member_id);
                    Ok(true)
                }
                (JOINS, false) => Err(ResponseError::UnreleasedInstanceId),
                _ => Err(ResponseError::FencedInstanceId),
            };
        }
        match self.members.get_mut(&beat.member_id) {
            None if beat.epoch == JOINS => {
                let member = ConsumerMember::new(Described::default(), session_ends);
                self.members.insert(beat.member_id.clone(), member);
                Ok(true)
            }
            None => Err(ResponseError::UnknownMemberId),
            Some(member) if member.epoch == LEAVES_FOR_NOW && beat.epoch == JOINS => {
                member.epoch = JOINS;
                Ok(true)
            }
            Some(member) if beat.epoch == JOINS || beat.epoch == member.epoch => {
                if beat.instance.is_some() && beat.instance != member.described.instance {
                    return Err(ResponseError::UnknownMemberId);
                }
                Ok(false)
            }
            Some(member) => {
                // Its last answer may have been lost.
                let owned = beat.owned.as_ref();
                let is_late = beat.epoch == member.previous_epoch
                    && owned.is_some_and(|owned| owned.is_subset(&member.assigned));
                if is_late { Ok(false) } else { Err(ResponseError::FencedMemberEpoch) }
            }
        }
    }

    /// The member of an instance.
    fn holder(&self, instance: &str) -> Option<&str> {
        let mut members = self.members.iter();
        let found =
            members.find(|(_, member)| member.described.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.as_str())
    }

    /// A static member is back, with another id.
    fn replace(&mut self, old_id: &str, new_id: &str) {
        if let Some(mut member) = self.members.remove(old_id) {
            (member.epoch, member.previous_epoch) = (JOINS, -1);
            member.revoking.clear();
            self.members.insert(new_id.to_owned(), member);
        }
    }

    fn leave(&mut self, beat: &Beat, now: Instant) -> Result<Beaten, ResponseError> {
        let member = self.members.get_mut(&beat.member_id);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        if beat.epoch == LEAVES_FOR_NOW {
            if member.described.instance.is_none() {
                return Err(ResponseError::InvalidRequest);
            }
            member.epoch = LEAVES_FOR_NOW;
            member.revoking.clear();
            member.revocation_ends = None;
        } else {
            self.remove(&beat.member_id, now);
        }
        Ok(Beaten { epoch: beat.epoch, assignment: None })
    }

    /// Takes a member out; the others get its partitions at their next heartbeats.
    fn remove(&mut self, member_id: &str, _now: Instant) {
        if self.members.remove(member_id).is_some() {
            self.epoch += 1;
        }
    }

    /// Takes a member out, or all.
    pub(super) fn expel(&mut self, member_id: Option<&str>, now: Instant) {
        let ids = self.members.keys().filter(|id| member_id.is_none_or(|member| member == *id));
        let ids: Vec<_> = ids.cloned().collect();
        ids.iter().for_each(|id| self.remove(id, now));
    }

    /// Makes a new target, if members, subscriptions or topics have changed.
    fn assign(&mut self, topics: &Topics, has_changed: bool) {
        let subscribers: Vec<_> = self
            .members
            .iter()
            .map(|(id, member)| Subscriber {
                id: id.clone(),
                instance: member.described.instance.clone(),
                topics: subscription(&member.described, topics),
                before: member.target.clone(),
            })
            .collect();
        let named: BTreeSet<u128> =
            subscribers.iter().flat_map(|member| member.topics.iter().copied()).collect();
        let count = |topic| topics.partitions.get(&topic).map(|count| (topic, *count));
        let subscribed: BTreeMap<_, _> = named.into_iter().filter_map(count).collect();
        if has_changed || subscribed != self.subscribed {
            self.epoch += 1;
        }
        if self.epoch == self.assignment_epoch {
            return;
        }
        let mut target = self.assignor().assign(&subscribers, &subscribed);
        for (id, member) in &mut self.members {
            member.target = target.remove(id).unwrap_or_default();
        }
        (self.assignment_epoch, self.subscribed) = (self.epoch, subscribed);
    }

    fn reconcile(&mut self, member_id: &str, owned: Option<&BTreeSet<Part>>, now: Instant) {
        let Some(mut member) = self.members.remove(member_id) else { return };
        // A member that joins reads nothing.
        let nothing = BTreeSet::new();
        let owned = if member.epoch == JOINS { Some(owned.unwrap_or(&nothing)) } else { owned };
        let is_free = |part: &Part| !self.members.values().any(|other| other.holds(part));
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
        overdue.iter().for_each(|id| self.remove(id, now));
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
        let matching = topics.ids.iter().filter(|(name, _)| is_whole(&regex, name));
        subscription.extend(matching.map(|(_, id)| *id));
    }
    subscription
}

fn expression(described: &Described) -> Option<Regex> {
    described.topic_regex.as_ref().and_then(|regex| Regex::new(regex).ok())
}

/// Whether all of the text matches, as Kafka asks it to.
fn is_whole(regex: &Regex, text: &str) -> bool {
    let whole = Regex::new(&format!("^(?:{regex})$"));
    whole.is_ok_and(|regex| regex.is_match(text))
}
