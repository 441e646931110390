//! ListGroups, DescribeGroups, DeleteGroups and OffsetDelete: what an administrator asks of groups.

use std::collections::BTreeSet;

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    ApiKey, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest,
    DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest,
    OffsetDeleteResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::groups::{has_members_here, is_here};
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::classic::{ClassicGroup, Phase};
use crate::wire::dispatch::Api;
use crate::wire::topics::code;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::ListGroups, 0..=5, list_groups),
        Api::at_once(ApiKey::DescribeGroups, 0..=6, describe_groups),
        Api::at_once(ApiKey::DeleteGroups, 0..=2, delete_groups),
        Api::at_once(ApiKey::OffsetDelete, 0..=0, offset_delete),
    ]
}

/// The type of groups whose clients assign partitions.
const CLASSIC: &str = "classic";
/// What anybody may do with a group, as bits.
const GROUP_OPERATIONS: i32 = 328;

const fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Empty => "Empty",
        Phase::Preparing => "PreparingRebalance",
        Phase::Completing => "CompletingRebalance",
        Phase::Stable => "Stable",
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// How a group is listed: its name, its protocol type, its state, its type.
type Listed = (String, String, &'static str, &'static str);

fn listed(call: &Call, state: &State) -> Vec<Listed> {
    let named = state.groups.keys().chain(state.wire.groups.keys());
    let named = named.chain(state.wire.consumer_groups.keys());
    let names: BTreeSet<_> = named.filter(|name| is_here(call, name).is_ok()).collect();
    let group = |name: &std::sync::Arc<str>| {
        let own = state.groups.get(name);
        if let Some(group) = state.consumer_group(name) {
            return (name.to_string(), "consumer".to_owned(), group.phase(), "consumer");
        }
        let in_memory = own.is_some_and(|group| !group.members().is_empty());
        match state.wire.groups.get(name) {
            _ if in_memory => (name.to_string(), "consumer".to_owned(), "Stable", CLASSIC),
            Some(group) => {
                let kind = group.protocol_type().unwrap_or_default().to_owned();
                (name.to_string(), kind, self::name(group.phase()), CLASSIC)
            }
            None => (name.to_string(), String::new(), "Empty", CLASSIC),
        }
    };
    names.into_iter().map(group).collect()
}

fn list_groups(call: &Call, request: &ListGroupsRequest) -> ListGroupsResponse {
    let groups = listed(call, &call.broker().lock());
    let among = |filter: &[StrBytes], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let groups = groups.into_iter().filter(|(_, _, state, kind)| {
        among(&request.states_filter, state) && among(&request.types_filter, kind)
    });
    let group = |(id, protocol_type, state, kind): Listed| {
        ListedGroup::default()
            .with_group_id(GroupId(StrBytes::from_string(id)))
            .with_protocol_type(StrBytes::from_string(protocol_type))
            .with_group_state(StrBytes::from_static_str(if call.version() >= 4 {
                state
            } else {
                ""
            }))
            .with_group_type(StrBytes::from_static_str(if call.version() >= 5 { kind } else { "" }))
    };
    ListGroupsResponse::default().with_groups(groups.map(group).collect())
}

