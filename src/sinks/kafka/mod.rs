//! The Kafka sink: an idempotent producer whose delivery reports are awaited.
//!
//! ```text
//!           send (never blocks)              acks=all
//!  publish ─────────────────────▶ librdkafka ────────▶ brokers
//!     ▲                               │
//!     └──── Deliveries ◀──── reports ─┘
//! ```
//!
//! The task that awaits a batch's reports takes them; while no task does, a thread listens to
//! librdkafka. A batch is sent at once and in order, so that many records are in flight, and is
//! published when every report has come; the next batches are sent meanwhile. Records that are
//! refused for their size are sent once more, alone, before they count as too large, since a broker
//! refuses whole batches of the wire.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};

pub(crate) use self::producer::{Producer, Refusal, Sent};
use super::{Batch, Commits, Published, Sink, SinkError};
use crate::kafka::{Blocking, ConfigError, Event, KafkaConfig, ObserverContext};
use crate::reason::Reason;

mod deliveries;
mod listener;
mod producer;

/// Batches whose reports are awaited at once. While the first batches wait for their linger and for
/// the broker, the next ones are sent.
const BATCHES_AT_ONCE: usize = 4;

/// The first wait before unacknowledged records are sent again; doubled each time.
const RETRY_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait before records are sent again.
const RETRY_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Publishes records; the source commits positions.
///
/// Idempotent, with `acks=all`; keys are placed by `consistent_random` (CRC-32) unless the property
/// `partitioner` says otherwise, and `compression.type` selects the compression (`gzip`, `snappy`,
/// `lz4`, `zstd`). A record with the timestamp 0 is sent without one.
///
/// After the drop, a thread of its own purges unacknowledged records.
#[derive(Debug)]
pub struct KafkaSink {
    producer: Blocking<Producer>,
    observer: ObserverContext,
    close_limit: Duration,
}

impl KafkaSink {
    /// A producer. No broker need be reachable yet.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn new(config: &KafkaConfig) -> Result<Self, ConfigError> {
        Ok(Self {
            producer: Blocking::start("kafka-flush", Producer::new(config, None)?)?,
            observer: config.observer_context(),
            close_limit: config.closes_within(),
        })
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        let producer = &self.producer;
        let sending = producer.begin(&batch.outputs);
        let mut todo: Vec<usize> = (0..batch.outputs.len()).collect();
        let mut too_large = Vec::new();
        let mut backoff = RETRY_BACKOFF_MIN;
        while !todo.is_empty() {
            let mut refusals = sending.send(&todo, Sent::Together).await;
            let by_size = take_too_large(&mut refusals);
            // If a record is refused alone, the record itself is too large.
            let mut again = sending.send(&by_size, Sent::Alone).await;
            too_large.extend(take_too_large(&mut again));
            refusals.append(&mut again);
            refusals.sort_by_key(|refusal| refusal.index);
            let Some(first) = refusals.first() else { break };
            if let Some(fatal) = producer.fatal_error() {
                return Err(SinkError::broken(fatal));
            }
            let (records, reason) = (refusals.len(), &first.to_string());
            let (topic, kind) = (&*first.topic, first.kind());
            self.observer.event(&Event::PublishRetried { records, topic, kind, reason });
            todo = refusals.iter().map(|refusal| refusal.index).collect();
            sleep(backoff).await;
            backoff = (backoff * 2).min(RETRY_BACKOFF_MAX);
        }
        if too_large.is_empty() {
            return Ok(Published::records().at(sending.take_places()));
        }
        too_large.sort_unstable();
        Err(SinkError::TooLarge { outputs: too_large, others_published: true })
    }

    fn commits(&self) -> Commits {
        Commits::BySource { batches_at_once: BATCHES_AT_ONCE }
    }

    /// Waits for records in flight, up to [`KafkaConfig::close_limit`].
    async fn close(&self) -> Result<(), SinkError> {
        let limit = self.close_limit;
        let flushed = self.producer.call(move |producer| producer.flush(limit));
        match timeout(limit, flushed).await {
            Ok(Some(Ok(()))) => Ok(()),
            Ok(Some(Err(error))) => Err(SinkError::broken(Reason::of(error))),
            Ok(None) | Err(_) => {
                Err(SinkError::broken(format!("not flushed: expected within {limit:?}")))
            }
        }
    }
}

/// Removes the refusals for a size, and returns the indices of their records.
pub(crate) fn take_too_large(refusals: &mut Vec<Refusal>) -> Vec<usize> {
    let by_size = refusals.extract_if(.., |refusal| crate::kafka::is_too_large(refusal.code));
    let mut indices: Vec<_> = by_size.map(|refusal| refusal.index).collect();
    indices.sort_unstable();
    indices
}
