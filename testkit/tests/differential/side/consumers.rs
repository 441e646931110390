//! Members of groups whose partitions the broker assigns (KIP-848).

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use uuid::Uuid;

use super::{Answer, Side, code, text};
use crate::operation::Topic;
use crate::random::Random;

pub(super) const GROUPS: usize = 2;
const MEMBERS: usize = 3;

#[derive(Clone, Debug)]
pub(crate) struct ConsumerOperation {
    group: usize,
    member: usize,
    epoch: Epoch,
    instance: Option<&'static str>,
    topics: Option<&'static [usize]>,
    regex: Option<&'static str>,
    assignor: Option<&'static str>,
    owned: Owned,
    rebalance_ms: i32,
    version: i16,
}

#[derive(Clone, Copy, Debug)]
enum Epoch {
    /// With all that a join has to say.
    Joins,
    Current,
    Off(i32),
    Fixed(i32),
}

/// Which partitions the member says it reads.
#[derive(Clone, Copy, Debug)]
enum Owned {
    Unsaid,
    Nothing,
    All,
    /// A partition that is not its.
    Strange,
}

const TOPICS: &[&[usize]] = &[&[0], &[1], &[0, 1], &[2, 3], &[]];
const INSTANCES: &[Option<&str>] = &[None, None, None, None, None, Some("i0"), Some("")];

impl ConsumerOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let epoch = match random.below(12) {
            0..=2 => Epoch::Joins,
            3 => Epoch::Off(random.of(&[-1, 1])),
            4 => Epoch::Fixed(random.of(&[-1, -1, -2, -3, 0])),
            _ => Epoch::Current,
        };
        let joins = matches!(epoch, Epoch::Joins);
        let subscribes = joins || random.one_in(6);
        Self {
            group: random.below(GROUPS),
            member: random.below(MEMBERS),
            epoch,
            instance: random.of(INSTANCES),
            topics: subscribes.then(|| random.of(TOPICS)),
            regex: if random.one_in(30) { Some("[") } else { None },
            // The uniform one goes by the order of Java's hash maps.
            assignor: match random.below(8) {
                0 => Some("unheard"),
                1..=2 if !joins => None,
                _ => Some("range"),
            },
            owned: match random.below(5) {
                _ if joins => Owned::Nothing,
                0 => Owned::Unsaid,
                1 => Owned::Nothing,
                2 => Owned::Strange,
                _ => Owned::All,
            },
            rebalance_ms: if joins || random.one_in(3) { 300_000 } else { -1 },
            version: random.of(&[0, 1]),
        }
    }
}

/// What a member was last answered.
#[derive(Default)]
pub(crate) struct Member {
    epoch: i32,
    assigned: BTreeMap<Uuid, BTreeSet<i32>>,
}

impl Side {
    fn consumer_id(&self, (group, member): (usize, usize)) -> String {
        format!("k{group}-{member}-{}", self.lane)
    }

    pub(super) fn consumer_identity(&self, key: (usize, usize)) -> Option<(String, i32)> {
        let member = self.consumers.get(&key)?;
        Some((self.consumer_id(key), member.epoch))
    }

    pub(super) async fn ask_consumer(&mut self, asked: &ConsumerOperation) -> Answer {
        let key = (asked.group, asked.member);
        let known = self.consumers.get(&key);
        let current = known.map_or(0, |member| member.epoch);
        let epoch = match asked.epoch {
            Epoch::Joins => 0,
            Epoch::Current => current,
            Epoch::Off(by) => current + by,
            Epoch::Fixed(epoch) => epoch,
        };
        let parts = |(id, numbers): (&Uuid, &BTreeSet<i32>)| {
            TopicPartitions::default()
                .with_topic_id(*id)
                .with_partitions(numbers.iter().copied().collect())
        };
        let owned = match asked.owned {
            Owned::Unsaid => None,
            Owned::Nothing => Some(Vec::new()),
            Owned::All => Some(known.into_iter().flat_map(|m| &m.assigned).map(parts).collect()),
            Owned::Strange => {
                let id = self.topic_id(Topic::Own(3));
                Some(vec![TopicPartitions::default().with_topic_id(id).with_partitions(vec![9])])
            }
        };
        let topics = asked
            .topics
            .map(|numbers| numbers.iter().map(|number| self.topic(Topic::Own(*number))).collect());
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group(&format!("k{}", asked.group)))
            .with_member_id(text(&self.consumer_id(key)))
            .with_member_epoch(epoch)
            .with_instance_id(asked.instance.map(text))
            .with_rebalance_timeout_ms(asked.rebalance_ms)
            .with_subscribed_topic_names(topics)
            .with_subscribed_topic_regex(asked.regex.filter(|_| asked.version >= 1).map(text))
            .with_server_assignor(asked.assignor.map(text))
            .with_topic_partitions(owned);
        let answer = self.client.ask(&request, asked.version).await;
        let member = self.consumers.entry(key).or_default();
        if answer.error_code == 0 {
            member.epoch = answer.member_epoch;
        }
        let mut assigned = Vec::new();
        if let Some(assignment) = &answer.assignment {
            member.assigned.clear();
            for topic in &assignment.topic_partitions {
                let numbers: BTreeSet<i32> = topic.partitions.iter().copied().collect();
                member.assigned.insert(topic.topic_id, numbers);
            }
            let member = &self.consumers[&key];
            for (id, numbers) in &member.assigned {
                assigned.push(format!("{}{numbers:?}", self.topic_label(*id)));
            }
            assigned.sort();
        }
        let rest = (answer.member_epoch, answer.heartbeat_interval_ms, answer.assignment.is_some());
        (answer.error_code, format!("{} {rest:?} {assigned:?}", code(answer.error_code)))
    }
}
