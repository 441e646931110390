//! Produce: batches are verified, numbered and kept as they came.

use jobstream::record::{Timestamp, Topic};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ApiKey, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::batch::{Batch, BatchError};
use crate::broker::compression::Codec;
use crate::broker::log::ProducerId;
use crate::broker::sequences::Sequence;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::{Answered, Api};
use crate::wire::frame::Answer;
use crate::wire::topics::TopicKey;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::encoded(ApiKey::Produce, 3..=13, produce)]
}

/// The first version that names topics by their ids.
const BY_ID: i16 = 13;
/// The first version that may carry batches of Zstandard.
const ZSTD: i16 = 7;

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
    let topics = request.topic_data.into_iter().map(|topic| {
        let key = match call.version() {
            BY_ID.. => TopicKey::Id(topic.topic_id),
            _ => TopicKey::Name(&topic.name),
        };
        let partitions = topic.partition_data.into_iter().map(|data| {
            let index = data.index;
            let outcome = match acks_are_known {
                true => append(call, state, key, data),
                false => Err(Refusal::of(ResponseError::InvalidRequiredAcks)),
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
    message: Option<&'static str>,
}

impl Refusal {
    const fn of(error: ResponseError) -> Self {
        Self { error, message: None }
    }
}

fn answered(index: i32, outcome: &Result<Place, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(place) => response
            .with_base_offset(place.base_offset)
            .with_log_append_time_ms(place.log_append_time)
            .with_log_start_offset(place.log_start),
        Err(Refusal { error, message }) => response
            .with_error_code(error.code())
            .with_error_message(message.map(StrBytes::from_static_str))
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1),
    }
}

fn append(
    call: &Call,
    state: &mut State,
    key: TopicKey<'_>,
    data: PartitionProduceData,
) -> Result<Place, Refusal> {
    let (topic, log) = state.led(call, key, data.index, -1).map_err(Refusal::of)?;
    let name = topic.name.clone();
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
    match log.sequence(&batch) {
        Sequence::Next => {}
        Sequence::Duplicate(base_offset) => {
            return Ok(Place { base_offset, log_append_time: -1, log_start });
        }
        Sequence::OutOfOrder => {
            return Err(Refusal::of(ResponseError::OutOfOrderSequenceNumber));
        }
        Sequence::Fenced => return Err(Refusal::of(ResponseError::InvalidProducerEpoch)),
    }
    let producer = transaction(state, &name, data.index, &batch).map_err(Refusal::of)?;
    let base_offset = state.append_batch(&name, data.index, batch, producer);
    let base_offset =
        base_offset.ok_or_else(|| Refusal::of(ResponseError::UnknownTopicOrPartition))?;
    Ok(Place { base_offset, log_append_time: -1, log_start })
}

/// The producer whose open transaction the batch joins; none if it is in no transaction.
fn transaction(
    _state: &mut State,
    _topic: &Topic,
    _partition: i32,
    batch: &Batch,
) -> Result<Option<ProducerId>, ResponseError> {
    if batch.is_transactional() {
        // Transactions are not served yet.
        return Err(ResponseError::InvalidTxnState);
    }
    Ok(None)
}

fn refusal(error: BatchError) -> Refusal {
    match error {
        BatchError::Corrupt => Refusal::of(ResponseError::CorruptMessage),
        BatchError::Truncated | BatchError::Inconsistent => Refusal {
            error: ResponseError::InvalidRecord,
            message: Some("a produce request holds exactly one whole record batch"),
        },
        BatchError::OldMagic => Refusal {
            error: ResponseError::InvalidRecord,
            message: Some("a produce request holds record batches of magic 2"),
        },
    }
}
