//! Room in the ledger: old entries are removed, some with each write, and jobs wait while it is
//! full.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::LedgerKey;
use super::entry::LedgerEntry;
use crate::position::Position;
use crate::state::{Key, State};

/// Entries that are looked at with each write: more than one, so that the old ones are found faster
/// than new ones come.
const LOOKS_PER_WRITE: usize = 4;
/// Entries that are looked at when there is no room.
const LOOKS_WHEN_FULL: usize = 4_096;
/// How long jobs wait before it is looked again for room.
const FULL_BACKOFF: Duration = Duration::from_secs(1);

/// What is too old to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age {
    pub(super) now_ms: i64,
    pub(super) retention: Duration,
}

impl Age {
    fn is_over(self, written_ms: i64) -> bool {
        let age_ms = u128::try_from(self.now_ms.saturating_sub(written_ms));
        age_ms.is_ok_and(|age_ms| age_ms > self.retention.as_millis())
    }
}

/// Of each partition number, the keys in use, where the search for old entries goes on, whether it is
/// full, and an entry that can't be read.
#[derive(Debug, Default)]
pub(super) struct Room {
    partitions: Mutex<BTreeMap<i32, Partition>>,
}

#[derive(Debug, Default)]
struct Partition {
    in_use: BTreeSet<LedgerKey>,
    searched_to: Option<Key>,
    full_until: Option<Instant>,
    unreadable: Unreadable,
}

/// Whether an entry was found that can't be read.
#[derive(Debug, Default)]
enum Unreadable {
    #[default]
    None,
    Found(String),
    Reported,
}

impl Unreadable {
    /// Reads an entry, and notes the first one that can't be read.
    fn read(&mut self, key: &[u8], value: &[u8]) -> LedgerEntry {
        if matches!(self, Self::None) && LedgerEntry::read(value).is_none() {
            let (key, value) = (key.len(), value.len());
            let found =
                format!("found {value} bytes under a key of {key} bytes, expected 21 of ours");
            *self = Self::Found(found);
        }
        LedgerEntry::decode(value)
    }
}

/// A key in use: its entry is not removed until this is dropped.
pub(super) struct InUse<'a> {
    room: &'a Room,
    partition: i32,
    key: LedgerKey,
}

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        let mut partitions = self.room.partitions();
        if let Some(partition) = partitions.get_mut(&self.partition) {
            partition.in_use.remove(&self.key);
        }
    }
}

impl Room {
    /// The entry of a key.
    pub(super) fn entry(&self, state: &State, key: &LedgerKey) -> Option<LedgerEntry> {
        let value = state.get(key)?;
        let mut partitions = self.partitions();
        let partition = partitions.entry(state.partition()).or_default();
        Some(partition.unreadable.read(key, &value))
    }

    /// What was found of an entry that can't be read, once a partition.
    pub(super) fn unreadable(&self, partition: i32) -> Option<String> {
        let mut partitions = self.partitions();
        let unreadable = &mut partitions.get_mut(&partition)?.unreadable;
        match std::mem::replace(unreadable, Unreadable::Reported) {
            Unreadable::Found(found) => Some(found),
            kept => {
                *unreadable = kept;
                None
            }
        }
    }

    /// Keeps the entry of a key from being removed.
    pub(super) fn hold(&self, partition: i32, key: LedgerKey) -> InUse<'_> {
        self.partitions().entry(partition).or_default().in_use.insert(key);
        InUse { room: self, partition, key }
    }

    /// Removes old entries, of those that are looked at with each write; gives their number.
    pub(super) fn prune(&self, state: &State, age: Age) -> usize {
        self.search(state, age, LOOKS_PER_WRITE)
    }

    /// Removes old entries, of many that are looked at; gives their number.
    pub(super) fn prune_when_full(&self, state: &State, age: Age) -> usize {
        self.search(state, age, LOOKS_WHEN_FULL)
    }

    /// An old entry is below the frontier, so that its record is never delivered again; or so far
    /// above that it is from before the partition's offsets went back. The removal is published
    /// behind the changes that other jobs have asked for before.
    fn search(&self, state: &State, age: Age, looks: usize) -> usize {
        let mut partitions = self.partitions();
        let partition = partitions.entry(state.partition()).or_default();
        let from = partition.searched_to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let entries = state.range((from, Bound::Unbounded), looks);
        let mut removed = 0;
        for entry in &entries {
            let LedgerEntry { offset, written_ms, .. } =
                partition.unreadable.read(&entry.key, &entry.value);
            let is_in_use = || partition.in_use.iter().any(|key| key[..] == entry.key[..]);
            // The job that writes is within the window above the frontier that it was given, and
            // others are within the window above a frontier that has not passed this job since.
            let above = offset.saturating_sub(state.frontier());
            let is_in_flight = (0..2 * Position::WINDOW_OFFSETS).contains(&above);
            if !is_in_flight && age.is_over(written_ms) && !is_in_use() {
                state.remove(&entry.key);
                removed += 1;
            }
        }
        let is_at_end = entries.len() < looks;
        partition.searched_to = entries.last().filter(|_| !is_at_end).map(|last| last.key.clone());
        removed
    }

    /// Jobs wait from now on for a while; says whether that is new.
    pub(super) fn is_full(&self, partition: i32) -> bool {
        let until = Instant::now() + FULL_BACKOFF;
        self.partitions().entry(partition).or_default().full_until.replace(until).is_none()
    }

    /// There is room; says whether that is new.
    pub(super) fn has_room(&self, partition: i32) -> bool {
        self.partitions().entry(partition).or_default().full_until.take().is_some()
    }

    /// Completes when it is worth looking for room again.
    pub(super) async fn wait(&self) {
        let until = self.partitions().values().filter_map(|partition| partition.full_until).max();
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    fn partitions(&self) -> MutexGuard<'_, BTreeMap<i32, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
