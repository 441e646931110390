//! Fetch: batches from the log, when there are enough of them or the wait is over.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::list_offsets::isolation;
use crate::broker::Isolation;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::{Answered, Api};
use crate::wire::fetched::{Fetched, FetchedPartition, FetchedTopic};
use crate::wire::topics::TopicKey;

/// Bytes of records in one answer, at most; Kafka's `fetch.max.bytes`.
const MAX_BYTES: usize = 55 << 20;
/// The first version that names topics by their ids.
const BY_ID: i16 = 13;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::encoded(ApiKey::Fetch, 4..=18, fetch)]
}

async fn fetch(call: Call, mut request: FetchRequest) -> Answered {
    let version = call.version();
    let begun = call.broker().with(|state| {
        state.wire.fetch_sessions.begin(&mut request, version >= BY_ID, Instant::now())
    });
    let answering = match begun {
        Ok(answering) => answering,
        Err(error) => {
            let refused = Fetched { error: error.code(), session: 0, topics: Vec::new() };
            return Ok(Some(refused.encode(version)));
        }
    };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let ends = Instant::now() + wait;
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or_default();
    loop {
        let changed = call.broker().shared.changed.notified();
        let is_over = Instant::now() >= ends;
        let fetched = call.broker().with(|state| {
            let mut fetched = read(&call, state, &request);
            let is_enough = fetched.is_enough(min_bytes) || is_over;
            if is_enough {
                state.wire.fetch_sessions.answered(answering, &mut fetched);
            }
            is_enough.then_some(fetched)
        });
        if let Some(fetched) = fetched {
            return Ok(Some(fetched.encode(version)));
        }
        select! {
            biased;
            () = changed => {}
            () = sleep_until(ends) => {}
        }
    }
}

/// What there is now.
fn read(call: &Call, state: &State, request: &FetchRequest) -> Fetched {
    let isolation = isolation(request.isolation_level);
    let mut left = Left {
        bytes: usize::try_from(request.max_bytes).unwrap_or_default().min(MAX_BYTES),
        is_first: true,
    };
    let topics = request.topics.iter().map(|topic| {
        let key = match call.version() {
            BY_ID.. => TopicKey::Id(topic.topic_id),
            _ => TopicKey::Name(&topic.topic),
        };
        let partitions = topic.partitions.iter().map(|partition| {
            let read = read_partition(call, state, key, partition, isolation, &mut left);
            read.unwrap_or_else(|error| FetchedPartition::refused(partition.partition, error))
        });
        FetchedTopic {
            partitions: partitions.collect(),
            name: topic.topic.clone(),
            id: topic.topic_id,
        }
    });
    Fetched { error: 0, session: 0, topics: topics.collect() }
}

/// What the answer may still hold.
struct Left {
    bytes: usize,
    /// Whether nothing is in it: then a batch goes in, however large it is.
    is_first: bool,
}

fn read_partition(
    call: &Call,
    state: &State,
    key: TopicKey<'_>,
    asked: &FetchPartition,
    isolation: Isolation,
    left: &mut Left,
) -> Result<FetchedPartition, ResponseError> {
    let (_, log) = state.led(call, key, asked.partition, asked.current_leader_epoch)?;
    let from = asked.fetch_offset;
    if !(log.start()..=log.end()).contains(&from) {
        return Err(ResponseError::OffsetOutOfRange);
    }
    let max_bytes = usize::try_from(asked.partition_max_bytes).unwrap_or_default().min(left.bytes);
    let (batches, end) = log.batches(from, isolation, max_bytes, left.is_first);
    let bytes: usize = batches.iter().map(Bytes::len).sum();
    left.bytes = left.bytes.saturating_sub(bytes);
    left.is_first &= bytes == 0;
    Ok(FetchedPartition {
        partition: asked.partition,
        error: 0,
        high_watermark: log.end(),
        last_stable_offset: log.last_stable_offset(),
        log_start: log.start(),
        // Those that a reader of these batches is to pass over.
        aborted: (isolation == Isolation::ReadCommitted).then(|| log.aborted(from, end).collect()),
        batches,
    })
}
