//! The handle that a job gets.

use std::collections::BTreeMap;
use std::fmt;
use std::future::pending;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;

use super::{Changes, DrainEnd, Entry, Key, Part, Persist, PersistError, Value};
use crate::record::{Generation, TopicPartition};

/// The state as one job sees it: the part of its record's partition number, with the changes that
/// this attempt has made.
///
/// Changes are published with the outputs of the record, after them and in the same batch; once
/// that is acknowledged, jobs that begin later see them, those of the same key at least. An attempt
/// that another one follows drops the changes that it has not [persisted](Self::persist).
///
/// Jobs that run at once and do not share a key should not change the same entry: the one that is
/// acknowledged last wins.
pub struct State {
    part: Arc<Part>,
    assignment: (TopicPartition, Generation),
    frontier: i64,
    drain_end: Arc<DrainEnd>,
    attempt_timeout: Option<Duration>,
    persists: UnboundedSender<Persist>,
    overlay: Mutex<Overlay>,
}

/// What an attempt has changed.
#[derive(Default)]
struct Overlay {
    /// What goes with the outputs, or with the next persist.
    new: BTreeMap<Key, Option<Value>>,
    /// What is being persisted.
    persisting: BTreeMap<Key, Option<Value>>,
    /// How many persists have begun.
    persists: u64,
}

impl Overlay {
    fn get(&self, key: &[u8]) -> Option<&Option<Value>> {
        self.new.get(key).or_else(|| self.persisting.get(key))
    }
}

impl State {
    pub(crate) fn new(
        part: Arc<Part>,
        assignment: (TopicPartition, Generation),
        frontier: i64,
        drain_end: Arc<DrainEnd>,
        persists: UnboundedSender<Persist>,
    ) -> Self {
        Self {
            part,
            assignment,
            frontier,
            drain_end,
            attempt_timeout: None,
            persists,
            overlay: Mutex::default(),
        }
    }

    /// Limits the time of each attempt.
    pub(crate) const fn limit_attempts(&mut self, timeout: Option<Duration>) {
        self.attempt_timeout = timeout;
    }

    /// How long an attempt may take: see [`Retry::attempt_timeout`]. A job sink that
    /// [keeps it by itself](crate::sinks::StatefulJobSink::keeps_time) reads it here.
    ///
    /// [`Retry::attempt_timeout`]: crate::topology::Retry::attempt_timeout
    pub const fn attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    /// The number of the part: the partition of the record.
    pub fn partition(&self) -> i32 {
        self.part.partition()
    }

    /// The lowest unfinished offset of the record's partition when the record was taken in: no
    /// record below it is delivered again once the changes of this job are published in
    /// exactly-once mode, since its position goes with them.
    pub const fn frontier(&self) -> i64 {
        self.frontier
    }

    /// Completes when the time is over in which the jobs of a partition may execute that is asked
    /// back, or of a run that shuts down. The job is to [withdraw] what it can, and to end: no attempt
    /// follows, and its record is left unfinished unless this one settles it. What it
    /// [persists](Self::persist) is published until the time to flush is over; then it is dropped.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    ///
    /// [withdraw]: crate::sinks::StatefulJobSink::withdraws
    pub async fn drain_ends(&self) {
        self.drain_end.comes().await;
    }

    /// Whether that time is over.
    pub fn has_drain_ended(&self) -> bool {
        self.drain_end.has_come()
    }

    /// How many entries the part has, without the changes of this attempt.
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether the part has no entry, without the changes of this attempt.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Option<Value> {
        match self.overlay().get(key) {
            Some(changed) => changed.clone(),
            None => self.part.get(key),
        }
    }

    /// The first `limit_entries` entries whose keys are within the bounds, ascending by the keys'
    /// bytes. To go on, begin after the last key.
    ///
    /// # Panics
    /// If the lower bound is above the upper one, as `BTreeMap::range` does.
    pub fn range(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), limit_entries: usize) -> Vec<Entry> {
        let overlay = self.overlay();
        let unchanged = |key: &[u8]| overlay.get(key).is_none();
        let mut entries = self.part.range(bounds, limit_entries, unchanged);
        let persisting = overlay.persisting.range::<[u8], _>(bounds);
        let hidden = |key: &Key| overlay.new.contains_key(key);
        let changed = overlay.new.range::<[u8], _>(bounds);
        for (key, value) in changed.chain(persisting.filter(|(key, _)| !hidden(key))) {
            entries.extend(value.clone().map(|value| Entry { key: key.clone(), value }));
        }
        entries.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        entries.truncate(limit_entries);
        entries
    }

    /// Sets the value of a key.
    pub fn put(&self, key: &[u8], value: &[u8]) {
        self.overlay().new.insert(Key::from_slice(key), Some(Value::from_slice(value)));
    }

    /// Removes a key.
    pub fn remove(&self, key: &[u8]) {
        self.overlay().new.insert(Key::from_slice(key), None);
    }

    /// Makes the changes so far durable: completes when the broker has acknowledged them.
    ///
    /// They are published in the next batch, always together with the position of the record's
    /// partition: in exactly-once mode in one transaction, so that it is refused to a member that
    /// has lost the partition. A batch that is aborted is published again. Without a store the
    /// changes count at once.
    ///
    /// If the partition is lost meanwhile, it never completes: the job is dropped.
    ///
    /// # Cancellation
    /// Dropped, the changes have become durable or not; they stay changes of this attempt.
    ///
    /// # Errors
    /// See [`PersistError`].
    pub async fn persist(&self) -> Result<(), PersistError> {
        let (changes, number) = self.begin_persist();
        let result = if self.part.topic().is_none() {
            changes.apply();
            Ok(())
        } else {
            let (persist, answered) = Persist::new(self.assignment.clone(), changes);
            // A run that ends, or does not answer, has dropped this job before.
            let _ = self.persists.unbounded_send(persist);
            match answered.await {
                Ok(result) => result,
                Err(_) => pending().await,
            }
        };
        self.end_persist(number);
        result
    }

    fn begin_persist(&self) -> (Changes, u64) {
        let mut overlay = self.overlay();
        let mut new = std::mem::take(&mut overlay.new);
        overlay.persisting.append(&mut new);
        overlay.persists += 1;
        let changes = overlay.persisting.iter().map(|(key, value)| (key.clone(), value.clone()));
        (Changes::new(self.part.clone(), changes.collect()), overlay.persists)
    }

    /// Ends a persist. Only the latest one clears what is being persisted: an earlier one has
    /// published less than that.
    fn end_persist(&self, number: u64) {
        let mut overlay = self.overlay();
        if overlay.persists == number {
            overlay.persisting.clear();
        }
    }

    /// Drops the changes that are not durable.
    pub(crate) fn forget(&self) {
        let mut overlay = self.overlay();
        overlay.new.clear();
        overlay.persisting.clear();
    }

    /// The changes that are not durable, to be published with the record's outputs.
    pub(crate) fn into_changes(self) -> Option<Box<Changes>> {
        let overlay = self.overlay.into_inner().unwrap_or_else(PoisonError::into_inner);
        let Overlay { mut new, persisting: mut changes, .. } = overlay;
        changes.append(&mut new);
        let changes: Vec<_> = changes.into_iter().collect();
        (!changes.is_empty()).then(|| Box::new(Changes::new(self.part, changes)))
    }

    fn overlay(&self) -> MutexGuard<'_, Overlay> {
        self.overlay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("part", &self.part)
            .field("frontier", &self.frontier)
            .finish_non_exhaustive()
    }
}
