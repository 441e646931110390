//! OffsetCommit and OffsetFetch: what a group has finished.

use std::collections::BTreeSet;
use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    ApiKey, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::groups::is_here;
use crate::broker::CommittedOffset;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::classic::Phase;
use crate::wire::dispatch::Api;
use crate::wire::topics::code;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::OffsetCommit, 2..=9, offset_commit),
        Api::at_once(ApiKey::OffsetFetch, 1..=9, offset_fetch),
    ]
}

/// The first version of OffsetFetch that names several groups.
const MANY_GROUPS: i16 = 8;

fn offset_commit(call: &Call, request: &OffsetCommitRequest) -> OffsetCommitResponse {
    let topics = call.broker().change(|state| {
        let admitted = is_here(call, &request.group_id).and_then(|()| admit(state, request));
        let group: Arc<str> = (&**request.group_id).into();
        let topics = request.topics.iter();
        topics.map(|topic| commit(state, &group, topic, admitted)).collect()
    });
    OffsetCommitResponse::default().with_topics(topics)
}

/// Says why the member may not commit, if so.
fn admit(state: &mut State, request: &OffsetCommitRequest) -> Result<(), ResponseError> {
    let generation = request.generation_id_or_member_epoch;
    let others = state.groups.get(&**request.group_id);
    if others.is_some_and(|group| !group.members().is_empty()) {
        return Err(ResponseError::UnknownMemberId);
    }
    if let Some(group) = state.consumer_group(&request.group_id) {
        return group.validate(&request.member_id, generation);
    }
    let group = state.wire.groups.get_mut(&**request.group_id);
    let Some(group) = group.filter(|group| !group.is_unused() || generation >= 0) else {
        let is_plain = generation < 0;
        return if is_plain { Ok(()) } else { Err(ResponseError::IllegalGeneration) };
    };
    if generation < 0 && group.phase() == Phase::Empty {
        return Ok(());
    }
    let instance = request.group_instance_id.as_deref();
    if generation < 0 && request.member_id.is_empty() && instance.is_none() {
        return Err(ResponseError::UnknownMemberId);
    }
    group.validate(&request.member_id, instance)?;
    if generation != group.generation() {
        return Err(ResponseError::IllegalGeneration);
    }
    if group.phase() == Phase::Completing {
        return Err(ResponseError::RebalanceInProgress);
    }
    group.renew(&request.member_id, Instant::now());
    Ok(())
}

fn commit(
    state: &mut State,
    group: &Arc<str>,
    topic: &OffsetCommitRequestTopic,
    admitted: Result<(), ResponseError>,
) -> OffsetCommitResponseTopic {
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
            // The group is there from now on, whatever becomes of its offsets.
            state.groups.entry(group.clone()).or_default();
            Err(ResponseError::OffsetMetadataTooLarge)
        } else {
            state.commit(group, &vec![(partition, committed)]);
            Ok(())
        };
        OffsetCommitResponsePartition::default()
            .with_partition_index(asked.partition_index)
            .with_error_code(code(outcome))
    });
    OffsetCommitResponseTopic::default()
        .with_partitions(partitions.collect())
        .with_name(topic.name.clone())
}

/// Topics and their partitions; all that the group has committed if there is no list.
type Asked = Option<Vec<(TopicName, Vec<i32>)>>;

fn offset_fetch(call: &Call, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let requires_stable = request.require_stable;
    let state = call.broker().lock();
    if call.version() >= MANY_GROUPS {
        let groups = request.groups.iter().map(|group| {
            let response =
                OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
            let is_here = is_here(call, &group.group_id);
            let knows = |()| match state.consumer_group(&group.group_id) {
                Some(known) if group.member_id.is_some() || group.member_epoch >= 0 => {
                    let member_id = group.member_id.as_deref().unwrap_or_default();
                    known.validate(member_id, group.member_epoch)
                }
                _ => Ok(()),
            };
            if let Err(error) = is_here.and_then(knows) {
                return response.with_error_code(error.code());
            }
            let asked = group.topics.as_ref().map(|topics| {
                let asked = topics.iter();
                asked.map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect()
            });
            let topics = committed(&state, &group.group_id, asked, requires_stable);
            response.with_topics(topics)
        });
        return OffsetFetchResponse::default().with_groups(groups.collect());
    }
    if let Err(error) = is_here(call, &request.group_id) {
        return OffsetFetchResponse::default().with_error_code(if call.version() >= 2 {
            error.code()
        } else {
            0
        });
    }
    let asked = request.topics.as_ref().map(|topics| {
        let asked = topics.iter();
        asked.map(|topic| (topic.name.clone(), topic.partition_indexes.clone())).collect()
    });
    let topics = committed(&state, &request.group_id, asked, requires_stable).into_iter();
    let topics = topics.map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_metadata(partition.metadata)
                .with_error_code(partition.error_code)
        });
        OffsetFetchResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    OffsetFetchResponse::default().with_topics(topics.collect())
}

fn committed(
    state: &State,
    group: &str,
    asked: Asked,
    requires_stable: bool,
) -> Vec<OffsetFetchResponseTopics> {
    let known = state.groups.get(group).map(|group| &group.committed);
    let asked = asked.unwrap_or_else(|| {
        let mut topics: Vec<(TopicName, Vec<i32>)> = Vec::new();
        for partition in known.into_iter().flat_map(|known| known.keys()) {
            match topics.last_mut() {
                Some((topic, partitions)) if **topic == *partition.topic => {
                    partitions.push(partition.partition);
                }
                _ => {
                    let name = StrBytes::from_string(partition.topic.to_string());
                    topics.push((TopicName(name), vec![partition.partition]));
                }
            }
        }
        topics
    });
    let unstable = match requires_stable {
        true => state.transactions.unstable_offsets(group),
        false => BTreeSet::new(),
    };
    let topics = asked.into_iter().map(|(name, numbers)| {
        let topic = Topic::from(&**name);
        let partitions = numbers.into_iter().map(|number| {
            let partition = TopicPartition::new(topic.clone(), number);
            let committed = known.and_then(|known| known.get(&partition));
            let is_unstable = unstable.contains(&partition);
            let committed = committed.filter(|_| !is_unstable);
            let error = if is_unstable { ResponseError::UnstableOffsetCommit.code() } else { 0 };
            OffsetFetchResponsePartitions::default()
                .with_partition_index(number)
                .with_committed_offset(committed.map_or(-1, |committed| committed.offset))
                .with_committed_leader_epoch(-1)
                .with_metadata(Some(StrBytes::from_string(
                    committed.map(|committed| committed.metadata.clone()).unwrap_or_default(),
                )))
                .with_error_code(error)
        });
        OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(name)
    });
    topics.collect()
}
