//! Groups that learn of topics when the groups of the operations do.
//!
//! Kafka's coordinators hear of the controller's changes after its other parts, and each partition of
//! `__consumer_offsets` by itself. So each group of KIP-848 has one beside it on the same partition, which
//! subscribes to every topic of the lane.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, GroupId, TopicName};
use uuid::Uuid;

use super::{Side, consumers, text};
use crate::operation::Topic;

/// As the test configures Kafka's `offsets.topic.num.partitions`.
const OFFSETS_PARTITIONS: i32 = 50;
const TOPICS: usize = 4;
const TRIES: usize = 4_000;

/// The only member of its group.
pub(super) struct Watcher {
    group: GroupId,
    epoch: i32,
    owned: BTreeMap<Uuid, Vec<i32>>,
}

/// Where Kafka keeps a group, whose name is ASCII.
fn offsets_partition(group: &str) -> i32 {
    let hash = group.bytes().fold(0_i32, |hash, b| hash.wrapping_mul(31).wrapping_add(b.into()));
    hash.checked_abs().unwrap_or(0) % OFFSETS_PARTITIONS
}

impl Side {
    pub(super) fn open_watchers(&mut self) {
        for number in 0..consumers::GROUPS {
            let watched = offsets_partition(&self.group(&format!("k{number}")));
            let mut names = (0..).map(|n: u32| format!("{}-{n}-watcher", self.lane));
            let name = names.find(|name| offsets_partition(name) == watched);
            let group = GroupId(text(&name.unwrap_or_default()));
            self.watchers.push(Watcher { group, epoch: 0, owned: BTreeMap::new() });
        }
    }

    /// Waits until the coordinators know that the topic has so many partitions.
    pub(super) async fn settle_coordinators(&mut self, name: &str, partitions: usize) {
        let topics: Vec<_> = (0..TOPICS).map(|number| self.topic(Topic::Own(number))).collect();
        if !topics.iter().any(|topic| &***topic == name) {
            return;
        }
        for number in 0..self.watchers.len() {
            for tried in 0.. {
                let known = self.watch(number, &topics).await;
                let of_topic =
                    known.iter().filter(|(id, _)| self.topics.get(id).is_some_and(|n| n == name));
                if of_topic.map(|(_, numbers)| numbers.len()).sum::<usize>() == partitions {
                    break;
                }
                assert!(
                    tried < TRIES,
                    "a coordinator does not learn of {partitions} partitions of {name}"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// What a watcher is assigned.
    async fn watch(&mut self, number: usize, topics: &[TopicName]) -> BTreeMap<Uuid, Vec<i32>> {
        let watcher = &self.watchers[number];
        let owned = watcher.owned.iter().map(|(id, numbers)| {
            TopicPartitions::default().with_topic_id(*id).with_partitions(numbers.clone())
        });
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(watcher.group.clone())
            .with_member_id(text("watcher"))
            .with_member_epoch(watcher.epoch)
            .with_rebalance_timeout_ms(300_000)
            .with_subscribed_topic_names(Some(topics.to_vec()))
            .with_topic_partitions(Some(owned.collect()));
        let answer = self.client.ask(&request, 1).await;
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        let watcher = &mut self.watchers[number];
        watcher.epoch = answer.member_epoch;
        if let Some(assignment) = answer.assignment {
            let assigned = assignment.topic_partitions.into_iter();
            watcher.owned = assigned.map(|topic| (topic.topic_id, topic.partitions)).collect();
        }
        watcher.owned.clone()
    }
}
