//! Metadata: nodes, topics and the leaders of partitions.

use jobstream::record::Topic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{ApiKey, BrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::broker::TopicOptions;
use crate::broker::state::State;
use crate::broker::topic::TopicState;
use crate::wire::call::Call;
use crate::wire::cluster::{Cluster, Node};
use crate::wire::dispatch::Api;
use crate::wire::internal::is_internal;
use crate::wire::topics::{TopicKey, is_topic_name};

/// What anybody may do with a topic and with the cluster, as bits; there are no rules of access.
pub(super) const TOPIC_OPERATIONS: i32 = 3_576;
pub(super) const CLUSTER_OPERATIONS: i32 = 7_968;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::Metadata, 0..=13, metadata)]
}

fn metadata(call: &Call, request: &MetadataRequest) -> MetadataResponse {
    let cluster = call.cluster();
    let creates = request.allow_auto_topic_creation || call.version() < 4;
    let partitions = cluster.settings().auto_create.filter(|_| creates);
    let is_all = |topics: &[_]| call.version() == 0 && topics.is_empty();
    let topics = call.broker().with(|state| match &request.topics {
        Some(topics) if !is_all(topics) => {
            let find = |topic: &MetadataRequestTopic| match &topic.name {
                Some(name) => named(cluster, state, name.clone(), partitions),
                None => by_id(cluster, state, topic.topic_id),
            };
            topics.iter().map(find).collect()
        }
        _ => state.all_topics().map(|topic| described(cluster, topic)).collect::<Vec<_>>(),
    });
    let mut response = MetadataResponse::default()
        .with_brokers(cluster.nodes_here().map(described_node).collect())
        .with_cluster_id(Some(StrBytes::from_static_str(Cluster::ID)))
        .with_controller_id(BrokerId(cluster.nodes()[0].id))
        .with_topics(topics);
    if request.include_topic_authorized_operations {
        let known = response.topics.iter_mut().filter(|topic| topic.error_code == 0);
        known.for_each(|topic| topic.topic_authorized_operations = TOPIC_OPERATIONS);
    }
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

fn described_node(node: &Node) -> MetadataResponseBroker {
    MetadataResponseBroker::default()
        .with_node_id(BrokerId(node.id))
        .with_host(StrBytes::from_string(node.host.clone()))
        .with_port(i32::from(node.port))
}

fn named(
    cluster: &Cluster,
    state: &mut State,
    name: TopicName,
    auto_create: Option<i32>,
) -> MetadataResponseTopic {
    let refused = |name, error: ResponseError| {
        MetadataResponseTopic::default().with_name(Some(name)).with_error_code(error.code())
    };
    if !is_topic_name(&name) {
        return refused(name, ResponseError::InvalidTopicException);
    }
    if let Some(partitions) = auto_create
        && state.topic_named(&name).is_none()
    {
        if is_internal(&name) {
            state.ensure_internal(&name);
        } else {
            state.create_topic(&Topic::from(&**name), &TopicOptions::partitions(partitions));
        }
        state.changed = true;
        // Kafka has not created it yet when it answers, and the client asks again.
        return refused(name, ResponseError::UnknownTopicOrPartition);
    }
    match state.topic_named(&name) {
        Some(topic) => described(cluster, topic),
        None => refused(name, ResponseError::UnknownTopicOrPartition),
    }
}

fn by_id(cluster: &Cluster, state: &State, id: Uuid) -> MetadataResponseTopic {
    match state.topic(TopicKey::Id(id)) {
        Ok(topic) => described(cluster, topic),
        Err(_) => MetadataResponseTopic::default()
            .with_name(None)
            .with_topic_id(id)
            .with_error_code(ResponseError::UnknownTopicId.code()),
    }
}

fn described(cluster: &Cluster, topic: &TopicState) -> MetadataResponseTopic {
    let partition = |number| {
        let leader = BrokerId(cluster.leader(&topic.name, number).id);
        MetadataResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(leader)
            .with_leader_epoch(cluster.placement().leader_epoch())
            .with_replica_nodes(vec![leader])
            .with_isr_nodes(vec![leader])
    };
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(Uuid::from_u128(topic.id.as_u128()))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions((0..topic.partitions()).map(partition).collect())
}
