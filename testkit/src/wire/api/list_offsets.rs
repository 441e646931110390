//! ListOffsets: the ends of partitions, and offsets by time.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ApiKey, ListOffsetsRequest, ListOffsetsResponse};

use crate::broker::Isolation;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::topics::TopicKey;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::at_once(ApiKey::ListOffsets, 1..=10, list_offsets)]
}

/// The first version that tells the leader epoch of an offset.
const EPOCHS: i16 = 4;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
/// The first offset on the node's own disk: without another tier, the earliest.
const EARLIEST_LOCAL: i64 = -4;
/// The last offset in another tier: there is none.
const LATEST_TIERED: i64 = -5;

fn list_offsets(call: &Call, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let isolation = isolation(request.isolation_level);
    let topics = call.broker().with(|state| {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                let key = TopicKey::Name(&topic.name);
                let response = ListOffsetsPartitionResponse::default()
                    .with_partition_index(partition.partition_index)
                    .with_leader_epoch(-1);
                match find(call, state, key, partition, isolation) {
                    Ok((offset, timestamp)) => {
                        response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(
                            if offset < 0 || call.version() < EPOCHS { -1 } else { 0 },
                        )
                    }
                    Err(error) => {
                        response.with_error_code(error.code()).with_offset(-1).with_timestamp(-1)
                    }
                }
            });
            ListOffsetsTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name.clone())
        });
        topics.collect()
    });
    ListOffsetsResponse::default().with_topics(topics)
}

/// The isolation level of this number.
pub(super) const fn isolation(level: i8) -> Isolation {
    match level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

/// An offset and its timestamp; -1 where there is none.
fn find(
    call: &Call,
    state: &State,
    key: TopicKey<'_>,
    asked: &ListOffsetsPartition,
    isolation: Isolation,
) -> Result<(i64, i64), ResponseError> {
    let since = match asked.timestamp {
        LATEST | EARLIEST | 0.. => 1,
        MAX_TIMESTAMP => 7,
        EARLIEST_LOCAL => 8,
        LATEST_TIERED => 9,
        _ => i16::MAX,
    };
    if call.version() < since {
        return Err(ResponseError::UnsupportedVersion);
    }
    let epoch = asked.current_leader_epoch;
    let (_, log) = state.led(call, key, asked.partition_index, epoch)?;
    Ok(match asked.timestamp {
        LATEST => (log.readable_end(isolation), -1),
        EARLIEST | EARLIEST_LOCAL => (log.start(), -1),
        MAX_TIMESTAMP => log.max_timestamp(isolation).unwrap_or((-1, -1)),
        LATEST_TIERED => (-1, -1),
        timestamp => log.at_or_after(timestamp, isolation).unwrap_or((-1, -1)),
    })
}
