//! The assignors of the broker (KIP-848): who is to read which partition.

use std::collections::{BTreeMap, BTreeSet};

/// A partition of a topic by the topic's id.
pub(super) type TopicIdPartition = (u128, i32);
/// The partitions of each member.
pub(super) type Target = BTreeMap<String, BTreeSet<TopicIdPartition>>;

/// What an assignor knows of a member.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) topics: BTreeSet<u128>,
    /// What it was to read before.
    pub(super) before: BTreeSet<TopicIdPartition>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Assignor {
    /// As equally as can be, and as little moved as can be.
    #[default]
    Uniform,
    /// Of each topic a range, so that the same numbers of several topics meet.
    Range,
}

impl Assignor {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "uniform" => Some(Self::Uniform),
            "range" => Some(Self::Range),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// Gives every partition of a topic that somebody subscribes to, to one of those.
    pub(super) fn assign(self, members: &[Subscriber], topics: &BTreeMap<u128, i32>) -> Target {
        match self {
            Self::Uniform => uniform(members, topics),
            Self::Range => range(members, topics),
        }
    }
}

fn uniform(members: &[Subscriber], topics: &BTreeMap<u128, i32>) -> Target {
    let mut target: Target = members.iter().map(|m| (m.id.clone(), BTreeSet::new())).collect();
    let mut taken = BTreeSet::new();
    let exists = |part: &TopicIdPartition| topics.get(&part.0).is_some_and(|count| part.1 < *count);
    for member in members {
        let kept = member.before.iter().filter(|part| member.topics.contains(&part.0));
        for &part in kept.filter(|part| exists(part)) {
            if taken.insert(part) {
                target.entry(member.id.clone()).or_default().insert(part);
            }
        }
    }
    for (&topic, &count) in topics {
        for part in (0..count).map(|number| (topic, number)) {
            if !taken.contains(&part)
                && let Some(id) = extreme(members, &target, topic, false)
            {
                target.entry(id).or_default().insert(part);
            }
        }
    }
    balance(members, &mut target);
    target
}

/// Moves partitions from those who have most, until no move makes it more equal.
fn balance(members: &[Subscriber], target: &mut Target) {
    let topics: BTreeSet<u128> = members.iter().flat_map(|m| m.topics.iter().copied()).collect();
    let mut has_moved = true;
    while has_moved {
        has_moved = false;
        for &topic in &topics {
            // Of those who have any of the topic, the one with the most partitions gives one away.
            let givers = target.iter().filter(|(_, parts)| parts.iter().any(|p| p.0 == topic));
            let giver = givers.max_by_key(|(_, parts)| parts.len()).map(|(id, _)| id.clone());
            let taker = extreme(members, target, topic, false);
            let (Some(giver), Some(taker)) = (giver, taker) else { continue };
            let count = |id: &str| target.get(id).map_or(0, BTreeSet::len);
            if count(&giver) <= count(&taker) + 1 {
                continue;
            }
            let Some(parts) = target.get_mut(&giver) else { continue };
            let Some(&part) = parts.iter().rfind(|part| part.0 == topic) else { continue };
            parts.remove(&part);
            target.entry(taker).or_default().insert(part);
            has_moved = true;
        }
    }
}

/// Of those who subscribe to a topic, the one with the most partitions, or with the fewest.
fn extreme(members: &[Subscriber], target: &Target, topic: u128, most: bool) -> Option<String> {
    let subscribers = members.iter().filter(|member| member.topics.contains(&topic));
    let count = |member: &&Subscriber| target.get(&member.id).map_or(0, BTreeSet::len);
    let found = if most { subscribers.max_by_key(count) } else { subscribers.min_by_key(count) };
    found.map(|member| member.id.clone())
}

fn range(members: &[Subscriber], topics: &BTreeMap<u128, i32>) -> Target {
    let mut target: Target = members.iter().map(|m| (m.id.clone(), BTreeSet::new())).collect();
    for (&topic, &count) in topics {
        let mut subscribers: Vec<_> =
            members.iter().filter(|member| member.topics.contains(&topic)).collect();
        // Those with an instance first, by its name, so that a restart changes nothing.
        subscribers.sort_by_key(|m| (m.instance.is_none(), m.instance.clone(), m.id.clone()));
        let (Ok(count), len) = (usize::try_from(count), subscribers.len()) else { continue };
        let mut next = 0;
        for (place, member) in subscribers.iter().enumerate() {
            let share = count / len + usize::from(place < count % len);
            let parts = (next..next + share).map(|number| (topic, number as i32));
            target.entry(member.id.clone()).or_default().extend(parts);
            next += share;
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn member(number: usize, topics: &[u128]) -> Subscriber {
        Subscriber {
            id: format!("m{number:02}"),
            instance: None,
            topics: topics.iter().copied().collect(),
            before: BTreeSet::new(),
        }
    }

    fn counts(target: &Target) -> Vec<usize> {
        target.values().map(BTreeSet::len).collect()
    }

    #[test]
    fn a_range_is_of_each_topic() {
        let members = [member(0, &[1, 2]), member(1, &[1, 2])];
        let target = Assignor::Range.assign(&members, &BTreeMap::from([(1, 3), (2, 3)]));
        let first: Vec<_> = target["m00"].iter().copied().collect();
        assert_eq!(first, [(1, 0), (1, 1), (2, 0), (2, 1)]);
        let second: Vec<_> = target["m01"].iter().copied().collect();
        assert_eq!(second, [(1, 2), (2, 2)]);
    }

    #[test]
    fn uniform_makes_members_equal_and_moves_little() {
        let topics = BTreeMap::from([(1, 6)]);
        let mut members = vec![member(0, &[1]), member(1, &[1])];
        let before = Assignor::Uniform.assign(&members, &topics);
        assert_eq!(counts(&before), [3, 3]);
        for member in &mut members {
            member.before = before[&member.id].clone();
        }
        members.push(member(2, &[1]));
        let after = Assignor::Uniform.assign(&members, &topics);
        assert_eq!(counts(&after), [2, 2, 2]);
        assert!(after["m00"].is_subset(&before["m00"]) && after["m01"].is_subset(&before["m01"]));
    }

    proptest! {
        #[test]
        fn every_partition_has_one_reader_that_subscribes(
            subscriptions in proptest::collection::vec(any::<[bool; 3]>(), 1..6),
            sizes in any::<[u8; 3]>(),
        ) {
            let topics: BTreeMap<u128, i32> =
                (0..).zip(sizes).map(|(topic, size)| (topic, i32::from(size % 7))).collect();
            let members: Vec<_> = subscriptions.iter().enumerate().map(|(number, subscribed)| {
                let topics = (0..).zip(subscribed).filter(|(_, is)| **is).map(|(topic, _)| topic);
                member(number, &topics.collect::<Vec<_>>())
            }).collect();
            for assignor in [Assignor::Uniform, Assignor::Range] {
                let target = assignor.assign(&members, &topics);
                let mut seen = BTreeSet::new();
                for member in &members {
                    for part in &target[&member.id] {
                        prop_assert!(member.topics.contains(&part.0));
                        prop_assert!(seen.insert(*part));
                    }
                }
                let wanted = topics.iter().filter(|(topic, _)| {
                    members.iter().any(|member| member.topics.contains(topic))
                });
                prop_assert_eq!(seen.len() as i32, wanted.map(|(_, count)| count).sum::<i32>());
            }
        }
    }
}