fn describe_groups(call: &Call, request: &DescribeGroupsRequest) -> DescribeGroupsResponse {
    let state = call.broker().lock();
    let groups = request.groups.iter().map(|id| {
        let mut described = describe(call, &state, id).with_group_id(id.clone());
        if request.include_authorized_operations && described.error_code == 0 {
            described.authorized_operations = GROUP_OPERATIONS;
        }
        described
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe(call: &Call, state: &State, id: &str) -> DescribedGroup {
    /// The first version that says that a group is not there, instead of that it is dead.
    const NOT_FOUND: i16 = 6;
    if let Err(error) = is_here(call, id) {
        return DescribedGroup::default().with_error_code(error.code());
    }
    let is_known = state.groups.contains_key(id) && state.consumer_group(id).is_none();
    match state.wire.groups.get(id) {
        Some(group) => described(call, group),
        _ if is_known => DescribedGroup::default().with_group_state(text("Empty")),
        _ => {
            let dead = DescribedGroup::default().with_group_state(text("Dead"));
            if call.version() < NOT_FOUND {
                return dead;
            }
            dead.with_error_code(ResponseError::GroupIdNotFound.code())
                .with_error_message(Some(StrBytes::from_string(format!("Group {id} not found."))))
        }
    }
}

fn described(call: &Call, group: &ClassicGroup) -> DescribedGroup {
    let is_stable = group.phase() == Phase::Stable;
    let protocol = group.protocol().filter(|_| is_stable).unwrap_or_default();
    let members = group.members().map(|(id, member)| {
        let metadata = member.metadata(protocol).filter(|_| is_stable);
        DescribedGroupMember::default()
            .with_member_id(text(id))
            .with_group_instance_id(member.instance().map(text).filter(|_| call.version() >= 4))
            .with_client_id(text(member.client_id()))
            .with_client_host(text(member.client_host()))
            .with_member_metadata(metadata.unwrap_or_default())
            .with_member_assignment(member.assignment())
    });
    DescribedGroup::default()
        .with_members(members.collect())
        .with_group_state(text(name(group.phase())))
        .with_protocol_type(text(group.protocol_type().unwrap_or_default()))
        .with_protocol_data(text(protocol))
}

fn delete_groups(call: &Call, request: &DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = call.broker().change(|state| {
        let ids = request.groups_names.iter();
        let results = ids.map(|id| {
            let deleted = delete(call, state, id);
            DeletableGroupResult::default().with_error_code(code(deleted)).with_group_id(id.clone())
        });
        results.collect()
    });
    DeleteGroupsResponse::default().with_results(results)
}

fn delete(call: &Call, state: &mut State, id: &str) -> Result<(), ResponseError> {
    is_here(call, id)?;
    let in_memory = state.groups.get(id);
    let on_wire = state.wire.groups.get(id);
    if in_memory.is_some_and(|group| !group.members().is_empty())
        || on_wire.is_some_and(|group| group.phase() != Phase::Empty)
        || state.consumer_group(id).is_some_and(|group| !group.members().is_empty())
    {
        return Err(ResponseError::NonEmptyGroup);
    }
    let was_there =
        in_memory.is_some() || on_wire.is_some() || state.wire.consumer_groups.contains_key(id);
    state.wire.consumer_groups.remove(id);
    state.wire.groups.remove(id);
    state.groups.remove(id);
    state.transactions.forget_offsets(id, None);
    if was_there { Ok(()) } else { Err(ResponseError::GroupIdNotFound) }
}

fn offset_delete(call: &Call, request: &OffsetDeleteRequest) -> OffsetDeleteResponse {
    let id: &str = &request.group_id;
    if let Err(error) = has_members_here(call, id) {
        return OffsetDeleteResponse::default().with_error_code(error.code());
    }
    call.broker().change(|state| {
        if let Err(error) = may_delete_offsets(state, id) {
            return OffsetDeleteResponse::default().with_error_code(error.code());
        }
        let topics = request.topics.iter().map(|topic| {
            let name = Topic::from(&**topic.name);
            let is_subscribed = is_subscribed(state, id, &name);
            let partitions = topic.partitions.iter().map(|asked| {
                let partition = TopicPartition::new(name.clone(), asked.partition_index);
                let outcome = if !state.has_partition(&partition) {
                    Err(ResponseError::UnknownTopicOrPartition)
                } else if is_subscribed {
                    Err(ResponseError::GroupSubscribedToTopic)
                } else {
                    if let Some(group) = state.groups.get_mut(id) {
                        group.committed.remove(&partition);
                    }
                    state.transactions.forget_offsets(id, Some(&partition));
                    Ok(())
                };
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(asked.partition_index)
                    .with_error_code(code(outcome))
            });
            OffsetDeleteResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name.clone())
        });
        OffsetDeleteResponse::default().with_topics(topics.collect())
    })
}

/// Members that are no consumers may read any topic.
fn may_delete_offsets(state: &State, id: &str) -> Result<(), ResponseError> {
    let on_wire = state.wire.groups.get(id);
    let is_known =
        state.groups.contains_key(id) || on_wire.is_some() || state.consumer_group(id).is_some();
    if !is_known {
        return Err(ResponseError::GroupIdNotFound);
    }
    let are_others = |group: &ClassicGroup| {
        group.phase() != Phase::Empty && group.protocol_type() != Some("consumer")
    };
    if on_wire.is_some_and(are_others) { Err(ResponseError::NonEmptyGroup) } else { Ok(()) }
}

/// Whether a member of the group may read the topic.
fn is_subscribed(state: &State, id: &str, topic: &Topic) -> bool {
    let in_memory = state.groups.get(id).filter(|group| !group.members().is_empty());
    in_memory.is_some_and(|group| group.topics.contains(topic))
        || state.wire.groups.get(id).is_some_and(|group| group.subscribes_to(topic))
        || state.consumer_group(id).is_some_and(|group| group.subscribes_to(topic))
}
