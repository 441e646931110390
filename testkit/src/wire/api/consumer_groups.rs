//! ConsumerGroupHeartbeat and ConsumerGroupDescribe: groups whose partitions the broker assigns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment as DescribedAssignment, DescribedGroup, Member, TopicPartitions as DescribedTopic,
};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;
use uuid::Uuid;

use super::groups::has_members_here;
use crate::broker::state::State;
use crate::wire::assignors::{Assignor, TopicIdPartition};
use crate::wire::call::Call;
use crate::wire::consumer_group::{Beat, Beaten, ConsumerGroup, JOINS, LEAVES_FOR_NOW, Topics};
use crate::wire::consumer_member::ConsumerMember;
use crate::wire::dispatch::Api;
use crate::wire::topics::TopicKey;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::ConsumerGroupHeartbeat, 0..=1, heartbeat),
        Api::at_once(ApiKey::ConsumerGroupDescribe, 0..=1, describe),
    ]
}

/// The first version in which a member makes its id itself.
const OWN_ID: i16 = 1;
/// What anybody may do with a group, as bits.
const GROUP_OPERATIONS: i32 = 328;

/// Why a heartbeat is refused, and in which words.
type Refusal = (ResponseError, Option<&'static str>);

fn heartbeat(
    call: &Call,
    request: &ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default();
    match call.broker().change(|state| beat(call, state, request)) {
        Ok((member_id, beaten)) => {
            let state = call.broker().lock();
            let config = state.wire.group_configs.get(&**request.group_id).cloned();
            let config = config.unwrap_or_default();
            let interval = config.heartbeat_interval(call.cluster().settings());
            let leaves = beaten.epoch < JOINS;
            let interval = if leaves { Duration::ZERO } else { interval };
            let assignment = beaten.assignment.map(|parts| assignment(&parts));
            response
                .with_member_id(Some(StrBytes::from_string(member_id)))
                .with_member_epoch(beaten.epoch)
                .with_heartbeat_interval_ms(interval.as_millis().try_into().unwrap_or(i32::MAX))
                .with_assignment(assignment)
        }
        Err((error, message)) => response
            .with_error_code(error.code())
            .with_error_message(message.map(StrBytes::from_static_str)),
    }
}

fn beat(
    call: &Call,
    state: &mut State,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<(String, Beaten), Refusal> {
    let group_id: &str = &request.group_id;
    if group_id.is_empty() {
        return Err((ResponseError::InvalidRequest, Some("GroupId can't be empty.")));
    }
    has_members_here(call, group_id).map_err(plain)?;
    let mut beat = validated(call, request)?;
    if beat.member_id.is_empty() {
        state.wire.member_ids += 1;
        let number = state.wire.member_ids;
        beat.member_id = format!("{:08x}-0000-4000-8000-{number:012x}", call.cluster().salt());
    }
    let in_memory = state.groups.get(group_id).is_some_and(|group| !group.members().is_empty());
    let is_classic = state.wire.groups.get(group_id).is_some_and(|group| !group.is_unused());
    if in_memory || is_classic {
        let message = "The group is not a consumer group.";
        return Err((ResponseError::GroupIdNotFound, Some(message)));
    }
    let is_known = state.wire.consumer_groups.contains_key(group_id);
    if !is_known && beat.epoch != JOINS {
        return Err(plain(ResponseError::GroupIdNotFound));
    }
    let topics = topics(state);
    let config = state.wire.group_configs.get(group_id).cloned().unwrap_or_default();
    let timeout = config.session_timeout(call.cluster().settings());
    state.wire.groups.remove(group_id);
    let group = state.wire.consumer_groups.entry(group_id.into()).or_default();
    let beaten = group.beat(&beat, &topics, timeout, Instant::now());
    if !is_known && beaten.is_err() {
        state.wire.consumer_groups.remove(group_id);
    }
    state.wire.move_deadline();
    let beaten = beaten.map_err(|error| match error {
        ResponseError::InvalidRegularExpression => {
            (error, Some("SubscribedTopicRegex is not a valid regular expression."))
        }
        error => plain(error),
    })?;
    Ok((beat.member_id, beaten))
}

const fn plain(error: ResponseError) -> Refusal {
    (error, None)
}

/// What the request says, if it says what it must.
fn validated(call: &Call, request: &ConsumerGroupHeartbeatRequest) -> Result<Beat, Refusal> {
    let invalid = |message| (ResponseError::InvalidRequest, Some(message));
    let joins = request.member_epoch == JOINS;
    let has_names = request.subscribed_topic_names.is_some();
    let regex = request.subscribed_topic_regex.as_deref();
    if request.member_id.is_empty() && (call.version() >= OWN_ID || !joins) {
        return Err(invalid("MemberId can't be empty."));
    }
    if request.instance_id.as_deref().is_some_and(str::is_empty) {
        return Err(invalid("InstanceId can't be empty."));
    }
    if request.rack_id.as_deref().is_some_and(str::is_empty) {
        return Err(invalid("RackId can't be empty."));
    }
    if joins && request.rebalance_timeout_ms == -1 {
        return Err(invalid("RebalanceTimeoutMs must be provided in first request."));
    }
    if joins && request.topic_partitions.as_ref().is_none_or(|topics| !topics.is_empty()) {
        return Err(invalid("TopicPartitions must be empty when (re-)joining."));
    }
    if joins && !has_names && regex.is_none() {
        return Err(invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        ));
    }
    if request.member_epoch == LEAVES_FOR_NOW && request.instance_id.is_none() {
        return Err(invalid("InstanceId can't be null."));
    }
    if request.member_epoch < LEAVES_FOR_NOW {
        return Err(invalid("MemberEpoch is invalid."));
    }
    let assignor = match request.server_assignor.as_deref() {
        None => None,
        Some(name) => {
            let message =
                Some("ServerAssignor is not supported. Supported assignors: uniform, range.");
            Some(Assignor::named(name).ok_or((ResponseError::UnsupportedAssignor, message))?)
        }
    };
    let timeout = u64::try_from(request.rebalance_timeout_ms).ok();
    let names = request.subscribed_topic_names.as_ref();
    let owned = request.topic_partitions.as_ref().map(|topics| {
        let parts = topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|&number| (topic.topic_id.as_u128(), number))
        });
        parts.collect()
    });
    Ok(Beat {
        member_id: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance: request.instance_id.as_deref().map(str::to_owned),
        rack: request.rack_id.as_deref().map(str::to_owned),
        client_id: call.client_id().to_owned(),
        client_host: call.client_host(),
        rebalance_timeout: timeout.map(Duration::from_millis),
        topic_names: names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        topic_regex: regex.map(str::to_owned),
        assignor,
        owned,
    })
}

