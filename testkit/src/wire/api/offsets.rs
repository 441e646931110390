//! OffsetFetch: what a group has finished.

use std::collections::BTreeSet;

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{ApiKey, OffsetFetchRequest, OffsetFetchResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::groups::is_here;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::OffsetFetch, 1..=9, offset_fetch)]
}

/// The first version that names several groups.
const MANY_GROUPS: i16 = 8;
/// The first version that tells the leader epoch of an offset.
const EPOCHS: i16 = 5;

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
            let epoch = partition.committed_leader_epoch;
            OffsetFetchResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(if call.version() >= EPOCHS { epoch } else { -1 })
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
                .with_committed_leader_epoch(committed.and_then(|c| c.leader_epoch).unwrap_or(-1))
                .with_metadata(Some(StrBytes::from_string(
                    committed.map(|committed| committed.metadata.clone()).unwrap_or_default(),
                )))
                .with_error_code(error)
        });
        OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(name)
    });
    topics.collect()
}
