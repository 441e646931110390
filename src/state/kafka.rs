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
//! and the restore starts over. What takes long is told.
//!
//! It reads by assignment and belongs to no group (librdkafka wants a `group.id` all the same: the
//! topic's name). It shares nothing with source and sink; the changes are published by the sink.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tokio::time::Instant;

use super::{Entry, Key, Store, StoreError, Value};
use crate::kafka::{Calls, ConfigError, ErrorKind, KafkaConfig, KafkaEvent, Reading, reached};
use crate::reason::Reason;
use crate::record::{Topic, TopicPartition};

/// How long a question, or the wait for a record, takes before it is asked again.
const QUERY_LIMIT: Duration = Duration::from_secs(1);
/// The wait before a question is asked again.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// How long a topic, or its partition, may be unknown: brokers learn of a new one with a delay.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(1);
/// How long a restore waits for something until it is told, and it is looked whether the log has lost
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
        Consumer::from_config_and_context(&config, Reading::new(self.config.told()))
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
        let clients = self.consumer("read_uncommitted").and_then(|uncommitted| {
            self.consumer("read_committed").map(|committed| (uncommitted, committed))
        });
        let (uncommitted, committed) =
            clients.map_err(|error| broken(&partition, Reason::of(error)))?;
        let calls =
            Calls::start("kafka-restore").map_err(|error| broken(&partition, Reason::of(error)))?;
        let unwanted = Arc::new(AtomicBool::new(false));
        let _guard = Unwanted(unwanted.clone());
        let partition = partition.clone();
        let part = Arc::new(Reader { uncommitted, committed, partition, unwanted });
        let reader = part.clone();
        let restored = calls.call(move || reader.restore()).await;
        // Closing may take its time: nobody waits for it.
        calls.tell(move || drop(part));
        let panicked = || Err(StoreError::broken("the restore has panicked"));
        restored.unwrap_or_else(panicked)
    }
}

impl fmt::Debug for KafkaStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaStore").field("topic", &self.topic).finish_non_exhaustive()
    }
}

type Consumer = BaseConsumer<Reading>;

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
    partition: TopicPartition,
    unwanted: Arc<AtomicBool>,
}

/// What was waited for has come, or never will: the log has lost records.
enum Waited<T> {
    Came(T),
    LogLost,
}

impl Reader {
    fn restore(&self) -> Result<Vec<Entry>, StoreError> {
        loop {
            let (start, end) = self.watermarks(&self.uncommitted)?;
            if start >= end {
                return Ok(Vec::new());
            }
            if let Waited::Came(()) = self.until_stable(end)?
                && let Waited::Came(entries) = self.read(end)?
            {
                return Ok(entries);
            }
        }
    }

    /// Asks for the first offset and the end, until there is an answer. A leader that may be behind
    /// gives none (KIP-207).
    fn watermarks(&self, client: &Consumer) -> Result<(i64, i64), StoreError> {
        let TopicPartition { topic, partition } = &self.partition;
        let since = Instant::now();
        loop {
            let error = match client.fetch_watermarks(topic, *partition, QUERY_LIMIT) {
                Ok(watermarks) => return Ok(watermarks),
                Err(error) => error,
            };
            self.check(client, &error, since)?;
            self.check_wanted()?;
            if ErrorKind::of(error.rdkafka_error_code()) == ErrorKind::UnknownTopic {
                // The client answers from what it knows of the topic, which this renews.
                drop(client.fetch_metadata(Some(topic), QUERY_LIMIT));
            }
            // Nothing is assigned yet: it waits, and hears of errors, which the context tells.
            drop(client.poll(RETRY_BACKOFF));
        }
    }

    /// Waits until no transaction is open below the end.
    fn until_stable(&self, end: i64) -> Result<Waited<()>, StoreError> {
        let mut look_at = Instant::now() + LOOK_AFTER;
        loop {
            let (_, stable) = self.watermarks(&self.committed)?;
            if stable >= end {
                return Ok(Waited::Came(()));
            }
            let found = format!("found a transaction that is open at offset {stable}");
            if self.has_lost(&mut look_at, end, &found)? {
                return Ok(Waited::LogLost);
            }
            self.check_wanted()?;
            drop(self.committed.poll(RETRY_BACKOFF));
        }
    }

    fn read(&self, end: i64) -> Result<Waited<Vec<Entry>>, StoreError> {
        let TopicPartition { topic, partition } = &self.partition;
        let mut list = TopicPartitionList::new();
        let assigned = list
            .add_partition_offset(topic, *partition, Offset::Beginning)
            .and_then(|()| self.committed.assign(&list));
        assigned.map_err(|error| self.broken(Reason::of(error)))?;
        let mut entries: BTreeMap<Key, Value> = BTreeMap::new();
        let (since, mut read_to) = (Instant::now(), 0);
        let mut look_at = since + LOOK_AFTER;
        loop {
            match self.committed.poll(RETRY_BACKOFF) {
                Some(Ok(message)) => {
                    look_at = Instant::now() + LOOK_AFTER;
                    let Some(key) = message.key().map(Key::from_slice) else { continue };
                    match message.payload() {
                        Some(value) => drop(entries.insert(key, Value::from_slice(value))),
                        None => drop(entries.remove(&key)),
                    }
                    continue;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    read_to = reached(&self.committed, topic, *partition);
                }
                Some(Err(error)) => self.check(&self.committed, &error, since)?,
                None => {}
            }
            self.check_wanted()?;
            if read_to >= end {
                let entry = |(key, value)| Entry { key, value };
                return Ok(Waited::Came(entries.into_iter().map(entry).collect()));
            }
            let found = format!("found the end at offset {read_to}, for now");
            if self.has_lost(&mut look_at, end, &found)? {
                return Ok(Waited::LogLost);
            }
        }
    }

    /// Once a while, tells what is waited for, and says whether the log has lost what was before the
    /// end: then that will never come.
    fn has_lost(&self, look_at: &mut Instant, end: i64, found: &str) -> Result<bool, StoreError> {
        if Instant::now() < *look_at {
            return Ok(false);
        }
        let (_, now) = self.watermarks(&self.uncommitted)?;
        let reason = match now < end {
            true => format!("{found}, and the log has lost what was before {end}: it starts over"),
            false => format!("{found}, waits for all before offset {end}"),
        };
        let event = KafkaEvent::RestoreWaits { partition: &self.partition, reason: &reason };
        self.committed.context().told().event(&event);
        *look_at = Instant::now() + LOOK_AFTER;
        Ok(now < end)
    }

    /// Errors that pass are told; others end the restore.
    fn check(
        &self,
        client: &Consumer,
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
        client.context().told().error(error, &format!("{}: {error}", self.partition));
        match client.client().fatal_error() {
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
