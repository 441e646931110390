//! Changes of a part, on their way to the topic and back.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::{Key, Part, Value};
use crate::record::ProducerRecord;

/// Changes that a job has made: of each key the last one, ascending.
#[derive(Clone)]
pub(crate) struct Changes {
    part: Arc<Part>,
    changes: Vec<(Key, Option<Value>)>,
}

impl Changes {
    pub(super) fn new(part: Arc<Part>, changes: Vec<(Key, Option<Value>)>) -> Self {
        Self { part, changes }
    }

    /// All that a part holds, to be published again.
    pub(crate) fn all(part: &Arc<Part>) -> Self {
        Self { part: part.clone(), changes: part.all() }
    }

    pub(crate) const fn len(&self) -> usize {
        self.changes.len()
    }

    /// The same changes of another part: the one that was restored since.
    pub(crate) fn moved_to(self, part: Arc<Part>) -> Self {
        Self { part, ..self }
    }

    /// The records that make them durable; none if the part is in memory only.
    pub(crate) fn records(&self) -> impl Iterator<Item = ProducerRecord> + '_ {
        let topic = self.part.topic().into_iter();
        topic.flat_map(|topic| {
            self.changes.iter().map(|(key, value)| {
                let mut record = ProducerRecord::to(topic.clone()).key(Bytes::copy_from_slice(key));
                record.partition = Some(self.part.partition());
                record.value = value.as_ref().map(|value| Bytes::copy_from_slice(value));
                record
            })
        })
    }

    /// Takes the change out that `record` was to make durable, if it is one; gives its key.
    pub(crate) fn refuse(&mut self, record: &ProducerRecord) -> Option<Key> {
        if self.part.topic() != Some(&record.topic) {
            return None;
        }
        let key = record.key.as_ref()?;
        let index = self.changes.binary_search_by(|(own, _)| own[..].cmp(key)).ok()?;
        Some(self.changes.remove(index).0)
    }

    /// Makes them part of the part.
    pub(crate) fn apply(self) {
        self.part.apply(self.changes);
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes", self.changes.len())
    }
}
