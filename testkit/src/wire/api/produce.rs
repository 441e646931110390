//! Produce: batches are verified, numbered and kept as they came.

use jobstream::record::{Timestamp, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Producing;
use crate::broker::batch::{Batch, BatchError};
use crate::broker::compression::Codec;
use crate::broker::log::ProducerId;
use crate::broker::sequences::Sequence;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::{Answered, Api};
use crate::wire::frame::Answer;
use crate::wire::internal::is_internal;
use crate::wire::topics::TopicKey;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::encoded(ApiKey::Produce, 3..=13, produce)]
}

/// The first version that names topics by their ids.
const BY_ID: i16 = 13;
/// The first version that may carry batches of Zstandard.
const ZSTD: i16 = 7;
/// The first versions that know `TRANSACTION_ABORTABLE`, and whose partitions join the transaction
/// with the request (KIP-890).
const ABORTABLE: i16 = 11;
const JOINS: i16 = 12;

async fn produce(call: Call, request: ProduceRequest) -> Answered {
    let (version, acks) = (call.version(), request.acks);
    let response = call.broker().change(|state| appended(&call, state, request));
    if acks == 0 {
        // The client learns of an error in no other way.
        let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        return match partitions.find(|partition| partition.error_code != 0) {
            Some(partition) => Err(format!("acks=0, error {}", partition.error_code)),
            None => Ok(None),
        };
    }
    Answer::of(&response, version).map(Some)
}

fn appended(call: &Call, state: &mut State, request: ProduceRequest) -> ProduceResponse {
    let acks_are_known = (-1..=1).contains(&request.acks);
    let id = request.transactional_id.as_deref().map(|id| &**id);
    let is_admitted = id.is_some() || !has_transactional(&request);
    let topics = request.topic_data.into_iter().map(|topic| {
        let key = match call.version() {
            BY_ID.. => TopicKey::Id(topic.topic_id),
            _ => TopicKey::Name(&topic.name),
        };
        let partitions = topic.partition_data.into_iter().map(|data| {
            let index = data.index;
            let outcome = match (is_admitted, acks_are_known) {
                (false, _) => Err(Refusal::of(ResponseError::TransactionalIdAuthorizationFailed)),
                (_, false) => Err(Refusal::of(match state.led(call, key, index, -1) {
                    Err(ResponseError::UnknownTopicOrPartition) => {
                        ResponseError::UnknownTopicOrPartition
                    }
                    _ => ResponseError::InvalidRequiredAcks,
                })),
                _ => append(call, state, key, data, id),
            };
            answered(index, &outcome)
        });
        TopicProduceResponse::default()
            .with_partition_responses(partitions.collect())
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
    });
    ProduceResponse::default().with_responses(topics.collect())
}

/// Where a batch is.
struct Place {
    base_offset: i64,
    log_append_time: Timestamp,
    log_start: i64,
}

/// Why a batch was not appended.
struct Refusal {
    error: ResponseError,
    /// What Kafka answers with a batch that does not follow the last one; -1 elsewhere.
    log_start: i64,
    message: Option<&'static str>,
}

impl Refusal {
    const fn of(error: ResponseError) -> Self {
        Self { error, log_start: -1, message: None }
    }
}

fn answered(index: i32, outcome: &Result<Place, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(place) => response
            .with_base_offset(place.base_offset)
            .with_log_append_time_ms(place.log_append_time)
            .with_log_start_offset(place.log_start),
        Err(Refusal { error, log_start, message }) => response
            .with_error_code(error.code())
            .with_error_message(message.map(StrBytes::from_static_str))
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(*log_start),
    }
}

