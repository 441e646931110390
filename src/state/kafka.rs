//! The Kafka store: a reader of a compacted topic, for each restore one of its own.
//!
//! ```text
//!  1. the end of the partition, as read_uncommitted          what was written, open or not
//!  2. wait until the last stable offset has reached it       no transaction is open below
//!  3. read as read_committed until the end is reached        the last value of each key
//! ```
//!
//! The end is the one that was read first: a part that ends before it is short, also where a fetch
//! finds nothing more for a while. Where the partition's own end goes back, the log has lost records,
//! and the restore starts over. What takes long is reported.
//!
//! It shares nothing with source and sink; the changes are published by the sink.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jobstream_kafka_ids::topic_ids;
use rdkafka::Message as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use tokio::time::Instant;

use super::{Entry, Key, Store, StoreError, Value};
use crate::kafka::{
    Blocking, ConfigError, ErrorKind, Event, Fetched, KafkaConfig, PartitionRange, RangeReader,
};
use crate::reason::Reason;
use crate::record::{Topic, TopicId, TopicPartition};

/// How long a question takes before it is asked again.
const QUERY_LIMIT: Duration = Duration::from_secs(1);
/// The wait before a question is asked again.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// How long a topic, or its partition, may be unknown: brokers learn of a new one with a delay.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(1);
/// How long a restore waits for something until it is reported, and it is looked whether the log has lost
/// records; and how long until that is done again.
const LOOK_AFTER: Duration = Duration::from_secs(5);

/// State on a topic with `cleanup.policy=compact` (and not `delete`, which would forget by age).
pub struct KafkaStore {
    config: KafkaConfig,
    topic: Topic,
}

impl KafkaStore {
    /// A store on this topic. No broker need be there yet; the topic must exist when a part is
    /// restored, with a partition for each partition number that is consumed.
    ///
    /// # Errors
    /// If librdkafka refuses a property.
    pub fn new(config: &KafkaConfig, topic: impl Into<Topic>) -> Result<Self, ConfigError> {
        let store = Self { config: config.clone(), topic: topic.into() };
        store.reader("read_committed")?;
        Ok(store)
    }

    fn reader(&self, isolation: &str) -> Result<RangeReader, ConfigError> {
        Ok(RangeReader::new(&self.config, &self.topic, isolation)?)
    }
}

#[async_trait]
impl Store for KafkaStore {
    fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Reads on a thread of its own, which ends soon after the future is dropped.
    async fn restore(&self, partition: i32) -> Result<Vec<Entry>, StoreError> {
        let partition = TopicPartition::new(self.topic.clone(), partition);
        let unwanted = Arc::new(AtomicBool::new(false));
        let _guard = Unwanted(unwanted.clone());
        let start = || {
            let (uncommitted, committed) =
                (self.reader("read_uncommitted")?, self.reader("read_committed")?);
            let partition = partition.clone();
            let restore = Restore { uncommitted, committed, partition, unwanted };
            Blocking::start("kafka-restore", restore)
        };
        let restore = start().map_err(|error| broken(&partition, Reason::of(error)))?;
        let restored = restore.call(Restore::restore).await;
        let panicked = || Err(StoreError::broken("the restore has panicked"));
        restored.unwrap_or_else(panicked)
    }

    /// Asks with a client of its own, for up to a second.
    async fn topic_id(&self) -> Option<TopicId> {
        let reader = self.reader("read_uncommitted").ok()?;
        let asking = Blocking::start("kafka-store-id", reader).ok()?;
        let topic = self.topic.clone();
        let asked = asking.call(move |reader| {
            let found = topic_ids(reader.client().client(), &[&*topic], QUERY_LIMIT).ok()?;
            found.get(&*topic).copied().map(TopicId::new)
        });
        asked.await?
    }
}

impl fmt::Debug for KafkaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStore").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// Says, dropped, that nobody waits for the restore any more.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Restores one part. Its calls block.
struct Restore {
    uncommitted: RangeReader,
    committed: RangeReader,
    partition: TopicPartition,
    unwanted: Arc<AtomicBool>,
}

/// What was waited for has come, or never will: the log has lost records.
enum Waited<T> {
    Came(T),
    LogLost,
}

impl Restore {
    fn restore(&self) -> Result<Vec<Entry>, StoreError> {
        loop {
            let range = self.range(&self.uncommitted)?;
            if range.start >= range.end {
                return Ok(Vec::new());
            }
            if let Waited::Came(()) = self.until_stable(range.end)?
                && let Waited::Came(entries) = self.read(range)?
            {
                return Ok(entries);
            }
        }
    }

