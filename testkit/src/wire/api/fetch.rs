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
use crate::broker::log::{AbortedTransaction, Log};
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::{Answered, Api};
use crate::wire::fetched::{Fetched, FetchedPartition, FetchedTopic};
use crate::wire::topics::TopicKey;

/// Bytes of records in one answer, at most; Kafka's `fetch.max.bytes`.
const MAX_BYTES: usize = 55 << 20;
/// The first version that names topics by their ids.
const BY_ID: i16 = 13;
/// The epochs that ask for no session, and for a new one.
const NO_SESSION: i32 = -1;
const NEW_SESSION: i32 = 0;

pub(super) fn apis() -> Vec<Api> {
    vec![Api::encoded(ApiKey::Fetch, 4..=18, fetch)]
}

async fn fetch(call: Call, request: FetchRequest) -> Answered {
    let version = call.version();
    // Every answer is a full one: a client that asks for a session is given none.
    let is_sessionless = matches!(request.session_epoch, NO_SESSION | NEW_SESSION);
    if version >= 7 && !(is_sessionless && request.session_id == 0) {
        let error = ResponseError::FetchSessionIdNotFound.code();
        return Ok(Some(Fetched { error, topics: Vec::new() }.encode(version)));
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or_default());
    let ends = Instant::now() + wait;
    let min_bytes = usize::try_from(request.min_bytes).unwrap_or_default();
    loop {
        let changed = call.broker().shared.changed.notified();
        let fetched = call.broker().with(|state| read(&call, state, &request));
        if fetched.is_enough(min_bytes) || Instant::now() >= ends {
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
    Fetched { error: 0, topics: topics.collect() }
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
    let batches = log.batches(from, isolation, max_bytes, left.is_first);
    let bytes: usize = batches.iter().map(Bytes::len).sum();
    left.bytes = left.bytes.saturating_sub(bytes);
    left.is_first &= bytes == 0;
    Ok(FetchedPartition {
        partition: asked.partition,
        error: 0,
        high_watermark: log.end(),
        last_stable_offset: log.last_stable_offset(),
        log_start: log.start(),
        aborted: (isolation == Isolation::ReadCommitted).then(|| aborted(log, from, &batches)),
        batches,
    })
}

/// The aborted transactions that a reader of these batches is to pass over.
fn aborted(log: &Log, from: i64, batches: &[Bytes]) -> Vec<AbortedTransaction> {
    let Some(end) = batches.last().and_then(end) else { return Vec::new() };
    log.aborted(from, end).collect()
}

/// The offset after the last of a batch.
fn end(batch: &Bytes) -> Option<i64> {
    let base = i64::from_be_bytes(*batch.first_chunk()?);
    let last_offset_delta = i32::from_be_bytes(*batch.get(23..)?.first_chunk()?);
    Some(base + i64::from(last_offset_delta) + 1)
}
