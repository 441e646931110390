//! What the polling thread and the stream share: assigned partitions, and fetched records.
//!
//! ```text
//!            push                            take · give back
//!  Poller ─────────▶ notices, then records ──────────────────▶ Events
//!         ◀───────── commands                 pause · resume
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Generation, TopicId, TopicPartition};
use crate::sources::{SourceError, SourceEvent};

/// About how many bytes a record takes beside its contents.
const RECORD_OVERHEAD_BYTES: usize = 160;

/// Consecutive records of one partition, which the stream takes at once; never empty.
pub(super) type Chunk = VecDeque<ConsumerRecord>;

/// Records in a chunk, at most.
const CHUNK_RECORDS: usize = 512;

/// A request to the poller.
#[derive(Debug)]
pub(super) enum Command {
    /// Join the group.
    Join,
    /// Give revoked partitions up.
    Release(Vec<TopicPartition>, oneshot::Sender<()>),
    /// Leave the group, and end.
    Close,
}

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) generation: Generation,
    /// The id of the assigned topic, if it is known.
    topic_id: Option<TopicId>,
    pub(super) paused: bool,
    pub(super) revoked: bool,
    pub(super) bytes: usize,
    queue: VecDeque<Chunk>,
}

impl Fetch {
    fn is_readable(&self) -> bool {
        !self.paused && !self.revoked && !self.queue.is_empty()
    }

    fn clear(&mut self) {
        self.queue = VecDeque::new();
        self.bytes = 0;
    }
}

/// The shared state, behind a lock.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) fetches: BTreeMap<TopicPartition, Fetch>,
    pub(super) commands: VecDeque<Command>,
    /// Why the group no longer knows the member, as far as its coordinator has said so to a commit.
    pub(super) expelled: Option<String>,
    /// How the source has ended, if it has. The stream takes an error once.
    pub(super) ended: Option<Result<(), SourceError>>,
    notices: VecDeque<SourceEvent>,
    generations: BTreeMap<TopicPartition, Generation>,
    turn: Option<TopicPartition>,
    waker: Option<Waker>,
}

impl Buffer {
    /// Queues an event for the stream, before any record.
    pub(super) fn notify(&mut self, event: SourceEvent) {
        self.notices.push_back(event);
    }

    pub(super) fn next_notice(&mut self) -> Option<SourceEvent> {
        self.notices.pop_front()
    }

    /// Starts to keep records of a partition of the topic with this id, under a new generation.
    pub(super) fn assign(
        &mut self,
        partition: &TopicPartition,
        topic_id: Option<TopicId>,
    ) -> Generation {
        let generation = self.generations.entry(partition.clone()).or_default();
        *generation += 1;
        let fetch = Fetch {
            generation: *generation,
            topic_id,
            paused: false,
            revoked: false,
            bytes: 0,
            queue: VecDeque::new(),
        };
        self.fetches.insert(partition.clone(), fetch);
        *generation
    }

    /// Marks those of the partitions that are assigned as revoked, notifies the stream, and returns
    /// them.
    pub(super) fn revoke(&mut self, partitions: &[TopicPartition]) -> BTreeSet<TopicPartition> {
        let mut revoked = BTreeSet::new();
        for partition in partitions {
            if let Some(fetch) = self.fetches.get_mut(partition) {
                fetch.revoked = true;
                fetch.clear();
                revoked.insert(partition.clone());
            }
        }
        if !revoked.is_empty() {
            self.notify(SourceEvent::Revoked(revoked.iter().cloned().collect()));
        }
        revoked
    }

