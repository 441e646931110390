//! What the tests of keyed state share: a job sink that counts, and one that does what a test sets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::{State, Store as _};
use jobstream::topology::Topology;
use jobstream_testkit::broker::{Broker, Isolation};
use tokio::time::sleep;

use crate::support::stateful::STATE;
use crate::support::{self, DEAD_LETTERS, Task, limits, produce};

pub(crate) const KEYS: [&str; 3] = ["a", "b", "c"];

pub(crate) fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().unwrap())
}

/// Counts the jobs of each key; the result is the count. Fails as often as the task says, after it
/// has counted.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    pub(crate) persists: bool,
    pub(crate) attempts: Mutex<BTreeMap<u64, u32>>,
}

#[async_trait]
impl StatefulJobSink<Task, u64> for Counter {
    async fn execute(
        &self,
        task: &Task,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        let key = record.key.as_deref().unwrap_or_default();
        let count = state.get(key).map_or(0, |count| number(&count)) + 1;
        sleep(Duration::from_millis(task.takes_ms)).await;
        state.put(key, &count.to_be_bytes());
        let attempt = *self
            .attempts
            .lock()
            .unwrap()
            .entry(task.id)
            .and_modify(|attempts| *attempts += 1)
            .or_insert(1);
        if attempt <= task.failures {
            return Err(JobError::transient("it is to fail"));
        }
        if self.persists {
            state.persist().await.map_err(|error| JobError::permanent(error.to_string()))?;
        }
        Ok(count)
    }
}

pub(crate) fn counting(sink: impl StatefulJobSink<Task, u64> + 'static) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(Arc::new(sink))
        .encode(support::result)
        .with_limits(limits())
}

/// What the topic holds, of all parts.
pub(crate) async fn counts(broker: &Broker) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for TopicPartition { partition, .. } in broker.partitions(STATE) {
        for entry in broker.store(STATE).restore(partition).await.unwrap() {
            let key = String::from_utf8(entry.key.to_vec()).unwrap();
            let before = counts.insert(key, number(&entry.value));
            assert_eq!(before, None, "a key is in two parts");
        }
    }
    counts
}

/// Tasks on three keys; some are slow, one fails at first. Gives how many each key has.
pub(crate) fn produce_some(broker: &Broker) -> BTreeMap<String, u64> {
    let mut produced = BTreeMap::new();
    for id in 0..12 {
        let key = KEYS[id as usize % KEYS.len()];
        let task = Task::new(id).takes(Duration::from_millis(id % 4 * 300));
        produce(broker, Some(key), &task.fails(u32::from(id == 4)));
        *produced.entry(key.to_owned()).or_default() += 1;
    }
    produced
}

/// Does what a test says, given the task's number.
pub(crate) struct Does<F>(F);

pub(crate) type Doing<'a> = BoxFuture<'a, Result<u64, JobError>>;

#[async_trait]
impl<F: for<'a> Fn(u64, &'a State) -> Doing<'a> + Send + Sync> StatefulJobSink<Task, u64>
    for Does<F>
{
    async fn execute(
        &self,
        task: &Task,
        _: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        (self.0)(task.id, state).await
    }
}

pub(crate) fn doing(
    f: impl for<'a> Fn(u64, &'a State) -> Doing<'a> + Send + Sync + 'static,
) -> Topology {
    counting(Does(f))
}

/// The records of the state's topic that a reader of committed transactions sees.
pub(crate) fn stored(broker: &Broker) -> usize {
    broker.records(STATE, Isolation::ReadCommitted).len()
}
