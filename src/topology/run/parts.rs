//! The parts of the keyed state that this worker holds, one for each partition number.
//!
//! ```text
//!  take_on ──▶ queued ──▶ restoring ──▶ ready ──▶ drop_part
//!                 ▲           │
//!                 └─ missing ◀┘
//! ```
//!
//! A partition whose part is not ready takes no record; the others go on.
//!
//! A part is missing where the input topic was given more partitions and the store's topic was not.
//! Only an operator can change that, so the partition waits and looks again: if the run ended, the
//! member would take its other partitions with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::channel::oneshot;
use tokio::time::Instant;

use super::super::error::RunError;
use super::super::observe::{Event, Observers};
use super::super::stages::States;
use super::assignments::Assignments;
use super::store_topic::StoreTopic;
use crate::record::{ConsumerRecord, Topic, TopicId};
use crate::state::{Changes, DrainEnd, Entry, Part, Persist, PersistError, State, StoreError};

/// Parts that are read from the store at once.
const RESTORES_AT_ONCE: usize = 8;
/// The wait before a part that the store has no place for is looked for again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The parts, and where their jobs send what is to be persisted.
pub(super) struct Parts {
    /// Whether the topology has state at all.
    has_state: bool,
    /// The topic of the store; without one, parts are in memory only.
    topic: Option<Topic>,
    parts: BTreeMap<i32, Held>,
    store_topic: StoreTopic,
    /// Restores that were asked for: they begin in this order.
    restores: u64,
    /// What is published again, until it is durable.
    carried: BTreeMap<i32, oneshot::Receiver<Result<(), PersistError>>>,
    persists: UnboundedSender<Persist>,
}

/// The state of jobs whose partition has its frontier at an offset.
struct StatesOf<'a> {
    parts: &'a Parts,
    frontier: i64,
    drain_end: &'a Arc<DrainEnd>,
}

impl States for StatesOf<'_> {
    fn state_for(&self, record: &ConsumerRecord) -> Box<State> {
        self.parts.state_for(record, self.frontier, self.drain_end.clone())
    }
}

enum Held {
    Queued { since: Instant, turn: u64 },
    Restoring { since: Instant },
    Missing { since: Instant, until: Instant },
    Ready(Arc<Part>),
}

impl Parts {
    pub(super) const fn new(
        has_state: bool,
        topic: Option<Topic>,
        persists: UnboundedSender<Persist>,
    ) -> Self {
        Self {
            has_state,
            topic,
            parts: BTreeMap::new(),
            store_topic: StoreTopic::new(),
            restores: 0,
            carried: BTreeMap::new(),
            persists,
        }
    }

    /// Takes the part on, if it is not there, and says whether it is ready. A restore under way
    /// begins anew: what it has read may be older than the new assignment.
    pub(super) fn take_on(&mut self, number: i32, now: Instant) -> bool {
        if !self.has_state || matches!(self.parts.get(&number), Some(Held::Ready(_))) {
            return true;
        }
        if self.topic.is_some() {
            self.queue(number, now);
            return false;
        }
        let part = Arc::new(Part::new(number, None, Vec::new()));
        self.parts.insert(number, Held::Ready(part));
        true
    }

    fn queue(&mut self, number: i32, since: Instant) {
        let turn = self.restores;
        self.restores += 1;
        self.parts.insert(number, Held::Queued { since, turn });
    }

    /// The number of the part whose restore begins now, if there is one.
    pub(super) fn begin_restore(&mut self, now: Instant) -> Option<i32> {
        let is_over = |held: &Held| matches!(held, Held::Missing { until, .. } if *until <= now);
        let missing: Vec<_> = self
            .parts
            .iter()
            .filter(|(_, held)| is_over(held))
            .map(|(number, _)| *number)
            .collect();
        for number in missing {
            if let Some(Held::Missing { since, .. }) = self.parts.remove(&number) {
                self.queue(number, since);
            }
        }
        let restoring = self.parts.values().filter(|held| matches!(held, Held::Restoring { .. }));
        if restoring.count() >= RESTORES_AT_ONCE {
            return None;
        }
        let queued = self.parts.iter().filter_map(|(number, held)| match held {
            Held::Queued { since, turn } => Some((*turn, *number, *since)),
            Held::Restoring { .. } | Held::Missing { .. } | Held::Ready(_) => None,
        });
        let (_, number, since) = queued.min()?;
        self.parts.insert(number, Held::Restoring { since });
        Some(number)
    }