    /// Removes those of the partitions that were revoked.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if self.fetches.get(partition).is_some_and(|fetch| fetch.revoked) {
                self.fetches.remove(partition);
            }
        }
    }

    /// Removes partitions, and notifies the stream which of them it has lost.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        let had: Vec<_> =
            partitions.iter().filter(|p| self.fetches.remove(*p).is_some()).cloned().collect();
        if !had.is_empty() {
            self.notify(SourceEvent::Lost(had));
        }
    }

    /// Removes every partition.
    pub(super) fn lose_all(&mut self) {
        let all: Vec<_> = self.fetches.keys().cloned().collect();
        self.lose(&all);
    }

    /// Removes every partition if these positions are of the assignment that the group has refused.
    /// Returns whether they are.
    pub(super) fn refuse(&mut self, positions: &[PartitionPosition]) -> bool {
        let is_current = self.fence(positions).is_ok();
        if is_current {
            self.lose_all();
        }
        is_current
    }

    /// Whether a partition is assigned, and not revoked.
    pub(super) fn keeps(&self, partition: &TopicPartition) -> bool {
        self.fetches.get(partition).is_some_and(|fetch| !fetch.revoked)
    }

    /// The topic ids of the partitions of these positions.
    pub(super) fn topic_ids(&self, positions: &[PartitionPosition]) -> Vec<Option<TopicId>> {
        let id = |p: &PartitionPosition| self.fetches.get(&p.partition).and_then(|f| f.topic_id);
        positions.iter().map(id).collect()
    }

    /// Returns an error if these positions may not be committed.
    pub(super) fn fence(&self, positions: &[PartitionPosition]) -> Result<(), String> {
        for PartitionPosition { partition, generation, .. } in positions {
            match self.fetches.get(partition) {
                Some(fetch) if fetch.generation == *generation => {}
                Some(fetch) => {
                    let expected = fetch.generation;
                    return Err(format!(
                        "{partition}: found generation {generation}, expected {expected}"
                    ));
                }
                None => return Err(format!("{partition} is not assigned to this member")),
            }
        }
        Ok(())
    }

    /// Adds fetched records; drops those of partitions that were given up. Chunks move as they are;
    /// only small ones are joined.
    pub(super) fn push(&mut self, chunks: Vec<Chunk>) {
        for mut chunk in chunks {
            let Some(fetch) = self.fetch_of(&chunk) else { continue };
            fetch.bytes += size_bytes(&chunk);
            match fetch.queue.back_mut() {
                Some(last) if last.len() + chunk.len() <= CHUNK_RECORDS => last.append(&mut chunk),
                Some(_) | None => fetch.queue.push_back(chunk),
            }
        }
    }

    /// The partition of a chunk, if it is still assigned under the generation of the chunk.
    fn fetch_of(&mut self, chunk: &Chunk) -> Option<&mut Fetch> {
        let first = chunk.front()?;
        let fetch = self.fetches.get_mut(&first.partition)?;
        (fetch.generation == first.generation && !fetch.revoked).then_some(fetch)
    }

    /// The next chunk of the next readable partition; empty if there is none.
    pub(super) fn take(&mut self) -> Chunk {
        let after = self.turn.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let in_turn = self.fetches.range((after, Bound::Unbounded)).chain(&self.fetches);
        let next = in_turn.map(|(name, fetch)| (name, fetch.is_readable()));
        let Some(name) = next.filter(|(_, readable)| *readable).map(|(name, _)| name).next() else {
            return Chunk::new();
        };
        let name = name.clone();
        let fetch = self.fetches.get_mut(&name);
        let taken = fetch.and_then(|fetch| {
            let chunk = fetch.queue.pop_front()?;
            fetch.bytes -= size_bytes(&chunk);
            Some(chunk)
        });
        self.turn = Some(name);
        taken.unwrap_or_default()
    }

    /// Takes back the records that the stream has not yielded; drops them if their partition is
    /// gone.
    pub(super) fn give_back(&mut self, chunk: Chunk) {
        if let Some(fetch) = self.fetch_of(&chunk) {
            fetch.bytes += size_bytes(&chunk);
            fetch.queue.push_front(chunk);
        }
    }

    pub(super) fn set_paused(&mut self, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            if let Some(fetch) = self.fetches.get_mut(partition) {
                fetch.paused = paused;
            }
        }
    }

    pub(super) fn park(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(parked) => parked.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Whether the stream waits, and has not been woken.
    pub(super) const fn is_parked(&self) -> bool {
        self.waker.is_some()
    }
}

fn size_bytes(chunk: &Chunk) -> usize {
    chunk.iter().map(|record| record.size_bytes() + RECORD_OVERHEAD_BYTES).sum()
}

/// The buffer behind its lock, with the wake-ups of both sides.
#[derive(Debug, Default)]
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    /// Makes the stream look here before it yields the records that it has taken.
    dirty: AtomicBool,
    pub(super) signal: Arc<Signal>,
    /// How often the stream was polled.
    polls: AtomicU64,
}

impl Shared {
    /// Reads the buffer, or changes something that the stream need not notice at once.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Buffer) -> T) -> T {
        f(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes something that the stream must notice before it yields another record.
    pub(super) fn change<T>(&self, f: impl FnOnce(&mut Buffer) -> T) -> T {
        self.wake_after(|buffer| {
            let out = f(buffer);
            self.dirty.store(true, Ordering::Release);
            out
        })
    }

    /// Wakes the stream once the buffer is no longer locked.
    fn wake_after<T>(&self, f: impl FnOnce(&mut Buffer) -> T) -> T {
        let (out, waker) = self.with(|buffer| (f(buffer), buffer.waker.take()));
        if let Some(waker) = waker {
            waker.wake();
        }
        out
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    pub(super) fn clear_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// How often the stream was polled.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// Called by the stream only, which counts its polls.
    pub(super) fn count_poll(&self, polls: u64) {
        self.polls.store(polls, Ordering::Relaxed);
    }

    /// Adds fetched records. The records that the stream has already taken stay valid.
    pub(super) fn push(&self, chunks: Vec<Chunk>) {
        self.wake_after(|buffer| buffer.push(chunks));
    }

    /// Sends a command to the poller; dropped if the poller has ended.
    pub(super) fn ask(&self, command: Command) {
        self.with(|buffer| {
            if buffer.ended.is_none() {
                buffer.commands.push_back(command);
            }
        });
        self.signal.raise();
    }
}

/// A wake-up for the polling thread, raised when there is something to do. A signal that is raised
/// while the thread does not wait is not lost.
#[derive(Debug, Default)]
pub(super) struct Signal {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    pub(super) fn raise(&self) {
        let mut raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *raised, true) {
            self.changed.notify_one();
        }
    }

    /// Waits until it is raised, but not longer than `limit`, and lowers it.
    pub(super) fn wait(&self, limit: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(raised, limit, |raised| !*raised);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }
}
