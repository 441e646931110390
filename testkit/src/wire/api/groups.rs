//! JoinGroup, SyncGroup, Heartbeat and LeaveGroup: the classic protocol of groups.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    ApiKey, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot::Receiver;
use tokio::time::Instant;

use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::classic_member::{Join, Joined, Joining, Sync};
use crate::wire::dispatch::Api;
use crate::wire::topics::code;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::in_time(ApiKey::JoinGroup, 0..=9, join_group),
        Api::in_time(ApiKey::SyncGroup, 0..=5, sync_group),
        Api::at_once(ApiKey::Heartbeat, 0..=4, heartbeat),
        Api::at_once(ApiKey::LeaveGroup, 0..=5, leave_group),
    ]
}

/// The first version of JoinGroup in which a member first asks for its id (KIP-394).
const ID_REQUIRED: i16 = 4;
/// The first version of JoinGroup that tells a leader to keep the assignment.
const SKIPS_ASSIGNMENT: i16 = 9;
/// The first version of SyncGroup that names the protocol.
const PROTOCOL: i16 = 5;
/// The first version of LeaveGroup that names several members.
const MANY: i16 = 3;

async fn join_group(call: Call, request: JoinGroupRequest) -> JoinGroupResponse {
    let version = call.version();
    let member_id = request.member_id.clone();
    match call.broker().change(|state| join(&call, state, request)) {
        Waits::For(id, answer) => {
            match answer.await.unwrap_or(Err(ResponseError::UnknownMemberId)) {
                Ok(joined) => answered(joined, version),
                // Another process has taken the instance over, and not the id.
                Err(error @ ResponseError::FencedInstanceId) => {
                    refused(error, version).with_member_id(StrBytes::from_string(id))
                }
                Err(error) => refused(error, version),
            }
        }
        Waits::Not(error @ ResponseError::UnknownServerError) => refused(error, version),
        Waits::Not(error) => refused(error, version).with_member_id(member_id),
        Waits::IdRequired(member_id) => refused(ResponseError::MemberIdRequired, version)
            .with_member_id(StrBytes::from_string(member_id)),
    }
}

enum Waits {
    /// With the id of the member.
    For(String, Receiver<Join>),
    Not(ResponseError),
    IdRequired(String),
}

fn join(call: &Call, state: &mut State, request: JoinGroupRequest) -> Waits {
    let settings = call.cluster().settings();
    let session_timeout = millis(request.session_timeout_ms);
    let group_id: &str = &request.group_id;
    if let Err(error) = has_members_here(call, group_id) {
        return Waits::Not(error);
    }
    if !(settings.session_timeout_min..=settings.session_timeout_max).contains(&session_timeout) {
        return Waits::Not(ResponseError::InvalidSessionTimeout);
    }
    if state.groups.get(group_id).is_some_and(|group| !group.members().is_empty()) {
        // Members that are no clients on the wire rebalance in another way.
        return Waits::Not(ResponseError::InconsistentGroupProtocol);
    }
    if !state.make_room_for_classic(group_id) {
        return Waits::Not(ResponseError::InconsistentGroupProtocol);
    }
    let (member_id, now) = (request.member_id.to_string(), Instant::now());
    // One that has only committed is there, too.
    let is_known = state.wire.groups.contains_key(group_id) || state.groups.contains_key(group_id);
    if !member_id.is_empty() && !is_known {
        return Waits::Not(ResponseError::UnknownMemberId);
    }
    let group_id: Arc<str> = group_id.into();
    let joining = joining(call, request, session_timeout);
    state.wire.member_ids += 1;
    let number = state.wire.member_ids;
    let group = state.wire.groups.entry(group_id).or_default();
    let waits = if !group.supports(&joining.protocol_type, &joining.protocols) {
        Waits::Not(ResponseError::InconsistentGroupProtocol)
    } else if !member_id.is_empty() {
        let delay = settings.rebalance_delay;
        let joins = group.rejoin(&member_id, joining, delay, now);
        joins.map_or_else(Waits::Not, |answer| Waits::For(member_id, answer))
    } else {
        let name = joining.instance.as_deref().unwrap_or(&joining.client_id);
        // As long as Kafka's, which are random.
        let new_id = format!("{name}-{:08x}-0000-4000-8000-{number:012x}", call.cluster().salt());
        match joining.instance.clone() {
            Some(instance) if group.instance(&instance).is_some() => {
                let skips = call.version() >= SKIPS_ASSIGNMENT;
                let id = new_id.clone();
                Waits::For(id, group.replace(&instance, new_id, joining, skips, now))
            }
            None if call.version() >= ID_REQUIRED => {
                group.promise(new_id.clone(), now + joining.silence());
                Waits::IdRequired(new_id)
            }
            _ => {
                let id = new_id.clone();
                Waits::For(id, group.add(new_id, joining, settings.rebalance_delay, now))
            }
        }
    };
    state.wire.move_deadline();
    waits
}

fn joining(call: &Call, request: JoinGroupRequest, session_timeout: Duration) -> Joining {
    let rebalance_timeout = match call.version() {
        0 => session_timeout,
        _ => millis(request.rebalance_timeout_ms),
    };
    let protocols = request.protocols.into_iter();
    Joining {
        instance: request.group_instance_id.map(|instance| instance.to_string()),
        client_id: call.client_id().to_owned(),
        client_host: call.client_host(),
        session_timeout,
        rebalance_timeout,
        unheard_limit: call.cluster().settings().unheard_limit,
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.map(|p| (p.name.to_string(), owned(&p.metadata))).collect(),
    }
}