fn append(
    call: &Call,
    state: &mut State,
    key: TopicKey<'_>,
    data: PartitionProduceData,
    transactional_id: Option<&str>,
) -> Result<Place, Refusal> {
    let named = state.topic(key).map_err(Refusal::of)?;
    if is_internal(&named.name) && (0..named.partitions()).contains(&data.index) {
        return Err(Refusal::of(ResponseError::InvalidTopicException));
    }
    let (topic, log) = state.led(call, key, data.index, -1).map_err(Refusal::of)?;
    let bytes = data.records.unwrap_or_default();
    let bytes_len = bytes.len();
    let max_bytes = topic.max_message_bytes;
    let batch = Batch::verified(bytes).map_err(refusal)?;
    if bytes_len > max_bytes {
        return Err(Refusal::of(ResponseError::MessageTooLarge));
    }
    match batch.codec() {
        Ok(Codec::Zstd) if call.version() < ZSTD => {
            return Err(Refusal::of(ResponseError::UnsupportedCompressionType));
        }
        Ok(_) if !batch.is_control() => {}
        _ => return Err(Refusal::of(ResponseError::InvalidRecord)),
    }
    let log_start = log.start();
    let partition = TopicPartition::new(topic.name.clone(), data.index);
    let producer = match transactional_id {
        Some(id) if batch.is_transactional() => {
            Some(transaction(call, state, id, &partition, &batch)?)
        }
        _ => None,
    };
    let (topic, log) = state.led(call, key, data.index, -1).map_err(Refusal::of)?;
    let now = topic.stamps.then(|| (state.wall_clock)());
    let refuse = |error| Refusal { log_start, ..Refusal::of(error) };
    let begins_late = call.version() >= JOINS && producer.is_some() && batch.base_sequence() != 0;
    match log.sequence(&batch) {
        // A transaction of the second generation has no records that could have been dropped.
        Sequence::Next if begins_late && !log.knows(batch.producer_id()) => {
            return Err(refuse(ResponseError::OutOfOrderSequenceNumber));
        }
        Sequence::Next => {}
        Sequence::Duplicate(base_offset) => {
            return Ok(Place { base_offset, log_append_time: -1, log_start });
        }
        Sequence::OutOfOrder => {
            return Err(refuse(ResponseError::OutOfOrderSequenceNumber));
        }
        Sequence::Fenced => return Err(refuse(ResponseError::InvalidProducerEpoch)),
    }
    if producer.is_none() && log.is_open_of(batch.producer_id()) {
        return Err(refuse(ResponseError::InvalidTxnState));
    }
    let batch = match now {
        Some(now) => batch.stamped(now),
        None => batch,
    };
    let base_offset = state.append_batch(&partition.topic, data.index, batch, producer);
    let base_offset =
        base_offset.ok_or_else(|| Refusal::of(ResponseError::UnknownTopicOrPartition))?;
    Ok(Place { base_offset, log_append_time: now.unwrap_or(-1), log_start })
}

/// Whether a batch, whose bytes are not verified yet, says that it belongs to a transaction.
fn has_transactional(request: &ProduceRequest) -> bool {
    let mut data = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    data.any(|data| data.records.as_ref().is_some_and(|batch| Batch::says_transactional(batch)))
}

/// The producer whose open transaction the batch joins.
fn transaction(
    call: &Call,
    state: &mut State,
    id: &str,
    partition: &TopicPartition,
    batch: &Batch,
) -> Result<ProducerId, Refusal> {
    let (producer, epoch) = (batch.producer_id(), batch.producer_epoch());
    let is_open =
        |known: &ProducerId| state.log(partition).is_some_and(|log| log.is_open(*known, epoch));
    if let Some(known) = ProducerId::try_from(producer).ok().filter(is_open) {
        return Ok(known);
    }
    let how = match call.version() {
        JOINS.. => Producing::Joins,
        ABORTABLE => Producing::HasJoined,
        _ => Producing::HasJoinedOld,
    };
    let joined = state.in_transaction(id, (producer, epoch), partition.clone(), how);
    joined.map_err(|error| Refusal {
        error,
        log_start: -1,
        message: (error == ResponseError::InvalidTxnState)
            .then_some("Partition was not added to the transaction"),
    })
}

fn refusal(error: BatchError) -> Refusal {
    match error {
        BatchError::Corrupt => Refusal::of(ResponseError::CorruptMessage),
        BatchError::Truncated | BatchError::Inconsistent => Refusal {
            error: ResponseError::InvalidRecord,
            log_start: -1,
            message: Some("a produce request holds exactly one whole record batch"),
        },
        BatchError::OldMagic => Refusal {
            error: ResponseError::InvalidRecord,
            log_start: -1,
            message: Some("a produce request holds record batches of magic 2"),
        },
    }
}
