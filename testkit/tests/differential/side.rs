//! One of the two brokers: it is asked, and what it answers is made comparable.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, DescribeTransactionsRequest,
    FindCoordinatorRequest, GroupId, InitProducerIdRequest, OffsetFetchRequest, ProducerId,
    TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::client::{self, Client, error, name};
use super::operation::{Operation, Shift, Topic};

pub(crate) mod classic;
pub(crate) mod configs;
pub(crate) mod consumers;
pub(crate) mod groups;
pub(crate) mod offsets;
pub(crate) mod partitions;
pub(crate) mod produce;
pub(crate) mod sessions;
pub(crate) mod topics;
pub(crate) mod transactions;
mod watchers;

/// How many transactional ids a lane has, and how many producers without one.
pub(crate) const IDS: usize = 4;
pub(crate) const PLAIN: usize = 2;

/// The code that is looked at for whether to ask again, and what is compared.
type Answer = (i16, String);

/// Codes that go away: a coordinator or a transaction that is not ready.
const PASSING: &[i16] = &[14, 15, 16, 19, 51];

pub(crate) struct Side {
    client: Client,
    address: SocketAddr,
    is_kafka: bool,
    /// What timestamps count from.
    base: i64,
    lane: String,
    /// The producer of each transactional id, as it was last answered, and those without one.
    producers: BTreeMap<usize, (i64, i16)>,
    /// In which order the numbers of producers came.
    known: Vec<i64>,
    sequences: BTreeMap<(i64, i16, Topic, i32), i32>,
    /// The topics of the ids that there ever were.
    topics: BTreeMap<Uuid, String>,
    /// The id and the next epoch of the fetch session.
    session: (i32, i32),
    classic: BTreeMap<(usize, usize), classic::Member>,
    consumers: BTreeMap<(usize, usize), consumers::Member>,
    watchers: Vec<watchers::Watcher>,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn code(code: i16) -> String {
    error(code).map_or_else(|| "ok".to_owned(), |error| format!("{error:?}"))
}

impl Side {
    pub(crate) async fn connect(
        address: SocketAddr,
        is_kafka: bool,
        base: i64,
        lane: &str,
    ) -> Self {
        let mut side = Self {
            client: Client::connect(address).await,
            address,
            is_kafka,
            base,
            lane: lane.to_owned(),
            producers: BTreeMap::new(),
            known: Vec::new(),
            sequences: BTreeMap::new(),
            topics: BTreeMap::new(),
            session: (0, 1),
            classic: BTreeMap::new(),
            consumers: BTreeMap::new(),
            watchers: Vec::new(),
        };
        side.warm_up().await;
        if is_kafka {
            side.open_watchers();
        }
        side
    }

