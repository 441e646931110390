//! What the thread that polls and the stream share: assigned partitions, and what was fetched.
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

/// Bytes that a record takes beside its contents, about.
const RECORD_OVERHEAD_BYTES: usize = 160;

/// Records of one partition that the stream takes at once, in order; never empty.
pub(super) type Chunk = VecDeque<ConsumerRecord>;

/// Records in a chunk, at most.
const CHUNK_RECORDS: usize = 512;

/// What the poller is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Join the group.
    Join,
    /// Give revoked partitions up.
    Release(Vec<TopicPartition>, oneshot::Sender<()>),
    /// Lose everything, and join the group again.
    Rejoin,
    /// Leave the group, and end.
    Close,
}

/// One assigned partition.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) generation: Generation,
    /// The topic that the assignment is of, if it is known.
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

/// The state that both sides lock.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) fetches: BTreeMap<TopicPartition, Fetch>,
    pub(super) commands: VecDeque<Command>,
    /// How the source has ended, if it has; an error is taken by the stream, once.
    pub(super) ended: Option<Result<(), SourceError>>,
    notices: VecDeque<SourceEvent>,
    generations: BTreeMap<TopicPartition, Generation>,
    turn: Option<TopicPartition>,
    waker: Option<Waker>,
}

impl Buffer {
    /// Tells the stream something before any record.
    pub(super) fn notify(&mut self, event: SourceEvent) {
        self.notices.push_back(event);
    }

    pub(super) fn next_notice(&mut self) -> Option<SourceEvent> {
        self.notices.pop_front()
    }

    /// Begins to keep records of a partition of the topic with this id, under a new generation.
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

    /// Marks those of the partitions that are assigned as asked back, tells the stream, and gives
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

    /// Forgets those of the partitions that were asked back.
    pub(super) fn release(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if self.fetches.get(partition).is_some_and(|fetch| fetch.revoked) {
                self.fetches.remove(partition);
            }
        }
    }

    /// Forgets partitions, and tells the stream which it has lost.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        let had: Vec<_> =
            partitions.iter().filter(|p| self.fetches.remove(*p).is_some()).cloned().collect();
        if !had.is_empty() {
            self.notify(SourceEvent::Lost(had));
        }
    }

    /// Forgets every partition.
    pub(super) fn lose_all(&mut self) {
        let all: Vec<_> = self.fetches.keys().cloned().collect();
        self.lose(&all);
    }

    /// Whether a partition is assigned, and not asked back.
    pub(super) fn keeps(&self, partition: &TopicPartition) -> bool {
        self.fetches.get(partition).is_some_and(|fetch| !fetch.revoked)
    }

    /// The ids of the topics that positions are committed for.
    pub(super) fn topic_ids(&self, positions: &[PartitionPosition]) -> Vec<Option<TopicId>> {
        let id = |p: &PartitionPosition| self.fetches.get(&p.partition).and_then(|f| f.topic_id);
        positions.iter().map(id).collect()
    }

    /// Says why these positions may not be committed, if so.
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

    /// Adds what was fetched; records of partitions that are given up are dropped. Chunks move as
    /// they are, and only small ones are joined.
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

    /// The partition that a chunk is of, if it is still wanted.
    fn fetch_of(&mut self, chunk: &Chunk) -> Option<&mut Fetch> {
        let first = chunk.front()?;
        let fetch = self.fetches.get_mut(&first.partition)?;
        (fetch.generation == first.generation && !fetch.revoked).then_some(fetch)
    }

    /// The next chunk of the partition whose turn it is; empty if none has any.
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

    /// Takes back what the stream has not yielded; if its partition is gone, nobody wants it.
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

    /// Whether the stream waits, and nothing has woken it.
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
    /// Tells the stream to look here before it yields what it has taken.
    dirty: AtomicBool,
    pub(super) signal: Arc<Signal>,
    /// How often the stream was polled.
    polls: AtomicU64,
}

impl Shared {
    /// Looks at the buffer, or changes what the stream need not know at once.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Buffer) -> T) -> T {
        f(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what the stream must know before it yields another record.
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

    /// The stream counts its polls itself: it alone writes them.
    pub(super) fn count_poll(&self, polls: u64) {
        self.polls.store(polls, Ordering::Relaxed);
    }

    /// Adds what was fetched. It changes nothing that the stream has taken already.
    pub(super) fn push(&self, chunks: Vec<Chunk>) {
        self.wake_after(|buffer| buffer.push(chunks));
    }

    /// Asks the poller for something; a poller that has ended drops it.
    pub(super) fn ask(&self, command: Command) {
        self.with(|buffer| {
            if buffer.ended.is_none() {
                buffer.commands.push_back(command);
            }
        });
        self.signal.raise();
    }
}

/// A wake-up for the thread that polls, raised when there is something to do. Raising it while
/// nobody waits is not lost.
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
