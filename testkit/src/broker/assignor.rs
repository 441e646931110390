//! Assignors: which member gets which partition.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};

use super::member::MemberId;

/// What a group knows of a member to which it assigns partitions.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriber {
    pub(super) topics: BTreeSet<Topic>,
    /// The `group.instance.id` of a static member.
    pub(super) instance: Option<Arc<str>>,
}

/// How a group decides which member gets which partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Each member about as many partitions as the others, moving as few as possible; as Kafka's
    /// `cooperative-sticky`. Topics are not kept together.
    #[default]
    Sticky,
    /// Of each topic, each member a range of partitions, as Kafka's `range`: members that subscribe
    /// to the same topics, with as many partitions each, have the same partitions of all of them.
    Range,
}

impl Assignor {
    /// Assigns each partition to a member that subscribes to its topic.
    pub(super) fn assign(
        self,
        members: &BTreeMap<MemberId, Subscriber>,
        partitions: &BTreeSet<TopicPartition>,
        previous: &BTreeMap<TopicPartition, MemberId>,
    ) -> BTreeMap<TopicPartition, MemberId> {
        match self {
            Self::Sticky => sticky(members, partitions, previous),
            Self::Range => range(members, partitions),
        }
    }
}

/// The first members have one partition more if there is a rest: static members in the order of their
/// instances, and then the others in that of their numbers (KIP-345).
fn range(
    members: &BTreeMap<MemberId, Subscriber>,
    partitions: &BTreeSet<TopicPartition>,
) -> BTreeMap<TopicPartition, MemberId> {
    let topics: BTreeSet<&Topic> = partitions.iter().map(|partition| &partition.topic).collect();
    let mut target = BTreeMap::new();
    for topic in topics {
        let mut own = partitions.iter().filter(|partition| partition.topic == *topic);
        let subscribed = members.iter().filter(|(_, of)| of.topics.contains(topic));
        let mut subscribed: Vec<_> = subscribed.collect();
        subscribed.sort_by_key(|(_, of)| (of.instance.is_none(), &of.instance));
        let count = own.clone().count();
        for (index, &(&member, _)) in subscribed.iter().enumerate() {
            let one_more = usize::from(index < count % subscribed.len());
            let share = own.by_ref().take(count / subscribed.len() + one_more);
            target.extend(share.map(|partition| (partition.clone(), member)));
        }
    }
    target
}

/// A partition stays where it was, unless its member is gone or owns at least two more than another
/// that could take it. Ties go to the lower member and the higher partition.
fn sticky(
    members: &BTreeMap<MemberId, Subscriber>,
    partitions: &BTreeSet<TopicPartition>,
    previous: &BTreeMap<TopicPartition, MemberId>,
) -> BTreeMap<TopicPartition, MemberId> {
    let subscribes = |member: MemberId, partition: &TopicPartition| {
        members.get(&member).is_some_and(|of| of.topics.contains(&partition.topic))
    };
    let mut target = previous.clone();
    target.retain(|partition, member| {
        partitions.contains(partition) && subscribes(*member, partition)
    });
    let mut load: BTreeMap<MemberId, usize> = members.keys().map(|&member| (member, 0)).collect();
    target.values().for_each(|member| *load.entry(*member).or_default() += 1);

    for partition in partitions {
        if !target.contains_key(partition)
            && let Some(member) = least_loaded(&load, |member| subscribes(member, partition))
        {
            target.insert(partition.clone(), member);
            *load.entry(member).or_default() += 1;
        }
    }
    while let Some((partition, from, to)) = next_move(&target, &load, subscribes) {
        target.insert(partition, to);
        *load.entry(from).or_default() -= 1;
        *load.entry(to).or_default() += 1;
    }
    target
}

fn least_loaded(
    load: &BTreeMap<MemberId, usize>,
    eligible: impl Fn(MemberId) -> bool,
) -> Option<MemberId> {
    let eligible = load.iter().filter(|&(&member, _)| eligible(member));
    eligible.min_by_key(|&(&member, &partitions)| (partitions, member)).map(|(&member, _)| member)
}

