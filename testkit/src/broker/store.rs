//! A state store on a topic of the broker.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jobstream::record::{Topic, TopicId, TopicPartition};
use jobstream::state::{Entry, Key, Store, StoreError, Value};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::Broker;
use super::log::{Isolation, Log};
use super::member::MemberId;
use super::operation::Operation;
use super::state::State;

/// Restores the parts of a keyed state from a topic: a reader of its own, that belongs to no group.
#[derive(Clone, Debug)]
pub struct BrokerStore {
    broker: Broker,
    topic: Topic,
    member: Option<MemberId>,
}

impl BrokerStore {
    pub(super) fn new(broker: Broker, topic: Topic) -> Self {
        Self { broker, topic, member: None }
    }

    /// Runs in the process of that member: when it is suspended, this pends too.
    #[must_use]
    pub const fn beside(mut self, member: MemberId) -> Self {
        self.member = Some(member);
        self
    }

    async fn perform<T: Send>(
        &self,
        partition: &TopicPartition,
        read: impl Fn(&Log) -> T + Send + Sync,
    ) -> Result<T, StoreError> {
        let apply = |state: &mut State| state.log(partition).map(&read);
        match self.broker.perform_at_last(Operation::Restore, self.member, apply).await {
            Ok(Some(found)) => Ok(found),
            Ok(None) => {
                Err(StoreError::missing(format!("{partition}: there is no such partition")))
            }
            Err(_) => Err(StoreError::broken(format!("{partition}: the reader failed for good"))),
        }
    }

    /// Completes when no transaction is open below the offset.
    async fn until_stable(&self, partition: &TopicPartition, end: i64) {
        loop {
            let changed = self.broker.shared.changed.notified();
            let (is_stable, deadline) = self.broker.with(|state| {
                state.expire_overdue(Instant::now());
                let stable = state.log(partition).map(Log::last_stable_offset);
                (stable.is_none_or(|stable| stable >= end), state.next_deadline())
            });
            if is_stable {
                return;
            }
            select! {
                biased;
                () = changed => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            }
        }
    }
}

#[async_trait]
impl Store for BrokerStore {
    fn topic(&self) -> &Topic {
        &self.topic
    }

    async fn restore(&self, partition: i32) -> Result<Vec<Entry>, StoreError> {
        let partition = TopicPartition::new(self.topic.clone(), partition);
        let end = self.perform(&partition, Log::end).await?;
        self.until_stable(&partition, end).await;
        self.perform(&partition, entries).await
    }

    async fn topic_id(&self) -> Option<TopicId> {
        self.broker.topic_id(&self.topic)
    }
}

/// The last committed value of each key.
fn entries(log: &Log) -> Vec<Entry> {
    let mut entries: BTreeMap<Key, Value> = BTreeMap::new();
    log.read(log.start(), Isolation::ReadCommitted, usize::MAX, |_, stored| {
        let Some(key) = &stored.key else { return };
        let key = Key::from_slice(key);
        match &stored.value {
            Some(value) => drop(entries.insert(key, Value::from_slice(value))),
            None => drop(entries.remove(&key)),
        }
    });
    entries.into_iter().map(|(key, value)| Entry { key, value }).collect()
}