fn millis(millis: i32) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

/// The same bytes in memory of their own, so that the frame is not kept.
fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// Whether a member may say that it belongs to the group: it has a name, and this node coordinates it.
pub(super) fn has_members_here(call: &Call, group_id: &str) -> Result<(), ResponseError> {
    if group_id.is_empty() { Err(ResponseError::InvalidGroupId) } else { is_here(call, group_id) }
}

/// Whether this node coordinates the group. One without a name has no members, but it may commit.
pub(super) fn is_here(call: &Call, group_id: &str) -> Result<(), ResponseError> {
    if call.cluster().coordinator(group_id).id != call.node().id {
        return Err(ResponseError::NotCoordinator);
    }
    Ok(())
}

fn answered(joined: Joined, version: i16) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        JoinGroupResponseMember::default()
            .with_member_id(StrBytes::from_string(id))
            .with_group_instance_id(instance.filter(|_| version >= 5).map(StrBytes::from_string))
            .with_metadata(metadata)
    });
    JoinGroupResponse::default()
        .with_members(members.collect())
        .with_generation_id(joined.generation)
        .with_protocol_type(
            joined.protocol_type.map(StrBytes::from_string).filter(|_| version >= 7),
        )
        .with_protocol_name(Some(StrBytes::from_string(joined.protocol.unwrap_or_default())))
        .with_leader(StrBytes::from_string(joined.leader))
        .with_skip_assignment(joined.skips_assignment)
        .with_member_id(StrBytes::from_string(joined.member_id))
}

fn refused(error: ResponseError, version: i16) -> JoinGroupResponse {
    // Null has come with version 7.
    let protocol = (version < 7).then(StrBytes::default);
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(protocol)
}

async fn sync_group(call: Call, request: SyncGroupRequest) -> SyncGroupResponse {
    let version = call.version();
    let synced = match call.broker().change(|state| sync(&call, state, request)) {
        Ok(answer) => answer.await.unwrap_or(Err(ResponseError::UnknownMemberId)),
        Err(error) => Err(error),
    };
    match synced {
        Ok(synced) => {
            let text =
                |text: Option<String>| text.filter(|_| version >= 5).map(StrBytes::from_string);
            SyncGroupResponse::default()
                .with_protocol_type(text(synced.protocol_type))
                .with_protocol_name(text(synced.protocol))
                .with_assignment(synced.assignment)
        }
        Err(error) => SyncGroupResponse::default().with_error_code(error.code()),
    }
}

fn sync(
    call: &Call,
    state: &mut State,
    request: SyncGroupRequest,
) -> Result<Receiver<Sync>, ResponseError> {
    if call.version() >= PROTOCOL
        && (request.protocol_type.is_none() || request.protocol_name.is_none())
    {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    has_members_here(call, &request.group_id)?;
    let group = state.wire.groups.get_mut(&**request.group_id);
    let group = group.ok_or(ResponseError::UnknownMemberId)?;
    group.validate(&request.member_id, request.group_instance_id.as_deref())?;
    if request.generation_id != group.generation() {
        return Err(ResponseError::IllegalGeneration);
    }
    let is_other = |asked: &Option<StrBytes>, is: Option<&str>| {
        asked.as_deref().is_some_and(|asked| is.is_some_and(|is| is != asked))
    };
    if is_other(&request.protocol_type, group.protocol_type())
        || is_other(&request.protocol_name, group.protocol())
    {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    let assignments = request.assignments.into_iter();
    let assignments = assignments.map(|a| (a.member_id.to_string(), owned(&a.assignment)));
    let answer = group.sync(&request.member_id, assignments.collect(), Instant::now());
    state.wire.move_deadline();
    Ok(answer)
}

fn heartbeat(call: &Call, request: &HeartbeatRequest) -> HeartbeatResponse {
    let beaten = call.broker().with(|state| {
        has_members_here(call, &request.group_id)?;
        let group = state.wire.groups.get_mut(&**request.group_id);
        let group = group.ok_or(ResponseError::UnknownMemberId)?;
        group.validate(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != group.generation() {
            return Err(ResponseError::IllegalGeneration);
        }
        group.heartbeat(&request.member_id, Instant::now())
    });
    HeartbeatResponse::default().with_error_code(code(beaten))
}

fn leave_group(call: &Call, request: &LeaveGroupRequest) -> LeaveGroupResponse {
    if let Err(error) = has_members_here(call, &request.group_id) {
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let leave = |state: &mut State, member_id: &str, instance: Option<&str>| {
        let group = state.wire.groups.get_mut(&**request.group_id);
        let group = group.ok_or(ResponseError::UnknownMemberId)?;
        group.leave(member_id, instance, Instant::now())
    };
    let response = call.broker().change(|state| {
        if call.version() < MANY {
            let left = leave(state, &request.member_id, None);
            return LeaveGroupResponse::default().with_error_code(code(left));
        }
        let members = request.members.iter().map(|member| {
            let left = leave(state, &member.member_id, member.group_instance_id.as_deref());
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(code(left))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    });
    call.broker().lock().wire.move_deadline();
    response
}
