//! InitProducerId, and the producers that a partition knows.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{
    ApiKey, DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId,
};

use super::transactions::is_here;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::topics::{TopicKey, is_topic_name};

/// A transaction may stay open so long, at most; Kafka's `transaction.max.timeout.ms`.
const TIMEOUT_MAX_MS: i32 = 900_000;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::InitProducerId, 0..=5, init_producer_id),
        Api::at_once(ApiKey::DescribeProducers, 0..=0, describe_producers),
    ]
}

fn init_producer_id(call: &Call, request: &InitProducerIdRequest) -> InitProducerIdResponse {
    match initialised(call, request) {
        Ok((id, epoch)) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(epoch),
        Err(ResponseError::ProducerFenced) if call.version() < 4 => {
            refused(ResponseError::InvalidProducerEpoch)
        }
        Err(error) => refused(error),
    }
}

fn refused(error: ResponseError) -> InitProducerIdResponse {
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1)
        .with_error_code(error.code())
}

fn initialised(call: &Call, request: &InitProducerIdRequest) -> Result<(i64, i16), ResponseError> {
    let (was, epoch) = (*request.producer_id, request.producer_epoch);
    if (was < 0) != (epoch < 0) {
        return Err(ResponseError::InvalidRequest);
    }
    let Some(id) = &request.transactional_id else {
        let id = call.broker().with(|state| state.transactions.allocate());
        return Ok((id.cast_signed(), 0));
    };
    let timeout_ms = request.transaction_timeout_ms;
    if id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    is_here(call, id)?;
    if request.enable_2_pc {
        return Err(ResponseError::TransactionalIdAuthorizationFailed);
    }
    if request.keep_prepared_txn {
        return Err(ResponseError::UnsupportedVersion);
    }
    if !(1..=TIMEOUT_MAX_MS).contains(&timeout_ms) {
        return Err(ResponseError::InvalidTransactionTimeout);
    }
    let timeout = Duration::from_millis(u64::from(timeout_ms.unsigned_abs()));
    let id: Arc<str> = (&***id).into();
    let was = (was >= 0).then_some((was, epoch));
    call.broker().change(|state| state.init_transactions(&id, timeout, was))
}

fn describe_producers(
    call: &Call,
    request: &DescribeProducersRequest,
) -> DescribeProducersResponse {
    let state = call.broker().lock();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter();
        let partitions = partitions.map(|number| match described(call, &state, topic, *number) {
            Ok(producers) => PartitionResponse::default().with_active_producers(producers),
            Err(error) => PartitionResponse::default().with_error_code(error.code()),
        });
        let numbered = partitions.zip(&topic.partition_indexes);
        let partitions = numbered.map(|(found, number)| found.with_partition_index(*number));
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn described(
    call: &Call,
    state: &State,
    topic: &TopicRequest,
    partition: i32,
) -> Result<Vec<ProducerState>, ResponseError> {
    if !is_topic_name(&topic.name) {
        return Err(ResponseError::InvalidTopicException);
    }
    let (_, log) = state.led(call, TopicKey::Name(&topic.name), partition, -1)?;
    let producers = log.producers().map(|(id, known, first)| {
        ProducerState::default()
            .with_producer_id(ProducerId(id.cast_signed()))
            .with_producer_epoch(i32::from(known.epoch()))
            .with_last_sequence(known.last_sequence())
            .with_last_timestamp(known.last_timestamp())
            .with_coordinator_epoch(known.coordinator_epoch())
            .with_current_txn_start_offset(first.unwrap_or(-1))
    });
    Ok(producers.collect())
}
