//! The parts of the keyed state that this worker holds, one for each partition number.
//!
//! ```text
//!  Assigned ──▶ restoring ──▶ ready ──▶ gone with the last partition of its number
//!                 ▲  │
//!                 │  ▼
//!                missing
//! ```
//!
//! A partition whose part is restoring, or has no place in the store yet, is paused and takes no
//! record; the others go on.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::StreamExt;
use tokio::time::{Instant, sleep};

use super::error::RunError;
use super::event::Event;
use super::run::{Run, TURN_EVENTS};
use crate::record::{ConsumerRecord, TopicPartition};
use crate::sources::Assignment;
use crate::state::{Changes, Entry, Part, Persist, State, Store, StoreError};

/// Parts that are read from the store at once.
const RESTORES_AT_ONCE: usize = 8;
/// The wait before a part that the store has no place for is looked for again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The parts, and what their jobs ask for.
pub(super) struct Parts<'a> {
    store: Option<&'a dyn Store>,
    parts: BTreeMap<i32, Held<'a>>,
    /// Restores that were begun: those that wait for their turn have it in this order.
    restores: u64,
    sender: UnboundedSender<Persist>,
    persists: UnboundedReceiver<Persist>,
}

enum Held<'a> {
    Restoring {
        since: Instant,
        turn: u64,
        restore: BoxFuture<'a, Restore>,
    },
    /// The store has no place for it; it is looked for again when the wait is over.
    Missing {
        since: Instant,
        wait: BoxFuture<'a, ()>,
    },
    Ready(Arc<Part>),
}

type Restore = Result<Vec<Entry>, StoreError>;

/// What the parts have for the run loop.
pub(super) enum News {
    Persist(Persist),
    Restored { number: i32, since: Instant, result: Restore },
}

impl<'a> Parts<'a> {
    pub(super) fn new(store: Option<&'a dyn Store>) -> Self {
        let (sender, persists) = unbounded();
        Self { store, parts: BTreeMap::new(), restores: 0, sender, persists }
    }

    /// Takes the part on, if it is not there; says whether it is ready. A restore under way begins
    /// anew: what it has read may be older than the new assignment.
    fn take_on(&mut self, number: i32, now: Instant) -> bool {
        let is_ready = matches!(self.parts.get(&number), Some(Held::Ready(_)));
        if is_ready {
            return true;
        }
        if self.store.is_some() {
            self.restore(number, now);
            return false;
        }
        let part = Arc::new(Part::new(number, None, Vec::new()));
        self.parts.insert(number, Held::Ready(part));
        true
    }

    /// Begins a restore.
    fn restore(&mut self, number: i32, since: Instant) {
        let Some(store) = self.store else { return };
        let (turn, restore) = (self.restores, store.restore(number));
        self.restores += 1;
        self.parts.insert(number, Held::Restoring { since, turn, restore });
    }

    /// Looks for a part again in a while.
    fn is_missing(&mut self, number: i32, since: Instant) {
        let wait = Box::pin(sleep(LOOK_AGAIN_AFTER));
        self.parts.insert(number, Held::Missing { since, wait });
    }

    /// Drops the part, or its restore.
    pub(super) fn drop_part(&mut self, number: i32) {
        self.parts.remove(&number);
    }

    fn restored(&mut self, number: i32, entries: Vec<Entry>) {
        let topic = self.store.map(|store| store.topic().clone());
        self.parts.insert(number, Held::Ready(Arc::new(Part::new(number, topic, entries))));
    }

    /// The state for a record of which the frontier is given.
    fn state_for(&self, record: &ConsumerRecord, frontier: i64) -> State {
        let part = self.part_for(record).clone();
        let assignment = (record.partition.clone(), record.generation);
        State::new(part, assignment, frontier, self.sender.clone())
    }

    fn part_for(&self, record: &ConsumerRecord) -> &Arc<Part> {
        match self.parts.get(&record.partition.partition) {
            Some(Held::Ready(part)) => part,
            _ => panic!("{} @ {} was taken in before its part", record.partition, record.offset),
        }
    }

    fn poll_news(&mut self, cx: &mut TaskContext<'_>) -> Poll<News> {
        if let Poll::Ready(Some(persist)) = self.persists.poll_next_unpin(cx) {
            return Poll::Ready(News::Persist(persist));
        }
        self.look_again(cx);
        let restoring = self.parts.iter_mut().filter_map(|(number, held)| match held {
            Held::Restoring { since, turn, restore } => Some((*turn, *number, *since, restore)),
            Held::Missing { .. } | Held::Ready(_) => None,
        });
        let mut restoring: Vec<_> = restoring.collect();
        restoring.sort_unstable_by_key(|(turn, ..)| *turn);
        for (_, number, since, restore) in restoring.into_iter().take(RESTORES_AT_ONCE) {
            if let Poll::Ready(result) = restore.poll_unpin(cx) {
                return Poll::Ready(News::Restored { number, since, result });
            }
        }
        Poll::Pending
    }

