//! Produce: batches are verified, numbered and kept as they came.

use std::collections::VecDeque;

use jobstream::record::{Timestamp, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
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
/// The first version that names records that are at fault.
const RECORD_ERRORS: i16 = 8;
/// The first versions that know `TRANSACTION_ABORTABLE`, and whose partitions join the transaction
/// with the request (KIP-890).
const ABORTABLE: i16 = 11;
const JOINS: i16 = 12;

async fn produce(call: Call, request: ProduceRequest) -> Answered {
    let (version, acks) = (call.version(), request.acks);
    let partitions = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let mut batches: VecDeque<_> = partitions.map(Checked::of).collect();
    let response = call.broker().change(|state| appended(&call, state, &request, &mut batches));
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

/// The batch of a partition, and what is wrong with it: the work that needs no lock.
struct Checked {
    batch: Result<Batch, BatchError>,
    sum: Result<(), BatchError>,
    records: Result<(), BatchError>,
}

impl Checked {
    fn of(data: &PartitionProduceData) -> Self {
        let batch = Batch::one(data.records.clone().unwrap_or_default());
        let check =
            |check: fn(&Batch) -> Result<(), BatchError>| batch.as_ref().map_or(Ok(()), check);
        let sum = check(Batch::check_sum);
        let records = check(|batch| batch.check_records());
        Self { sum, records, batch }
    }
}

fn appended(
    call: &Call,
    state: &mut State,
    request: &ProduceRequest,
    batches: &mut VecDeque<Checked>,
) -> ProduceResponse {
    let id = request.transactional_id.as_deref().map(|id| &**id);
    let is_admitted = id.is_some() || !has_transactional(request);
    let acks_are_known = (-1..=1).contains(&request.acks);
    let topics = request.topic_data.iter().map(|topic| {
        let key = match call.version() {
            BY_ID.. => TopicKey::Id(topic.topic_id),
            _ => TopicKey::Name(&topic.name),
        };
        let partitions = topic.partition_data.iter().map(|data| {
            let outcome = match batches.pop_front() {
                Some(batch) if is_admitted => {
                    append(call, state, (key, data.index), batch, (id, acks_are_known))
                }
                _ => Err(Refusal::of(ResponseError::TransactionalIdAuthorizationFailed)),
            };
            answered(call.version(), data.index, outcome)
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
    message: Option<String>,
    /// The records that are at fault, by their places in the batch.
    records: Vec<(i32, String)>,
}

impl Refusal {
    const fn of(error: ResponseError) -> Self {
        Self { error, log_start: -1, message: None, records: Vec::new() }
    }

    fn saying(error: ResponseError, message: &str) -> Self {
        Self { message: Some(message.to_owned()), ..Self::of(error) }
    }

    /// Of a batch for a compacted topic.
    fn without_key(partition: &TopicPartition, places: &[i32]) -> Self {
        const SHOWN_RECORDS: usize = 3;
        let message = format!(
            "Compacted topic cannot accept message without key in topic partition {}-{}",
            partition.topic, partition.partition
        );
        let shown = places.iter().take(SHOWN_RECORDS);
        let shown = shown.map(|at| format!("RecordError(batchIndex={at}, message='{message}')"));
        let all = format!(
            "One or more records have been rejected due to {} record errors in total, and only \
             showing the first three errors at most: [{}]",
            places.len(),
            shown.collect::<Vec<_>>().join(", ")
        );
        let records = places.iter().map(|at| (*at, message.clone())).collect();
        Self { records, ..Self::saying(ResponseError::InvalidRecord, &all) }
    }
}

fn answered(version: i16, index: i32, outcome: Result<Place, Refusal>) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    match outcome {
        Ok(place) => response
            .with_base_offset(place.base_offset)
            .with_log_append_time_ms(place.log_append_time)
            .with_log_start_offset(place.log_start),
        Err(Refusal { error, log_start, message, records }) => {
            let records = records.into_iter().filter(|_| version >= RECORD_ERRORS);
            let records = records.map(|(place, message)| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(place)
                    .with_batch_index_error_message(Some(StrBytes::from_string(message)))
            });
            response
                .with_error_code(error.code())
                .with_error_message(message.map(StrBytes::from_string))
                .with_record_errors(records.collect())
                .with_base_offset(-1)
                .with_log_append_time_ms(-1)
                .with_log_start_offset(log_start)
        }
    }
}

/// In Kafka's order, which tells of several things that are wrong: the request, its transaction, the
/// batch, its place among those of its producer.
fn append(
    call: &Call,
    state: &mut State,
    (key, index): (TopicKey<'_>, i32),
    Checked { batch, sum, records }: Checked,
    (transactional_id, acks_are_known): (Option<&str>, bool),
) -> Result<Place, Refusal> {
    let named = state.topic(key).map_err(Refusal::of)?;
    let partition = TopicPartition::new(named.name.clone(), index);
    if !(0..named.partitions()).contains(&index) {
        return Err(Refusal::of(ResponseError::UnknownTopicOrPartition));
    }
    let batch = batch.map_err(refusal)?;
    if call.version() < ZSTD && batch.codec() == Ok(Codec::Zstd) {
        return Err(Refusal::of(ResponseError::UnsupportedCompressionType));
    }
    let producer = match transactional_id {
        Some(id) if batch.is_transactional() => {
            Some(transaction(call, state, id, &partition, &batch)?)
        }
        _ => None,
    };
    if !acks_are_known {
        return Err(Refusal::of(ResponseError::InvalidRequiredAcks));
    }
    if is_internal(&partition.topic) {
        return Err(Refusal::of(ResponseError::InvalidTopicException));
    }
    let (topic, log) = state.led(call, key, index, -1).map_err(Refusal::of)?;
    let log_start = log.start();
    if batch.size() > topic.max_message_bytes {
        return Err(Refusal::of(ResponseError::MessageTooLarge));
    }
    sum.map_err(refusal)?;
    let refuse = |error| Refusal { log_start, ..Refusal::of(error) };
    let without_key = records
        .and_then(|()| if topic.is_compacted { batch.without_key() } else { Ok(Vec::new()) });
    let without_key = without_key.map_err(|error| Refusal { log_start, ..refusal(error) })?;
    if !without_key.is_empty() {
        return Err(Refusal { log_start, ..Refusal::without_key(&partition, &without_key) });
    }
    match log.sequence(&batch) {
        Sequence::Next => {}
        // As in Kafka, also where the log does not stamp.
        Sequence::Duplicate(base_offset, log_append_time) => {
            return Ok(Place { base_offset, log_append_time, log_start });
        }
        Sequence::OutOfOrder => return Err(refuse(ResponseError::OutOfOrderSequenceNumber)),
        Sequence::Fenced => return Err(refuse(ResponseError::InvalidProducerEpoch)),
    }
    if producer.is_none() && log.is_open_of(batch.producer_id()) {
        return Err(refuse(ResponseError::InvalidTxnState));
    }
    let now = topic.stamps.then(|| (state.wall_clock)());
    let batch = match now {
        Some(now) => batch.stamped(now),
        None => batch,
    };
    let base_offset = state.append_batch(&partition.topic, index, batch, producer);
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
    let how = match call.version() {
        JOINS.. => Producing::Joins,
        ABORTABLE => Producing::HasJoined,
        _ => Producing::HasJoinedOld,
    };
    if let Some(log) = state.log_mut(partition) {
        if log.epoch_of(producer).is_some_and(|known| epoch < known) {
            return Err(Refusal::of(ResponseError::InvalidProducerEpoch));
        }
        if let Ok(known) = ProducerId::try_from(producer)
            && log.is_open(known, epoch)
        {
            return Ok(known);
        }
        log.joins(batch, how == Producing::Joins);
    }
    let joined = state.in_transaction(id, (producer, epoch), partition.clone(), how);
    joined.map_err(|error| match error {
        ResponseError::InvalidTxnState => {
            Refusal::saying(error, "Partition was not added to the transaction")
        }
        error => Refusal::of(error),
    })
}

fn refusal(error: BatchError) -> Refusal {
    let invalid = |message| Refusal::saying(ResponseError::InvalidRecord, message);
    match error {
        BatchError::Corrupt => Refusal::of(ResponseError::CorruptMessage),
        BatchError::Inconsistent => invalid("what a batch says contradicts itself, or its records"),
        BatchError::NotOne => invalid("a produce request holds exactly one whole record batch"),
        BatchError::OldMagic => invalid("a produce request holds record batches of magic 2"),
    }
}
