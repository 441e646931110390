//! InitProducerId, for idempotent producers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{ApiKey, InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::wire::call::Call;
use crate::wire::dispatch::Api;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::InitProducerId, 0..=5, init_producer_id)]
}

fn init_producer_id(call: &Call, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    let refused =
        InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    if request.transactional_id.is_some() {
        return refused.with_error_code(ResponseError::CoordinatorNotAvailable.code());
    }
    let id = call.broker().with(|state| state.transactions.allocate());
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(id.cast_signed()))
        .with_producer_epoch(0)
}
