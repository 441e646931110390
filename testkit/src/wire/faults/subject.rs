//! What a request is about: the topics, groups and producers that it names.

use bytes::Bytes;
use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, ConsumerGroupHeartbeatRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, EndTxnRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, ProduceRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::broker::Broker;
use crate::wire::bounded::decode;
use crate::wire::topics::TopicKey;

/// Empty where a request has nothing of the kind.
#[derive(Debug, Default)]
pub(in crate::wire) struct Subject {
    pub(in crate::wire) topic_names: Vec<String>,
    pub(super) partitions: Vec<TopicPartition>,
    pub(in crate::wire) groups: Vec<String>,
    pub(in crate::wire) members: Vec<String>,
    pub(in crate::wire) transactional_ids: Vec<String>,
}

impl Subject {
    /// Reads a request; one that can't be read is about nothing, and is refused later.
    pub(super) fn of(broker: &Broker, api: ApiKey, version: i16, body: &Bytes) -> Self {
        let mut subject = Self::default();
        // What can't be read is refused when the request is applied.
        let _ = subject.read(broker, api, version, body);
        subject
    }

    fn read(
        &mut self,
        broker: &Broker,
        api: ApiKey,
        version: i16,
        body: &Bytes,
    ) -> Result<(), String> {
        match api {
            ApiKey::Produce => {
                let request: ProduceRequest = decode(body, version)?;
                request.transactional_id.iter().for_each(|id| self.transaction(id));
                for topic in &request.topic_data {
                    let numbers = topic.partition_data.iter().map(|data| data.index);
                    self.topic(broker, &topic.name, topic.topic_id, numbers);
                }
            }
            ApiKey::Fetch => {
                let request: FetchRequest = decode(body, version)?;
                for topic in &request.topics {
                    let numbers = topic.partitions.iter().map(|asked| asked.partition);
                    self.topic(broker, &topic.topic, topic.topic_id, numbers);
                }
            }
            ApiKey::ListOffsets => {
                let request: ListOffsetsRequest = decode(body, version)?;
                for topic in &request.topics {
                    let numbers = topic.partitions.iter().map(|asked| asked.partition_index);
                    self.topic(broker, &topic.name, Uuid::nil(), numbers);
                }
            }
            ApiKey::Metadata => {
                let request: MetadataRequest = decode(body, version)?;
                for topic in request.topics.iter().flatten() {
                    let name = topic.name.as_deref().map_or("", |name| name);
                    self.topic(broker, name, topic.topic_id, []);
                }
            }
            ApiKey::DeleteRecords => {
                let request: DeleteRecordsRequest = decode(body, version)?;
                for topic in &request.topics {
                    let numbers = topic.partitions.iter().map(|asked| asked.partition_index);
                    self.topic(broker, &topic.name, Uuid::nil(), numbers);
                }
            }
            ApiKey::CreateTopics => {
                let request: CreateTopicsRequest = decode(body, version)?;
                request.topics.iter().for_each(|t| self.topic(broker, &t.name, Uuid::nil(), []));
            }
            ApiKey::FindCoordinator => {
                let request: FindCoordinatorRequest = decode(body, version)?;
                let keys = request.coordinator_keys.iter().chain([&request.key]);
                for key in keys.filter(|key| !key.is_empty()) {
                    match request.key_type {
                        0 => self.group(key),
                        _ => self.transaction(key),
                    }
                }
            }
            _ => return self.read_coordinated(broker, api, version, body),
        }
        Ok(())
    }

