//! The Kafka store: a reader of a compacted topic, for each restore one of its own.
//!
//! ```text
//!  1. the end of the partition, as read_uncommitted          what was written, open or not
//!  2. wait until the last stable offset has reached it       no transaction is open below
//!  3. read as read_committed until the end is reached        the last value of each key
//! ```
//!
//! It reads by assignment and belongs to no group (librdkafka wants a `group.id` all the same: the
//! topic's name). It shares nothing with source and sink; the changes are published by the sink.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::{FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::{Entry, Key, Store, StoreError, Value};
use crate::kafka::{Calls, ConfigError, ErrorKind, KafkaConfig, Told};
use crate::record::Topic;

/// How long a question, or the wait for a record, takes before it is asked again.
const QUERY_LIMIT: Duration = Duration::from_secs(1);
/// The wait before a question is asked again.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// How long a topic may be unknown: brokers learn of a new one with a delay.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(10);
/// How long an end that lies below the expected one must stand still. Compaction can leave offsets
/// at the end of which nothing is delivered, and a new leader may be behind for a moment.
const END_STANDS_STILL: Duration = Duration::from_secs(1);

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
        store.consumer("read_committed")?;
        Ok(store)
    }

    fn consumer(&self, isolation: &str) -> KafkaResult<Consumer> {
        let mut config: ClientConfig = self.config.consumer(&self.topic);
        config
            .set("enable.partition.eof", "true")
            // The end is told by a fetch that finds nothing.
            .set("fetch.wait.max.ms", "10")
            .set("isolation.level", isolation);
        Consumer::from_config_and_context(&config, Reading(self.config.told()))
    }
}

#[async_trait]
impl Store for KafkaStore {
    fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Reads on a thread of its own, which ends soon after the future is dropped.
    async fn restore(&self, partition: i32) -> Result<Vec<Entry>, StoreError> {
        let told = |reason: String| StoreError(format!("{}[{partition}]: {reason}", self.topic));
        let clients = self.consumer("read_uncommitted").and_then(|uncommitted| {
            self.consumer("read_committed").map(|committed| (uncommitted, committed))
        });
        let (uncommitted, committed) = clients.map_err(|error| told(error.to_string()))?;
        let calls = Calls::start("kafka-restore").map_err(|error| told(error.to_string()))?;
        let unwanted = Arc::new(AtomicBool::new(false));
        let _guard = Unwanted(unwanted.clone());
        let part =
            Reader { uncommitted, committed, topic: self.topic.clone(), partition, unwanted };
        let part = Arc::new(part);
        let reader = part.clone();
        let restored = calls.call(move || reader.restore()).await;
        // Closing may take its time: nobody waits for it.
        calls.tell(move || drop(part));
        restored.unwrap_or_else(|| Err("the restore has panicked".to_owned())).map_err(told)
    }
}

impl fmt::Debug for KafkaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStore").field("topic", &self.topic).finish_non_exhaustive()
    }
}

type Consumer = BaseConsumer<Reading>;

/// Tells what happens to a reader.
struct Reading(Told);

impl ClientContext for Reading {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Reading {}

/// Says, dropped, that nobody waits for the restore any more.
struct Unwanted(Arc<AtomicBool>);

impl Drop for Unwanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Reads one part. Its calls block.
struct Reader {
    uncommitted: Consumer,
    committed: Consumer,
    topic: Topic,
    partition: i32,
    unwanted: Arc<AtomicBool>,
}

impl Reader {
    fn restore(&self) -> Result<Vec<Entry>, String> {
        let (start, end) = self.until(&self.uncommitted, |_| true)?;
        if start >= end {
            return Ok(Vec::new());
        }
        self.until(&self.committed, |stable| stable >= end)?;
        self.read(end)
    }

    /// Asks for the first offset and the end, until the end is as wanted.
    fn until(
        &self,
        client: &Consumer,
        is_wanted: impl Fn(i64) -> bool,
    ) -> Result<(i64, i64), String> {
        let since = Instant::now();
        loop {
            match client.fetch_watermarks(&self.topic, self.partition, QUERY_LIMIT) {
                Ok((start, end)) if is_wanted(end) => return Ok((start, end)),
                Ok(_) => {}
                Err(error) => self.check(client, &error, since)?,
            }
            self.check_wanted()?;
            // Nothing is assigned yet: it waits, and hears of errors, which the context tells.
            drop(client.poll(RETRY_BACKOFF));
        }
    }

    fn read(&self, end: i64) -> Result<Vec<Entry>, String> {
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(&self.topic, self.partition, Offset::Beginning)
            .and_then(|()| self.committed.assign(&list));
        assigned.map_err(|error| error.to_string())?;
        let mut entries: BTreeMap<Key, Value> = BTreeMap::new();
        let (since, mut stands_since) = (Instant::now(), None);
        loop {
            match self.committed.poll(RETRY_BACKOFF) {
                Some(Ok(message)) => {
                    stands_since = None;
                    let Some(key) = message.key().map(Key::from_slice) else { continue };
                    match message.payload() {
                        Some(value) => drop(entries.insert(key, Value::from_slice(value))),
                        None => drop(entries.remove(&key)),
                    }
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    stands_since.get_or_insert_with(Instant::now);
                }
                Some(Err(error)) => self.check(&self.committed, &error, since)?,
                None => {}
            }
            self.check_wanted()?;
            let stands = |since: Instant| since.elapsed() >= END_STANDS_STILL;
            if stands_since.is_some_and(|at| self.position() >= end || stands(at)) {
                let entry = |(key, value)| Entry { key, value };
                return Ok(entries.into_iter().map(entry).collect());
            }
        }
    }

    /// The offset after the last one that was delivered, markers included.
    fn position(&self) -> i64 {
        let positions = self.committed.position();
        let found = positions.ok().and_then(|positions| {
            positions.find_partition(&self.topic, self.partition).map(|p| p.offset())
        });
        match found {
            Some(Offset::Offset(offset)) => offset,
            _ => 0,
        }
    }

    /// Errors that pass are told; others end the restore.
    fn check(&self, client: &Consumer, error: &KafkaError, since: Instant) -> Result<(), String> {
        client.context().0.error(error, &format!("{}[{}]", self.topic, self.partition));
        let reason = match client.client().fatal_error() {
            Some((_, reason)) => reason,
            None => error.to_string(),
        };
        match ErrorKind::of(error.rdkafka_error_code()) {
            ErrorKind::Fatal => Err(reason),
            ErrorKind::UnknownTopic if since.elapsed() >= UNKNOWN_LIMIT => Err(reason),
            _ if matches!(error, KafkaError::MessageConsumptionFatal(_)) => Err(reason),
            _ => Ok(()),
        }
    }

    fn check_wanted(&self) -> Result<(), String> {
        match self.unwanted.load(Ordering::Acquire) {
            true => Err("nobody waits for it any more".to_owned()),
            false => Ok(()),
        }
    }
}
