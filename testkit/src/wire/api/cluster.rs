//! DescribeCluster, DescribeLogDirs and DescribeTopicPartitions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::metadata::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS};
use crate::broker::topic::TopicState;
use crate::wire::call::Call;
use crate::wire::cluster::Cluster;
use crate::wire::dispatch::Api;
use crate::wire::internal::is_internal;
use crate::wire::topics::is_topic_name;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::DescribeCluster, 0..=2, describe_cluster),
        Api::at_once(ApiKey::DescribeLogDirs, 1..=4, describe_log_dirs),
        Api::at_once(ApiKey::DescribeTopicPartitions, 0..=0, describe_topic_partitions),
    ]
}

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;
/// What stands for operations that nobody has asked for.
const NO_OPERATIONS: i32 = i32::MIN;
/// The one folder that the broker pretends to have.
pub(super) const LOG_DIR: &str = "/in-memory";
/// Partitions in one answer, at most; Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: i32 = 2_000;

fn describe_cluster(call: &Call, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let asked = if call.version() == 0 { BROKERS } else { request.endpoint_type };
    let refused = |error: ResponseError, message| {
        DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str(message)))
    };
    match asked {
        BROKERS => {}
        CONTROLLERS => {
            let message = "The request was sent to an endpoint of the wrong type.";
            return refused(ResponseError::MismatchedEndpointType, message);
        }
        _ => return refused(ResponseError::UnsupportedEndpointType, "Unsupported endpoint type"),
    }
    let brokers = call.cluster().nodes_here().map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id))
            .with_host(StrBytes::from_string(node.host.clone()))
            .with_port(i32::from(node.port))
    });
    let operations = match request.include_cluster_authorized_operations {
        true => CLUSTER_OPERATIONS,
        false => NO_OPERATIONS,
    };
    DescribeClusterResponse::default()
        .with_endpoint_type(BROKERS)
        .with_cluster_id(StrBytes::from_static_str(Cluster::ID))
        .with_controller_id(BrokerId(call.cluster().nodes()[0].id))
        .with_brokers(brokers.collect())
        .with_cluster_authorized_operations(operations)
}

fn describe_log_dirs(call: &Call, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let state = call.broker().lock();
    let asked = |topic: &TopicState, number: i32| match &request.topics {
        None => true,
        Some(topics) => topics.iter().any(|asked: &DescribableLogDirTopic| {
            **asked.topic == *topic.name && asked.partitions.contains(&number)
        }),
    };
    let topics = state.all_topics().filter_map(|topic| {
        let here = (0..).zip(&topic.logs).filter(|(number, _)| {
            call.cluster().leader(&topic.name, *number).id == call.node().id
                && asked(topic, *number)
        });
        let partitions: Vec<_> = here
            .map(|(number, log)| {
                DescribeLogDirsPartition::default()
                    .with_partition_index(number)
                    .with_partition_size(i64::try_from(log.bytes()).unwrap_or(i64::MAX))
            })
            .collect();
        let topic = DescribeLogDirsTopic::default().with_name(name_of(topic));
        (!partitions.is_empty()).then(|| topic.with_partitions(partitions))
    });
    let folder = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_static_str(LOG_DIR))
        .with_topics(topics.collect())
        .with_total_bytes(-1)
        .with_usable_bytes(-1);
    DescribeLogDirsResponse::default().with_results(vec![folder])
}

fn name_of(topic: &TopicState) -> TopicName {
    TopicName(StrBytes::from_string(topic.name.to_string()))
}

/// Topics by name, from the cursor on, as many partitions as there is room for.
fn describe_topic_partitions(
    call: &Call,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let state = call.broker().lock();
    let mut names: Vec<String> = match request.topics.is_empty() {
        true => state.all_topics().map(|topic| topic.name.to_string()).collect(),
        false => request.topics.iter().map(|topic| topic.name.to_string()).collect(),
    };
    names.sort();
    names.dedup();
    let (first, mut from) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index.max(0)),
        None => (String::new(), 0),
    };
    let mut left = request.response_partition_limit.clamp(1, PARTITIONS_MAX);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= first) {
        let start = if name == first { std::mem::take(&mut from) } else { 0 };
        let topic_name = TopicName(StrBytes::from_string(name.clone()));
        let cursor = Cursor::default().with_topic_name(topic_name);
        if left == 0 {
            response.next_cursor = Some(cursor);
            break;
        }
        let Some(topic) = state.topic_named(&name) else {
            response.topics.push(unknown(name));
            continue;
        };
        let end = topic.partitions().min(start.saturating_add(left));
        response.topics.push(described(call, topic, start..end));
        left -= (end - start).max(0);
        if end < topic.partitions() {
            response.next_cursor = Some(cursor.with_partition_index(end));
            break;
        }
    }
    response
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    let error = match is_topic_name(&name) {
        true => ResponseError::UnknownTopicOrPartition,
        false => ResponseError::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(error.code())
        .with_name(Some(TopicName(StrBytes::from_string(name))))
        .with_topic_authorized_operations(NO_OPERATIONS)
}

fn described(
    call: &Call,
    topic: &TopicState,
    numbers: std::ops::Range<i32>,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = numbers.map(|number| {
        let leader = BrokerId(call.cluster().leader(&topic.name, number).id);
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(number)
            .with_leader_id(leader)
            .with_leader_epoch(call.cluster().placement().leader_epoch())
            .with_replica_nodes(vec![leader])
            .with_isr_nodes(vec![leader])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(name_of(topic)))
        .with_topic_id(Uuid::from_u128(topic.id.as_u128()))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}
