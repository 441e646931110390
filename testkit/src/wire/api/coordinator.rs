//! FindCoordinator: the node of a group or of a transactional id.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{ApiKey, BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::internal::{CONSUMER_OFFSETS, TRANSACTION_STATE};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::FindCoordinator, 0..=6, find_coordinator)]
}

fn find_coordinator(call: &Call, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    if call.version() >= 4 {
        let keys = request.coordinator_keys.iter();
        let coordinators =
            keys.map(|key| coordinator(call, key.clone(), request.key_type)).collect();
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let found = coordinator(call, request.key.clone(), request.key_type);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message.filter(|_| call.version() >= 1))
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn coordinator(call: &Call, key: StrBytes, key_type: i8) -> Coordinator {
    if key_type != GROUP && key_type != TRANSACTION {
        return Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(ResponseError::InvalidRequest.code());
    }
    call.broker().with(|state| match key_type {
        GROUP => state.ensure_internal(CONSUMER_OFFSETS),
        _ => state.ensure_internal(TRANSACTION_STATE),
    });
    let node = call.cluster().coordinator(&key);
    Coordinator::default()
        .with_key(key)
        .with_node_id(BrokerId(node.id))
        .with_host(StrBytes::from_string(node.host.clone()))
        .with_port(i32::from(node.port))
        .with_error_message(Some(StrBytes::from_static_str("")))
}
