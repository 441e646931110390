//! Answers that refuse a request with a code, whatever it asks.

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, ApiKey, ApiVersionsResponse, BrokerId,
    ConsumerGroupHeartbeatResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DeleteTopicsRequest, DeleteTopicsResponse, DescribeClusterResponse,
    EndTxnResponse, FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    HeartbeatResponse, InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse,
    ListGroupsResponse, ListOffsetsRequest, ListOffsetsResponse, MetadataRequest, MetadataResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, ProduceRequest, ProduceResponse, ProducerId, SyncGroupResponse,
    TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::{Encodable, HeaderVersion, StrBytes};

use crate::wire::bounded::decode;
use crate::wire::frame::Answer;

/// A request that is refused.
pub(super) struct Refused<'a> {
    pub(super) version: i16,
    pub(super) body: &'a Bytes,
    pub(super) code: i16,
}

impl Refused<'_> {
    /// The answer, with the code wherever the API has a place for one; none if it has no place, or if
    /// the request can't be read.
    pub(super) fn answer(&self, api: ApiKey) -> Option<Answer> {
        let code = self.code;
        match api {
            ApiKey::Produce => self.encode(&self.produce()?),
            ApiKey::Fetch => self.encode(&self.fetch()?),
            ApiKey::ListOffsets => self.encode(&self.list_offsets()?),
            ApiKey::Metadata => self.encode(&self.metadata()?),
            ApiKey::OffsetCommit => self.encode(&self.offset_commit()?),
            ApiKey::OffsetFetch => self.encode(&self.offset_fetch()?),
            ApiKey::FindCoordinator => self.encode(&self.find_coordinator()?),
            ApiKey::AddPartitionsToTxn => self.encode(&self.add_partitions()?),
            ApiKey::TxnOffsetCommit => self.encode(&self.txn_offset_commit()?),
            ApiKey::CreateTopics => self.encode(&self.create_topics()?),
            ApiKey::DeleteTopics => self.encode(&self.delete_topics()?),
            ApiKey::DeleteGroups => self.encode(&self.delete_groups()?),
            ApiKey::JoinGroup => {
                // Null has come with version 7.
                let protocol = (self.version < 7).then(StrBytes::default);
                let refused = JoinGroupResponse::default().with_generation_id(-1);
                self.encode(&refused.with_error_code(code).with_protocol_name(protocol))
            }
            ApiKey::AddOffsetsToTxn => {
                let _: AddOffsetsToTxnRequest = self.read()?;
                self.encode(&AddOffsetsToTxnResponse::default().with_error_code(code))
            }
            ApiKey::InitProducerId => {
                let refused = InitProducerIdResponse::default().with_producer_id(ProducerId(-1));
                self.encode(&refused.with_producer_epoch(-1).with_error_code(code))
            }
            ApiKey::ConsumerGroupHeartbeat => {
                self.encode(&ConsumerGroupHeartbeatResponse::default().with_error_code(code))
            }
            ApiKey::Heartbeat => self.encode(&HeartbeatResponse::default().with_error_code(code)),
            ApiKey::LeaveGroup => self.encode(&LeaveGroupResponse::default().with_error_code(code)),
            ApiKey::SyncGroup => self.encode(&SyncGroupResponse::default().with_error_code(code)),
            ApiKey::EndTxn => self.encode(&EndTxnResponse::default().with_error_code(code)),
            ApiKey::ListGroups => self.encode(&ListGroupsResponse::default().with_error_code(code)),
            ApiKey::ApiVersions => {
                self.encode(&ApiVersionsResponse::default().with_error_code(code))
            }
            ApiKey::OffsetDelete => {
                self.encode(&OffsetDeleteResponse::default().with_error_code(code))
            }
            ApiKey::DescribeCluster => {
                self.encode(&DescribeClusterResponse::default().with_error_code(code))
            }
            _ => None,
        }
    }

    fn read<Q: kafka_protocol::protocol::Decodable + HeaderVersion>(&self) -> Option<Q> {
        decode(self.body, self.version).ok()
    }

    fn encode<R: Encodable + HeaderVersion>(&self, response: &R) -> Option<Answer> {
        Answer::of(response, self.version).ok()
    }

    fn produce(&self) -> Option<ProduceResponse> {
        let request: ProduceRequest = self.read()?;
        if request.acks == 0 {
            return None;
        }
        let topics = request.topic_data.into_iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|data| {
                PartitionProduceResponse::default()
                    .with_index(data.index)
                    .with_error_code(self.code)
                    .with_base_offset(-1)
                    .with_log_append_time_ms(-1)
                    .with_log_start_offset(-1)
            });
            TopicProduceResponse::default()
                .with_partition_responses(partitions.collect())
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
        });
        Some(ProduceResponse::default().with_responses(topics.collect()))
    }

    fn fetch(&self) -> Option<FetchResponse> {
        let request: FetchRequest = self.read()?;
        if request.topics.is_empty() && self.version >= 7 {
            // Of a session, whose partitions it does not name.
            return Some(FetchResponse::default().with_error_code(self.code));
        }
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                PartitionData::default()
                    .with_partition_index(asked.partition)
                    .with_error_code(self.code)
                    .with_high_watermark(-1)
                    .with_last_stable_offset(-1)
                    .with_log_start_offset(-1)
                    .with_records(Some(Bytes::new()))
            });
            FetchableTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_topic(topic.topic)
                .with_topic_id(topic.topic_id)
        });
        Some(FetchResponse::default().with_responses(topics.collect()))
    }

    fn list_offsets(&self) -> Option<ListOffsetsResponse> {
        let request: ListOffsetsRequest = self.read()?;
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(self.code)
            });
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        Some(ListOffsetsResponse::default().with_topics(topics.collect()))
    }

    /// It names no node: a client keeps those that it knows.
    fn metadata(&self) -> Option<MetadataResponse> {
        let request: MetadataRequest = self.read()?;
        let topics = request.topics.into_iter().flatten().map(|topic| {
            MetadataResponseTopic::default()
                .with_error_code(self.code)
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
        });
        let response = MetadataResponse::default().with_controller_id(BrokerId(-1));
        let response = response.with_topics(topics.collect());
        Some(if self.version >= 13 { response.with_error_code(self.code) } else { response })
    }

    fn offset_commit(&self) -> Option<OffsetCommitResponse> {
        let request: OffsetCommitRequest = self.read()?;
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(self.code)
            });
            OffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
        });
        Some(OffsetCommitResponse::default().with_topics(topics.collect()))
    }

    fn offset_fetch(&self) -> Option<OffsetFetchResponse> {
        let request: OffsetFetchRequest = self.read()?;
        let groups = request.groups.into_iter().map(|group| {
            let refused = OffsetFetchResponseGroup::default().with_group_id(group.group_id);
            refused.with_error_code(self.code)
        });
        let response = OffsetFetchResponse::default().with_groups(groups.collect());
        // Versions 0 and 1 have no place for it; from 8 on each group has one.
        let is_whole = (2..8).contains(&self.version);
        Some(if is_whole { response.with_error_code(self.code) } else { response })
    }

    fn find_coordinator(&self) -> Option<FindCoordinatorResponse> {
        let request: FindCoordinatorRequest = self.read()?;
        let nobody = FindCoordinatorResponse::default();
        if self.version < 4 {
            let nobody = nobody.with_node_id(BrokerId(-1)).with_port(-1);
            return Some(nobody.with_error_code(self.code));
        }
        let coordinators = request.coordinator_keys.into_iter().map(|key| {
            let nobody = Coordinator::default().with_node_id(BrokerId(-1)).with_port(-1);
            nobody.with_key(key).with_error_code(self.code)
        });
        Some(nobody.with_coordinators(coordinators.collect()))
    }

    fn add_partitions(&self) -> Option<AddPartitionsToTxnResponse> {
        let request: AddPartitionsToTxnRequest = self.read()?;
        if self.version >= 4 {
            return Some(AddPartitionsToTxnResponse::default().with_error_code(self.code));
        }
        let topics = request.v3_and_below_topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|&partition| {
                AddPartitionsToTxnPartitionResult::default()
                    .with_partition_index(partition)
                    .with_partition_error_code(self.code)
            });
            AddPartitionsToTxnTopicResult::default()
                .with_results_by_partition(partitions.collect())
                .with_name(topic.name)
        });
        let topics = topics.collect();
        Some(AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(topics))
    }

    fn txn_offset_commit(&self) -> Option<TxnOffsetCommitResponse> {
        let request: TxnOffsetCommitRequest = self.read()?;
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(self.code)
            });
            TxnOffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
        });
        Some(TxnOffsetCommitResponse::default().with_topics(topics.collect()))
    }

    fn create_topics(&self) -> Option<CreateTopicsResponse> {
        let request: CreateTopicsRequest = self.read()?;
        let topics = request.topics.into_iter().map(|topic| {
            CreatableTopicResult::default().with_error_code(self.code).with_name(topic.name)
        });
        Some(CreateTopicsResponse::default().with_topics(topics.collect()))
    }

    fn delete_topics(&self) -> Option<DeleteTopicsResponse> {
        let request: DeleteTopicsRequest = self.read()?;
        let refused = || DeletableTopicResult::default().with_error_code(self.code);
        let by_id = request.topics.into_iter();
        let by_id = by_id.map(|t| refused().with_topic_id(t.topic_id).with_name(t.name));
        let named = request.topic_names.into_iter().map(|name| refused().with_name(Some(name)));
        let topics = by_id.chain(named).collect();
        Some(DeleteTopicsResponse::default().with_responses(topics))
    }

    fn delete_groups(&self) -> Option<DeleteGroupsResponse> {
        let request: DeleteGroupsRequest = self.read()?;
        let results = request.groups_names.into_iter().map(|group| {
            DeletableGroupResult::default().with_error_code(self.code).with_group_id(group)
        });
        Some(DeleteGroupsResponse::default().with_results(results.collect()))
    }
}
