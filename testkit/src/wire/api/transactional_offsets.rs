//! TxnOffsetCommit: what a group has finished, committed with a transaction.

use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ApiKey, TxnOffsetCommitRequest, TxnOffsetCommitResponse};

use super::groups::is_here;
use super::transactions::offsets_partition;
use crate::broker::state::State;
use crate::broker::{CommittedOffset, Producing};
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::topics::code;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::TxnOffsetCommit, 0..=5, commit)]
}

/// The first versions that know `TRANSACTION_ABORTABLE`, and whose offsets join with the request.
const ABORTABLE: i16 = 4;
const JOINS: i16 = 5;

fn commit(call: &Call, request: &TxnOffsetCommitRequest) -> TxnOffsetCommitResponse {
    let topics = call.broker().change(|state| {
        let known = |state: &State, topic: &TxnOffsetCommitRequestTopic, number: i32| {
            let partition = TopicPartition::new(Topic::from(&**topic.name), number);
            state.has_partition(&partition)
        };
        let mut partitions = request
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |p| (topic, p.partition_index)));
        let any = partitions.any(|(topic, number)| known(state, topic, number));
        let admitted = if any { admit(call, state, request) } else { Ok(()) };
        let group: Arc<str> = (&**request.group_id).into();
        let topics = request.topics.iter();
        topics.map(|topic| add(state, request, &group, topic, admitted)).collect()
    });
    TxnOffsetCommitResponse::default().with_topics(topics)
}

/// Says why the producer, or the member of the group, may not commit, if so.
fn admit(
    call: &Call,
    state: &mut State,
    request: &TxnOffsetCommitRequest,
) -> Result<(), ResponseError> {
    is_here(call, &request.group_id)?;
    let how = match call.version() {
        JOINS.. => Producing::Joins,
        ABORTABLE => Producing::HasJoined,
        _ => Producing::HasJoinedOld,
    };
    let producer = (*request.producer_id, request.producer_epoch);
    let partition = offsets_partition(&request.group_id);
    state.in_transaction(&request.transactional_id, producer, partition, how)?;
    fence(state, request)?;
    // The group is there from now on, whatever becomes of its offsets.
    state.groups.entry((&**request.group_id).into()).or_default();
    Ok(())
}

/// A client that names neither a member nor a generation is not fenced by the group.
fn fence(state: &State, request: &TxnOffsetCommitRequest) -> Result<(), ResponseError> {
    let instance = request.group_instance_id.as_deref();
    let generation = request.generation_id;
    let is_plain = generation < 0 && request.member_id.is_empty() && instance.is_none();
    if is_plain {
        return Ok(());
    }
    if state.groups.get(&**request.group_id).is_some_and(|group| !group.members().is_empty()) {
        return Err(ResponseError::UnknownMemberId);
    }
    if let Some(group) = state.consumer_group(&request.group_id) {
        return group.validate(&request.member_id, generation).map_err(|error| match error {
            // This API does not know the newer error.
            ResponseError::StaleMemberEpoch => ResponseError::IllegalGeneration,
            error => error,
        });
    }
    let group = state.wire.groups.get(&**request.group_id);
    let Some(group) = group.filter(|group| !group.is_unused() || generation >= 0) else {
        return match state.groups.contains_key(&**request.group_id) {
            _ if generation < 0 => Ok(()),
            true => Err(ResponseError::UnknownMemberId),
            false => Err(ResponseError::IllegalGeneration),
        };
    };
    if generation < 0 && group.members().next().is_none() {
        return Ok(());
    }
    group.validate(&request.member_id, instance)?;
    if generation != group.generation() {
        return Err(ResponseError::IllegalGeneration);
    }
    Ok(())
}

fn add(
    state: &mut State,
    request: &TxnOffsetCommitRequest,
    group: &Arc<str>,
    topic: &TxnOffsetCommitRequestTopic,
    admitted: Result<(), ResponseError>,
) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|asked| {
        let partition = TopicPartition::new(Topic::from(&**topic.name), asked.partition_index);
        let committed = CommittedOffset {
            offset: asked.committed_offset,
            metadata: asked.committed_metadata.as_deref().unwrap_or_default().to_owned(),
        };
        let outcome = if !state.has_partition(&partition) {
            Err(ResponseError::UnknownTopicOrPartition)
        } else if let Err(error) = admitted {
            Err(error)
        } else if committed.metadata.len() > state.metadata_max_bytes {
            Err(ResponseError::OffsetMetadataTooLarge)
        } else {
            state.add_offsets(&request.transactional_id, group, vec![(partition, committed)]);
            Ok(())
        };
        TxnOffsetCommitResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code(outcome))
    });
    TxnOffsetCommitResponseTopic::default()
        .with_name(topic.name.clone())
        .with_partitions(partitions.collect())
}
