//! DeleteRecords and OffsetForLeaderEpoch.

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    ApiKey, DeleteRecordsRequest, DeleteRecordsResponse, OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
};

use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::internal::is_internal;
use crate::wire::topics::TopicKey;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::DeleteRecords, 0..=2, delete_records),
        Api::at_once(ApiKey::OffsetForLeaderEpoch, 2..=4, offset_for_leader_epoch),
    ]
}

/// The offset of the high watermark.
const TO_THE_END: i64 = -1;

fn delete_records(call: &Call, request: &DeleteRecordsRequest) -> DeleteRecordsResponse {
    let topics = call.broker().change(|state| {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let result = DeleteRecordsPartitionResult::default()
                    .with_partition_index(asked.partition_index);
                match delete(call, state, &topic.name, asked) {
                    Ok(low_watermark) => result.with_low_watermark(low_watermark),
                    Err(error) => result.with_error_code(error.code()).with_low_watermark(-1),
                }
            });
            DeleteRecordsTopicResult::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name.clone())
        });
        topics.collect()
    });
    DeleteRecordsResponse::default().with_topics(topics)
}

fn delete(
    call: &Call,
    state: &mut State,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<i64, ResponseError> {
    let (known, log) = state.led(call, TopicKey::Name(topic), asked.partition_index, -1)?;
    if is_internal(topic) {
        return Err(ResponseError::InvalidTopicException);
    }
    if !known.config.deletes() {
        return Err(ResponseError::PolicyViolation);
    }
    let before = match asked.offset {
        TO_THE_END => log.end(),
        offset if (0..=log.end()).contains(&offset) => offset,
        _ => return Err(ResponseError::OffsetOutOfRange),
    };
    let partition = TopicPartition::new(Topic::from(topic), asked.partition_index);
    let log = state.log_mut(&partition).ok_or(ResponseError::UnknownTopicOrPartition)?;
    log.delete(before);
    Ok(log.start())
}

fn offset_for_leader_epoch(
    call: &Call,
    request: &OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let state = call.broker().lock();
    let topics = request.topics.iter().map(|topic| {
        let key = TopicKey::Name(&topic.topic);
        let partitions = topic.partitions.iter().map(|asked| end_of(call, &state, key, asked));
        OffsetForLeaderTopicResult::default()
            .with_partitions(partitions.collect())
            .with_topic(topic.topic.clone())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end_of(
    call: &Call,
    state: &State,
    key: TopicKey<'_>,
    asked: &OffsetForLeaderPartition,
) -> EpochEndOffset {
    let none = EpochEndOffset::default()
        .with_partition(asked.partition)
        .with_leader_epoch(-1)
        .with_end_offset(-1);
    let known = call.cluster().placement().leader_epoch();
    match state.led(call, key, asked.partition, asked.current_leader_epoch) {
        // All records are of the first epoch: a leader that moves keeps them.
        Ok((_, log)) if (0..=known).contains(&asked.leader_epoch) => {
            none.with_leader_epoch(0).with_end_offset(log.end())
        }
        Ok(_) => none,
        Err(error) => none.with_error_code(error.code()),
    }
}