/// The move that relieves the most loaded member, if one evens the load.
fn next_move(
    target: &BTreeMap<TopicPartition, MemberId>,
    load: &BTreeMap<MemberId, usize>,
    subscribes: impl Fn(MemberId, &TopicPartition) -> bool,
) -> Option<(TopicPartition, MemberId, MemberId)> {
    let moves = target.iter().rev().filter_map(|(partition, &from)| {
        let to = least_loaded(load, |member| subscribes(member, partition))?;
        let gain = load[&from].checked_sub(load[&to] + 2)?;
        Some((gain, partition, from, to))
    });
    // `max_by_key` takes the last of equals: reversed once more, it is the highest partition.
    let moves: Vec<_> = moves.collect();
    let (_, partition, from, to) = moves.into_iter().rev().max_by_key(|&(gain, ..)| gain)?;
    Some((partition.clone(), from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(topics: &[&'static str]) -> Subscriber {
        Subscriber { topics: topics.iter().map(|&topic| topic.into()).collect(), instance: None }
    }

    fn members(ids: &[usize]) -> BTreeMap<MemberId, Subscriber> {
        ids.iter().map(|&id| (MemberId(id), of(&["jobs"]))).collect()
    }

    fn partitions(count: i32) -> BTreeSet<TopicPartition> {
        (0..count).map(|partition| TopicPartition::new("jobs", partition)).collect()
    }

    #[test]
    fn a_new_member_gets_its_share_and_nothing_else_moves() {
        let before = sticky(&members(&[0, 1]), &partitions(6), &BTreeMap::new());
        let after = sticky(&members(&[0, 1, 2]), &partitions(6), &before);
        assert_eq!(after.values().filter(|&&member| member == MemberId(2)).count(), 2);
        assert_eq!(
            before.iter().filter(|&(partition, owner)| after[partition] != *owner).count(),
            2
        );
    }

    #[test]
    fn members_above_the_number_of_partitions_get_none() {
        let target = sticky(&members(&[0, 1, 2]), &partitions(2), &BTreeMap::new());
        assert_eq!(target.values().collect::<BTreeSet<_>>().len(), 2);
        assert_eq!(range(&members(&[0, 1, 2]), &partitions(2)), target);
    }

    #[test]
    fn a_range_is_of_each_topic_and_the_first_members_have_the_rest() {
        let all =
            |topic: &'static str| (0..5).map(move |number| TopicPartition::new(topic, number));
        let partitions = all("jobs").chain(all("orders")).collect();
        let both = || of(&["jobs", "orders"]);
        let members = [(0, both()), (1, both()), (2, of(&["orders"]))];
        let members = members.map(|(id, subscriber)| (MemberId(id), subscriber)).into();
        let target = range(&members, &partitions);
        let owners = |topic| all(topic).map(|partition| target[&partition].0).collect::<Vec<_>>();
        assert_eq!(owners("jobs"), [0, 0, 0, 1, 1]);
        assert_eq!(owners("orders"), [0, 0, 1, 1, 2]);
    }

    #[test]
    fn a_range_goes_to_an_instance_whichever_number_its_process_has() {
        let named =
            |name: &'static str| Subscriber { instance: Some(name.into()), ..of(&["jobs"]) };
        let owners = |members: [(usize, Subscriber); 3]| {
            let members = members.map(|(id, subscriber)| (MemberId(id), subscriber)).into();
            range(&members, &partitions(3)).into_values().map(|member| member.0).collect::<Vec<_>>()
        };
        assert_eq!(owners([(0, of(&["jobs"])), (1, named("a")), (2, named("b"))]), [1, 2, 0]);
        assert_eq!(owners([(0, of(&["jobs"])), (2, named("b")), (3, named("a"))]), [3, 2, 0]);
    }
}