    /// Asks for the first offset and the end, until there is an answer. A leader that may be behind
    /// gives none (KIP-207).
    fn range(&self, reader: &RangeReader) -> Result<PartitionRange, StoreError> {
        let TopicPartition { topic, partition } = &self.partition;
        let (since, client) = (Instant::now(), reader.client());
        loop {
            let error = match reader.range(*partition) {
                Ok(range) => return Ok(range),
                Err(error) => error,
            };
            self.check(reader, &error, since)?;
            self.check_wanted()?;
            if ErrorKind::of(error.rdkafka_error_code()) == ErrorKind::UnknownTopic {
                // The client answers from what it knows of the topic, which this renews.
                drop(client.fetch_metadata(Some(topic), QUERY_LIMIT));
            }
            // Nothing is assigned yet: it waits, and hears of errors, which the context reports.
            drop(client.poll(RETRY_BACKOFF));
        }
    }

    /// Waits until no transaction is open below the end.
    fn until_stable(&self, end: i64) -> Result<Waited<()>, StoreError> {
        let mut look_at = Instant::now() + LOOK_AFTER;
        loop {
            let stable = self.range(&self.committed)?.end;
            if stable >= end {
                return Ok(Waited::Came(()));
            }
            let found = format!("found a transaction that is open at offset {stable}");
            if self.has_lost(&mut look_at, end, &found)? {
                return Ok(Waited::LogLost);
            }
            self.check_wanted()?;
            drop(self.committed.client().poll(RETRY_BACKOFF));
        }
    }

    /// Reads to the end of the range at least: what is behind it may be what is left of a key.
    fn read(&self, range: PartitionRange) -> Result<Waited<Vec<Entry>>, StoreError> {
        let opened = self.committed.open(&[range]);
        let mut open = opened.map_err(|error| self.broken(Reason::of(error)))?;
        let mut entries: BTreeMap<Key, Value> = BTreeMap::new();
        let since = Instant::now();
        let mut look_at = since + LOOK_AFTER;
        loop {
            match self.committed.poll(&mut open, RETRY_BACKOFF) {
                Ok(Fetched::Record(message)) => {
                    look_at = Instant::now() + LOOK_AFTER;
                    let Some(key) = message.key().map(Key::from_slice) else { continue };
                    match message.payload() {
                        Some(value) => drop(entries.insert(key, Value::from_slice(value))),
                        None => drop(entries.remove(&key)),
                    }
                    continue;
                }
                Ok(Fetched::End | Fetched::Nothing) => {}
                Err(error) => self.check(&self.committed, &error, since)?,
            }
            self.check_wanted()?;
            let Some((PartitionRange { end, .. }, end_at)) = open.first() else {
                let entry = |(key, value)| Entry { key, value };
                return Ok(Waited::Came(entries.into_iter().map(entry).collect()));
            };
            let found = format!("found the end at offset {end_at}, for now");
            if self.has_lost(&mut look_at, end, &found)? {
                return Ok(Waited::LogLost);
            }
        }
    }

    /// Once a while, reports what is waited for, and says whether the log has lost what was before the
    /// end: then that will never come.
    fn has_lost(&self, look_at: &mut Instant, end: i64, found: &str) -> Result<bool, StoreError> {
        if Instant::now() < *look_at {
            return Ok(false);
        }
        let now = self.range(&self.uncommitted)?.end;
        let reason = match now < end {
            true => format!("{found}, and the log has lost what was before {end}: it starts over"),
            false => format!("{found}, waits for all before offset {end}"),
        };
        let event = Event::RestoreWaits { partition: &self.partition, reason: &reason };
        self.committed.observer().event(&event);
        *look_at = Instant::now() + LOOK_AFTER;
        Ok(now < end)
    }

    /// Errors that pass are reported; others end the restore.
    fn check(
        &self,
        reader: &RangeReader,
        error: &KafkaError,
        since: Instant,
    ) -> Result<(), StoreError> {
        let kind = ErrorKind::of(error.rdkafka_error_code());
        if kind == ErrorKind::UnknownTopic {
            // A new one is known to the brokers one after another.
            if since.elapsed() < UNKNOWN_LIMIT {
                return Ok(());
            }
            let TopicPartition { topic, partition } = &self.partition;
            let expected = format!("expected topic '{topic}' to have a partition {partition}");
            return Err(StoreError::missing(format!("found none, {expected}")));
        }
        reader.observer().error(error, &format!("{}: {error}", self.partition));
        match reader.client().client().fatal_error() {
            Some((_, reason)) => Err(self.broken(reason)),
            None if kind == ErrorKind::Fatal => Err(self.broken(Reason::of(error.clone()))),
            None if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(self.broken(Reason::of(error.clone())))
            }
            None => Ok(()),
        }
    }

    fn broken(&self, reason: impl Into<Reason>) -> StoreError {
        broken(&self.partition, reason.into())
    }

    fn check_wanted(&self) -> Result<(), StoreError> {
        match self.unwanted.load(Ordering::Acquire) {
            true => Err(self.broken("nobody waits for it any more")),
            false => Ok(()),
        }
    }
}

fn broken(partition: &TopicPartition, reason: Reason) -> StoreError {
    let text = format!("{partition}: {reason}");
    StoreError::broken(reason.in_words(text))
}