    /// Requests to the coordinator of a group.
    fn read_coordinated(
        &mut self,
        broker: &Broker,
        api: ApiKey,
        version: i16,
        body: &Bytes,
    ) -> Result<(), String> {
        match api {
            ApiKey::JoinGroup => {
                let request: JoinGroupRequest = decode(body, version)?;
                self.member(&request.group_id, &request.member_id);
            }
            ApiKey::SyncGroup => {
                let request: SyncGroupRequest = decode(body, version)?;
                self.member(&request.group_id, &request.member_id);
            }
            ApiKey::Heartbeat => {
                let request: HeartbeatRequest = decode(body, version)?;
                self.member(&request.group_id, &request.member_id);
            }
            ApiKey::LeaveGroup => {
                let request: LeaveGroupRequest = decode(body, version)?;
                self.member(&request.group_id, &request.member_id);
                request.members.iter().for_each(|m| self.members.push(m.member_id.to_string()));
            }
            ApiKey::ConsumerGroupHeartbeat => {
                let request: ConsumerGroupHeartbeatRequest = decode(body, version)?;
                self.member(&request.group_id, &request.member_id);
            }
            ApiKey::OffsetCommit => {
                let request: OffsetCommitRequest = decode(body, version)?;
                self.member(&request.group_id, &request.member_id);
                for topic in &request.topics {
                    let numbers = topic.partitions.iter().map(|asked| asked.partition_index);
                    self.topic(broker, &topic.name, topic.topic_id, numbers);
                }
            }
            ApiKey::OffsetFetch => {
                let request: OffsetFetchRequest = decode(body, version)?;
                self.group(&request.group_id);
                request.groups.iter().for_each(|group| self.group(&group.group_id));
            }
            ApiKey::OffsetDelete => {
                let request: OffsetDeleteRequest = decode(body, version)?;
                self.group(&request.group_id);
            }
            ApiKey::DeleteGroups => {
                let request: DeleteGroupsRequest = decode(body, version)?;
                request.groups_names.iter().for_each(|group| self.group(group));
            }
            _ => return self.read_transactional(api, version, body),
        }
        Ok(())
    }

    /// Requests to the coordinator of a transactional id.
    fn read_transactional(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &Bytes,
    ) -> Result<(), String> {
        match api {
            ApiKey::InitProducerId => {
                let request: InitProducerIdRequest = decode(body, version)?;
                request.transactional_id.iter().for_each(|id| self.transaction(id));
            }
            ApiKey::AddPartitionsToTxn => {
                let request: AddPartitionsToTxnRequest = decode(body, version)?;
                self.transaction(&request.v3_and_below_transactional_id);
                for transaction in &request.transactions {
                    self.transaction(&transaction.transactional_id);
                }
            }
            ApiKey::AddOffsetsToTxn => {
                let request: AddOffsetsToTxnRequest = decode(body, version)?;
                self.transaction(&request.transactional_id);
                self.group(&request.group_id);
            }
            ApiKey::TxnOffsetCommit => {
                let request: TxnOffsetCommitRequest = decode(body, version)?;
                self.transaction(&request.transactional_id);
                self.member(&request.group_id, &request.member_id);
            }
            ApiKey::EndTxn => {
                let request: EndTxnRequest = decode(body, version)?;
                self.transaction(&request.transactional_id);
            }
            _ => {}
        }
        Ok(())
    }

    fn topic(
        &mut self,
        broker: &Broker,
        name: &str,
        id: Uuid,
        numbers: impl IntoIterator<Item = i32>,
    ) {
        let name = match name {
            "" => broker.with(|state| {
                let topic = state.topic(TopicKey::Id(id));
                topic.map_or_else(|_| String::new(), |topic| topic.name.to_string())
            }),
            name => name.to_owned(),
        };
        let topic = Topic::from(&*name);
        let partitions = numbers.into_iter();
        self.partitions.extend(partitions.map(|number| TopicPartition::new(topic.clone(), number)));
        self.topic_names.push(name);
    }

    fn group(&mut self, group: &str) {
        if !group.is_empty() {
            self.groups.push(group.to_owned());
        }
    }

    fn member(&mut self, group: &str, member: &StrBytes) {
        self.group(group);
        self.members.push(member.to_string());
    }

    fn transaction(&mut self, id: &str) {
        if !id.is_empty() {
            self.transactional_ids.push(id.to_owned());
        }
    }
}