    /// When a part is to be looked for again.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        let looks = self.parts.values().filter_map(|held| match held {
            Held::Missing { until, .. } => Some(*until),
            Held::Queued { .. } | Held::Restoring { .. } | Held::Ready(_) => None,
        });
        looks.min()
    }

    /// Drops a part, or its restore; says whether it was there.
    pub(super) fn drop_part(&mut self, number: i32) -> bool {
        self.carried.remove(&number);
        self.parts.remove(&number).is_some()
    }

    /// A batch was published, or was not.
    pub(super) const fn batch_ended(&mut self, is_published: bool) {
        self.store_topic.batch_ended(is_published);
    }

    /// Whether the store is asked for the id of its topic now.
    pub(super) fn begin_question(&mut self, now: Instant) -> bool {
        let is_ready = |held: &Held| matches!(held, Held::Ready(_));
        let are_stored = self.topic.is_some() && self.parts.values().any(is_ready);
        are_stored && self.store_topic.begin_question(now)
    }

    /// The store has said what id its topic has.
    pub(super) fn identified(&mut self, id: Option<TopicId>, now: Instant) {
        self.store_topic.answered(id, now);
    }

    /// What makes all that the parts hold durable once more, if the topic was created anew.
    pub(super) fn carry(
        &mut self,
        assignments: &Assignments,
        observers: &Observers,
    ) -> Vec<Persist> {
        if !self.store_topic.take_recreated() {
            return Vec::new();
        }
        let mut persists = Vec::new();
        for (number, held) in &self.parts {
            let (Held::Ready(part), Some(of)) = (held, assignments.with_number(*number)) else {
                continue;
            };
            let changes = Changes::all(part);
            observers.emit(&Event::Carried { partition: *number, entries: changes.len() });
            let (persist, durable) = Persist::new(of, changes);
            self.carried.insert(*number, durable);
            persists.push(persist);
        }
        persists
    }

    /// A part was read, or the store has no place for it: then it is looked for again after a while. Says
    /// whether it is ready.
    ///
    /// # Errors
    /// If the store is broken.
    pub(super) fn restored(
        &mut self,
        partition: i32,
        result: Result<Vec<Entry>, StoreError>,
        observers: &Observers,
        now: Instant,
    ) -> Result<bool, RunError> {
        let since = match self.parts.get(&partition) {
            Some(Held::Restoring { since }) => *since,
            _ => now,
        };
        let entries = match result {
            Ok(entries) => entries,
            Err(StoreError::Missing(reason)) => {
                let until = now + LOOK_AGAIN_AFTER;
                self.parts.insert(partition, Held::Missing { since, until });
                observers.emit(&Event::PartMissing { partition, reason: reason.text() });
                return Ok(false);
            }
            Err(error @ StoreError::Broken(_)) => return Err(RunError::Store(error)),
        };
        let (count, took) = (entries.len(), now - since);
        let part = Arc::new(Part::new(partition, self.topic.clone(), entries));
        self.parts.insert(partition, Held::Ready(part));
        observers.emit(&Event::Restored { partition, entries: count, took });
        Ok(true)
    }

    /// Where the jobs of a partition get their state: its frontier, and the end of its drain.
    pub(super) fn states_at<'a>(
        &'a self,
        frontier: i64,
        drain_end: &'a Arc<DrainEnd>,
    ) -> impl States + 'a {
        StatesOf { parts: self, frontier, drain_end }
    }

    /// The state for a record that is taken in, whose partition has its frontier at an offset.
    fn state_for(
        &self,
        record: &ConsumerRecord,
        frontier: i64,
        drain_end: Arc<DrainEnd>,
    ) -> Box<State> {
        let part = self.part_for(record).clone();
        let assignment = (record.partition.clone(), record.generation);
        Box::new(State::new(part, assignment, frontier, drain_end, self.persists.clone()))
    }

    /// What an earlier assignment has changed, as changes of the part that there is now.
    pub(super) fn moved(
        &self,
        changes: Option<Box<Changes>>,
        record: &ConsumerRecord,
    ) -> Option<Box<Changes>> {
        changes.map(|changes| Box::new(changes.moved_to(self.part_for(record).clone())))
    }

    /// # Invariant
    /// A record with state is taken in when its part is ready.
    fn part_for(&self, record: &ConsumerRecord) -> &Arc<Part> {
        match self.parts.get(&record.partition.partition) {
            Some(Held::Ready(part)) => part,
            _ => panic!("{} @ {} was taken in before its part", record.partition, record.offset),
        }
    }
}