pub(in crate::wire) fn topics(state: &State) -> Topics {
    let mut topics = Topics::default();
    for topic in state.all_topics() {
        topics.ids.insert(topic.name.to_string(), topic.id.as_u128());
        topics.partitions.insert(topic.id.as_u128(), topic.partitions());
    }
    topics
}

/// The numbers of each topic.
fn by_topic(parts: &BTreeSet<TopicIdPartition>) -> BTreeMap<u128, Vec<i32>> {
    let mut topics: BTreeMap<u128, Vec<i32>> = BTreeMap::new();
    parts.iter().for_each(|(topic, number)| topics.entry(*topic).or_default().push(*number));
    topics
}

fn assignment(parts: &BTreeSet<TopicIdPartition>) -> Assignment {
    let topics = by_topic(parts).into_iter().map(|(topic, numbers)| {
        TopicPartitions::default().with_topic_id(Uuid::from_u128(topic)).with_partitions(numbers)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

fn describe(call: &Call, request: &ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
    let state = call.broker().lock();
    let groups = request.group_ids.iter().map(|id| {
        let described = DescribedGroup::default().with_group_id(id.clone());
        if let Err(error) = has_members_here(call, id) {
            return described.with_error_code(error.code());
        }
        let Some(group) = state.wire.consumer_groups.get::<str>(id) else {
            let message = format!("Group {} not found.", &**id);
            return described
                .with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(StrBytes::from_string(message)));
        };
        let operations = request.include_authorized_operations.then_some(GROUP_OPERATIONS);
        let members = group.members().iter();
        described
            .with_group_state(StrBytes::from_static_str(group.phase()))
            .with_group_epoch(group.epoch())
            .with_assignment_epoch(group.assignment_epoch())
            .with_assignor_name(StrBytes::from_static_str(group.assignor().name()))
            .with_members(
                members.map(|(id, member)| described_member(call, &state, id, member)).collect(),
            )
            .with_authorized_operations(operations.unwrap_or(i32::MIN))
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn described_member(call: &Call, state: &State, id: &str, member: &ConsumerMember) -> Member {
    /// A member of the new protocol, from version 1 on.
    const CONSUMER: i8 = 1;
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let described = &member.described;
    let names = described.topic_names.iter().map(|name| TopicName(text(name)));
    let response = Member::default()
        .with_member_id(text(id))
        .with_instance_id(described.instance.as_deref().map(text))
        .with_rack_id(described.rack.as_deref().map(text))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&described.client_id))
        .with_client_host(text(&described.client_host))
        .with_subscribed_topic_names(names.collect())
        .with_subscribed_topic_regex(described.topic_regex.as_deref().map(text))
        .with_assignment(described_assignment(state, &member.assigned))
        .with_target_assignment(described_assignment(state, &member.target));
    if call.version() >= 1 { response.with_member_type(CONSUMER) } else { response }
}

fn described_assignment(state: &State, parts: &BTreeSet<TopicIdPartition>) -> DescribedAssignment {
    let topics = by_topic(parts).into_iter().filter_map(|(id, numbers)| {
        let topic = state.topic(TopicKey::Id(Uuid::from_u128(id))).ok()?;
        let name = TopicName(StrBytes::from_string(topic.name.to_string()));
        let described = DescribedTopic::default().with_topic_id(Uuid::from_u128(id));
        Some(described.with_topic_name(name).with_partitions(numbers))
    });
    DescribedAssignment::default().with_topic_partitions(topics.collect())
}

impl State {
    /// The group of this id, if it is one whose partitions the broker assigns.
    pub(super) fn consumer_group(&self, id: &str) -> Option<&ConsumerGroup> {
        self.wire.consumer_groups.get(id)
    }

    /// Forgets a group that has no members, so that another kind may take its place. Says whether
    /// there is none now.
    pub(super) fn make_room_for_classic(&mut self, id: &str) -> bool {
        let groups: &mut BTreeMap<Arc<str>, ConsumerGroup> = &mut self.wire.consumer_groups;
        if groups.get(id).is_some_and(|group| group.members().is_empty()) {
            groups.remove(id);
        }
        !groups.contains_key(id)
    }
}
