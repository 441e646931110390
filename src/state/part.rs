//! The entries of one partition number, in memory.
//!
//! Because they are in memory, a look-up is a plain function, and what a job sees is consistent
//! without a lock that is held over an await. Small keys and values lie in the tree itself.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Entry, Key, Value};
use crate::record::Topic;

/// What is durable of a part, or, without a topic, what is acknowledged.
pub(crate) struct Part {
    partition: i32,
    topic: Option<Topic>,
    entries: Mutex<BTreeMap<Key, Value>>,
}

impl Part {
    pub(crate) fn new(partition: i32, topic: Option<Topic>, entries: Vec<Entry>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        Self { partition, topic, entries: Mutex::new(entries) }
    }

    /// Its number.
    pub(crate) fn partition(&self) -> i32 {
        self.partition
    }

    /// Where its changes are published to.
    pub(crate) fn topic(&self) -> Option<&Topic> {
        self.topic.as_ref()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Value> {
        self.lock().get(key).cloned()
    }

    /// Every entry, ascending.
    pub(super) fn all(&self) -> Vec<(Key, Option<Value>)> {
        self.lock().iter().map(|(key, value)| (key.clone(), Some(value.clone()))).collect()
    }

    pub(super) fn apply(&self, changes: Vec<(Key, Option<Value>)>) {
        let mut entries = self.lock();
        for (key, value) in changes {
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
        }
    }

    /// The first `limit_entries` entries within the bounds of which `condition` holds, ascending.
    pub(super) fn range(
        &self,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        limit_entries: usize,
        condition: impl Fn(&[u8]) -> bool,
    ) -> Vec<Entry> {
        let entries = self.lock();
        let found = entries.range::<[u8], _>(bounds).filter(|(key, _)| condition(key));
        let entry = |(key, value): (&Key, &Value)| Entry { key: key.clone(), value: value.clone() };
        found.take(limit_entries).map(entry).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Value>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("partition", &self.partition)
            .field("topic", &self.topic)
            .field("entries", &self.len())
            .finish()
    }
}