    /// Lets the broker make the topics of its coordinators.
    async fn warm_up(&mut self) {
        for (key_type, key) in [(0, text("warm-up")), (1, text("warm-up"))] {
            let request = FindCoordinatorRequest::default()
                .with_key_type(key_type)
                .with_coordinator_keys(vec![key]);
            while self.client.ask(&request, 4).await.coordinators[0].error_code != 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for id in 0..IDS {
            // A timeout that is refused: the coordinator is ready, and has nothing to remember.
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(self.id(id)))
                .with_transaction_timeout_ms(0)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            while PASSING.contains(&self.client.ask(&request, 4).await.error_code) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // Each is on a partition of its own, which Kafka loads by itself.
        let groups = offsets::GROUPS.iter().chain(transactions::GROUPS);
        let groups = groups.map(|group| self.group(group)).collect();
        let request = DescribeGroupsRequest::default().with_groups(groups);
        let is_passing = |group: &DescribedGroup| PASSING.contains(&group.error_code);
        while self.client.ask(&request, 5).await.groups.iter().any(is_passing) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The group without a name may be there from an earlier run.
        let nameless = Some(self.group("")).filter(|group| group.is_empty());
        let request =
            DeleteGroupsRequest::default().with_groups_names(nameless.into_iter().collect());
        self.client.ask(&request, 2).await;
    }

    /// Whether the request can be sent now: a member that waits for an answer sends nothing.
    pub(crate) fn may(&self, operation: &Operation) -> bool {
        match operation {
            Operation::Classic(operation) => self.is_free(operation),
            _ => true,
        }
    }

    /// Does it until the answer is no passing one.
    pub(crate) async fn run(&mut self, operation: &Operation) -> String {
        for _ in 0..200 {
            let (passing, answer) = self.ask(operation).await;
            if !PASSING.contains(&passing) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        "never ready".to_owned()
    }

    async fn ask(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Topic(operation) => self.ask_topic(operation).await,
            Operation::Config(operation) => self.ask_config(operation).await,
            Operation::Produce(operation) => self.produce(operation).await,
            Operation::Partition(operation) => self.ask_partition(operation).await,
            Operation::Session(operation) => self.ask_session(operation).await,
            Operation::Offset(operation) => self.ask_offset(operation).await,
            Operation::Group(operation) => self.ask_group(operation).await,
            Operation::Classic(operation) => self.ask_classic(operation).await,
            Operation::Consumer(operation) => self.ask_consumer(operation).await,
            Operation::Transaction(operation) => self.ask_transaction(operation).await,
        }
    }

    /// The topic's name in this lane.
    fn named(&self, topic: Topic) -> String {
        match topic {
            Topic::Own(number) => format!("topic-{}-{number}", self.lane),
            Topic::Absent => format!("absent-{}", self.lane),
            Topic::Invalid => "no such topic".to_owned(),
        }
    }

    fn topic(&self, topic: Topic) -> TopicName {
        name(&self.named(topic))
    }

    /// The name without the lane, by which both sides are compared; as it is if it is of no lane.
    fn unnamed(&self, name: &str) -> String {
        name.replace(&self.lane, "")
    }

    /// The newest id of a topic that is there, or was; one that never was otherwise.
    fn topic_id(&self, topic: Topic) -> Uuid {
        let name = self.named(topic);
        let found = self.topics.iter().find(|(_, known)| **known == name);
        found.map_or(Uuid::from_u128(u128::MAX - 7), |(id, _)| *id)
    }

    /// What stands for an id on both sides.
    fn topic_label(&self, id: Uuid) -> String {
        match self.topics.get(&id) {
            _ if id.is_nil() => "none".to_owned(),
            Some(name) => self.unnamed(name),
            None => "unknown".to_owned(),
        }
    }

    fn id(&self, id: usize) -> TransactionalId {
        TransactionalId(text(&format!("id-{}-{id}", self.lane)))
    }

    /// The group of this name in this lane. The one without a name belongs to the first lane.
    fn group(&self, group: &str) -> GroupId {
        let lane = if group.is_empty() && self.lane.ends_with("-0") { "" } else { &*self.lane };
        GroupId(text(&format!("{group}{lane}")))
    }

    fn producer(&self, id: usize, shift: Shift) -> (ProducerId, i16) {
        let (producer, epoch) = self.producers.get(&id).copied().unwrap_or((987_654, 0));
        (ProducerId(producer), epoch + shift)
    }

    fn learn(&mut self, id: usize, producer: i64, epoch: i16) {
        if producer >= 0 {
            self.producers.insert(id, (producer, epoch));
            if !self.known.contains(&producer) {
                self.known.push(producer);
            }
        }
    }

    /// What stands for the number of a producer on both sides.
    fn label(&self, producer: i64) -> i64 {
        let place = self.known.iter().position(|known| *known == producer);
        place.map_or(-1, |place| place as i64)
    }

    /// Waits until the markers of a transaction's end are written.
    async fn settle_transaction(&mut self, id: usize) {
        for _ in 0..400 {
            let request =
                DescribeTransactionsRequest::default().with_transactional_ids(vec![self.id(id)]);
            let answer = self.client.ask(&request, 0).await;
            let state = &answer.transaction_states[0];
            if !PASSING.contains(&state.error_code) && !state.transaction_state.starts_with("Prep")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every part of the broker knows the topic as the controller does.
    async fn settle_topic(&mut self, topic: Topic, exists: bool, partitions: Option<i32>) {
        let name = self.named(topic);
        for _ in 0..400 {
            let answer = self.client.ask(&client::metadata(&name), 12).await;
            let found = &answer.topics[0];
            let count = found.partitions.len() as i32;
            let as_many = partitions.is_none_or(|partitions| partitions == count);
            let mut ready = (found.error_code == 0) == exists && (!exists || as_many);
            if ready && exists {
                let id = found.topic_id;
                self.topics.retain(|_, known| *known != name);
                self.topics.insert(id, name.clone());
            }
            for partition in 0..count {
                ready &= !exists || self.has_offset(topic, partition).await;
            }
            ready &= exists || !self.has_commits(topic).await;
            if ready {
                let count = if exists { found.partitions.len() } else { 0 };
                return self.settle_coordinators(&name, count).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether a group of the lane has a commit of the topic; Kafka forgets those of a deleted one after
    /// it has answered.
    async fn has_commits(&mut self, topic: Topic) -> bool {
        let groups = offsets::GROUPS.iter().chain(transactions::GROUPS);
        let names: BTreeSet<_> = groups.map(|group| self.group(group)).collect();
        let group = |name| OffsetFetchRequestGroup::default().with_group_id(name).with_topics(None);
        let request =
            OffsetFetchRequest::default().with_groups(names.into_iter().map(group).collect());
        let name = self.topic(topic);
        let answer = self.client.ask(&request, 8).await;
        answer.groups.iter().any(|group| group.topics.iter().any(|of| of.name == name))
    }

    async fn has_offset(&mut self, topic: Topic, partition: i32) -> bool {
        let request = partitions::list_offsets(self.topic(topic), partition, -1);
        let answer = self.client.ask(&request, 6).await;
        answer.topics[0].partitions[0].error_code == 0
    }
}