    /// Begins the restores of missing parts whose wait is over.
    fn look_again(&mut self, cx: &mut TaskContext<'_>) {
        let missing = self.parts.iter_mut().filter_map(|(number, held)| match held {
            Held::Missing { since, wait } => Some((*number, *since, wait)),
            Held::Restoring { .. } | Held::Ready(_) => None,
        });
        let over = missing.filter_map(|(number, since, wait)| {
            wait.poll_unpin(cx).is_ready().then_some((number, since))
        });
        for (number, since) in over.collect::<Vec<_>>() {
            self.restore(number, since);
        }
    }
}

/// Completes when the parts have news; never, if the topology has no state.
pub(super) async fn news(parts: &mut Option<Parts<'_>>) -> News {
    match parts {
        Some(parts) => poll_fn(|cx| parts.poll_news(cx)).await,
        None => pending().await,
    }
}

impl Run<'_> {
    /// Takes on the parts of new partitions; those whose part is not ready are paused.
    pub(super) fn take_on_parts(&mut self, assignments: &[Assignment]) {
        let Some(parts) = &mut self.parts else { return };
        let mut waiting = Vec::new();
        for Assignment { partition, .. } in assignments {
            if !parts.take_on(partition.partition, self.now)
                && let Some(state) = self.partitions.get_mut(partition)
            {
                state.is_restoring = true;
                waiting.push(partition.clone());
            }
        }
        if !waiting.is_empty() {
            self.source.pause(&waiting);
        }
    }

    /// Drops the part of a partition that has gone, unless another one shares it.
    pub(super) fn drop_part_of(&mut self, partition: &TopicPartition) {
        let number = partition.partition;
        if let Some(parts) = &mut self.parts
            && !self.partitions.iter().any(|(name, _)| name.partition == number)
        {
            parts.drop_part(number);
        }
    }

    pub(super) fn on_news(&mut self, news: News) -> Result<(), RunError> {
        match news {
            News::Persist(persist) => {
                self.outbox.push_persist(persist);
                self.collect_persists();
                Ok(())
            }
            News::Restored { number, since, result } => match result {
                Ok(entries) => {
                    self.restored(number, self.now - since, entries);
                    Ok(())
                }
                Err(StoreError::Missing(reason)) => {
                    self.part_is_missing(number, since, &reason);
                    Ok(())
                }
                Err(error @ StoreError::Broken(_)) => Err(RunError::Store(error)),
            },
        }
    }

    /// Takes what other jobs have asked for meanwhile into the same batch.
    fn collect_persists(&mut self) {
        let Some(parts) = &mut self.parts else { return };
        for _ in 1..TURN_EVENTS {
            match parts.persists.next().now_or_never() {
                Some(Some(persist)) => self.outbox.push_persist(persist),
                _ => break,
            }
        }
    }

    /// The partitions of this number wait until the store has a place for their part.
    fn part_is_missing(&mut self, number: i32, since: Instant, reason: &str) {
        self.context.observers.emit(&Event::PartMissing { partition: number, reason });
        if let Some(parts) = &mut self.parts {
            parts.is_missing(number, since);
        }
    }

    fn restored(&mut self, number: i32, took: Duration, entries: Vec<Entry>) {
        let event = Event::Restored { partition: number, entries: entries.len(), took };
        self.context.observers.emit(&event);
        if let Some(parts) = &mut self.parts {
            parts.restored(number, entries);
        }
        let mut ready = Vec::new();
        for (name, partition) in self.partitions.iter_mut() {
            if name.partition == number && std::mem::take(&mut partition.is_restoring) {
                ready.extend(partition.takes_records().then(|| name.clone()));
            }
        }
        if !self.intake.is_paused && !ready.is_empty() {
            self.source.resume(&ready);
        }
    }

    /// The state for a record that is taken in; none if the topology has no state.
    pub(super) fn state_for(&self, record: &ConsumerRecord) -> Option<Box<State>> {
        let parts = self.parts.as_ref()?;
        let partition = self.partitions.get(&record.partition)?;
        Some(Box::new(parts.state_for(record, partition.frontier.offset())))
    }

    /// What an earlier assignment has changed, as changes of the part that there is now.
    pub(super) fn moved(
        &self,
        changes: Option<Box<Changes>>,
        record: &ConsumerRecord,
    ) -> Option<Box<Changes>> {
        let part = self.parts.as_ref()?.part_for(record);
        changes.map(|changes| Box::new(changes.moved_to(part.clone())))
    }
}
