//! The parts of the keyed state that this worker holds, one for each partition number.
//!
//! ```text
//!  Assigned ──▶ restoring ──▶ ready ──▶ gone with the last partition of its number
//! ```
//!
//! A partition whose part is restoring is paused and takes no record.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::StreamExt;
use tokio::time::Instant;

use super::error::RunError;
use super::event::Event;
use super::run::{Run, TURN_EVENTS};
use crate::record::{ConsumerRecord, TopicPartition};
use crate::sources::Assignment;
use crate::state::{Changes, Entry, Part, Persist, State, Store, StoreError};

/// Parts that are read from the store at once.
const RESTORES_AT_ONCE: usize = 8;

/// The parts, and what their jobs ask for.
pub(super) struct Parts<'a> {
    store: Option<&'a dyn Store>,
    parts: BTreeMap<i32, Held<'a>>,
    sender: UnboundedSender<Persist>,
    persists: UnboundedReceiver<Persist>,
}

enum Held<'a> {
    Restoring(Instant, BoxFuture<'a, Result<Vec<Entry>, StoreError>>),
    Ready(Arc<Part>),
}

/// What the parts have for the run loop.
pub(super) enum News {
    Persist(Persist),
    Restored { number: i32, took: Duration, result: Result<Vec<Entry>, StoreError> },
}

impl<'a> Parts<'a> {
    pub(super) fn new(store: Option<&'a dyn Store>) -> Self {
        let (sender, persists) = unbounded();
        Self { store, parts: BTreeMap::new(), sender, persists }
    }

    /// Takes the part on, if it is not there; says whether it is ready. A restore under way begins
    /// anew: what it has read may be older than the new assignment.
    fn take_on(&mut self, number: i32, now: Instant) -> bool {
        let is_ready = matches!(self.parts.get(&number), Some(Held::Ready(_)));
        if is_ready {
            return true;
        }
        let held = match self.store {
            Some(store) => Held::Restoring(now, store.restore(number)),
            None => Held::Ready(Arc::new(Part::new(number, None, Vec::new()))),
        };
        let is_ready = matches!(held, Held::Ready(_));
        self.parts.insert(number, held);
        is_ready
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
        let restoring = self.parts.iter_mut().filter_map(|(number, held)| match held {
            Held::Restoring(since, restore) => Some((*number, *since, restore)),
            Held::Ready(_) => None,
        });
        for (number, since, restore) in restoring.take(RESTORES_AT_ONCE) {
            if let Poll::Ready(result) = restore.poll_unpin(cx) {
                return Poll::Ready(News::Restored { number, took: since.elapsed(), result });
            }
        }
        Poll::Pending
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
            News::Restored { number, took, result } => {
                self.restored(number, took, result.map_err(RunError::Store)?);
                Ok(())
            }
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
