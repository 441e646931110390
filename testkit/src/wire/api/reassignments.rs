//! ElectLeaders, AlterPartitionReassignments and ListPartitionReassignments.
//!
//! A partition has one copy, on the node that leads it: no election is needed, and a reassignment is over
//! at once and moves nothing.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ApiKey,
    ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};

use super::topic_admin::{Refusal, check_replicas, refusal, told};
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::ElectLeaders, 0..=2, elect),
        Api::at_once(ApiKey::AlterPartitionReassignments, 0..=1, alter),
        Api::at_once(ApiKey::ListPartitionReassignments, 0..=0, list),
    ]
}

/// Of all partitions, Kafka names those that have another leader now: none.
fn elect(call: &Call, request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let state = call.broker().lock();
    let elected = |topic: &str, number| {
        let count = state.topic_named(topic).map(|topic| topic.partitions());
        let (error, message) = match count {
            Some(count) if (0..count).contains(&number) => (
                ResponseError::ElectionNotNeeded,
                "Leader election not needed for topic partition.".to_owned(),
            ),
            Some(_) => (
                ResponseError::UnknownTopicOrPartition,
                format!("No such partition as {topic}-{number}"),
            ),
            None => (ResponseError::UnknownTopicOrPartition, format!("No such topic as {topic}")),
        };
        PartitionResult::default()
            .with_partition_id(number)
            .with_error_code(error.code())
            .with_error_message(told(Some(message)))
    };
    let results = request.topic_partitions.iter().flatten().map(|asked| {
        let partitions = asked.partitions.iter().map(|number| elected(&asked.topic, *number));
        ReplicaElectionResult::default()
            .with_topic(asked.topic.clone())
            .with_partition_result(partitions.collect())
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

fn alter(
    call: &Call,
    request: &AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let state = call.broker().lock();
    let responses = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let outcome = reassign(call, &state, &topic.name, partition);
            let (error, message) = outcome.err().map_or((0, None), |(e, m)| (e.code(), m));
            ReassignablePartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error)
                .with_error_message(told(message))
        });
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    let response = AlterPartitionReassignmentsResponse::default();
    let response = response.with_responses(responses.collect());
    if call.version() == 0 {
        return response;
    }
    response.with_allow_replication_factor_change(request.allow_replication_factor_change)
}

fn reassign(
    call: &Call,
    state: &State,
    name: &str,
    asked: &ReassignablePartition,
) -> Result<(), Refusal> {
    let unknown = |message| refusal(ResponseError::UnknownTopicOrPartition, message);
    let topic = state.topic_named(name);
    let topic = topic.ok_or_else(|| unknown(format!("Unable to find a topic named {name}.")))?;
    let number = asked.partition_index;
    if !(0..topic.partitions()).contains(&number) {
        return Err(unknown(format!("Unable to find partition {name}:{number}.")));
    }
    match &asked.replicas {
        Some(replicas) => check_replicas(call, replicas),
        None => Err((ResponseError::NoReassignmentInProgress, None)),
    }
}

fn list(
    _call: &Call,
    _request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default()
}
