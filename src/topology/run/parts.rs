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
use tokio::time::Instant;

use crate::record::{ConsumerRecord, Topic};
use crate::state::{Changes, DrainEnd, Entry, Part, Persist, State};

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
    /// Restores that were asked for: they begin in this order.
    restores: u64,
    persists: UnboundedSender<Persist>,
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
        Self { has_state, topic, parts: BTreeMap::new(), restores: 0, persists }
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
        self.parts.remove(&number).is_some()
    }

    /// A restore has ended; returns how long it took since the assignment.
    pub(super) fn restored(&mut self, number: i32, entries: Vec<Entry>, now: Instant) -> Duration {
        let part = Held::Ready(Arc::new(Part::new(number, self.topic.clone(), entries)));
        match self.parts.insert(number, part) {
            Some(Held::Restoring { since }) => now - since,
            _ => Duration::ZERO,
        }
    }

    /// The store has no place for a part: it is looked for again after a while.
    pub(super) fn is_missing(&mut self, number: i32, now: Instant) {
        if let Some(Held::Restoring { since }) = self.parts.get(&number) {
            let missing = Held::Missing { since: *since, until: now + LOOK_AGAIN_AFTER };
            self.parts.insert(number, missing);
        }
    }

    /// The state for a record that is taken in, whose partition has its frontier at an offset.
    pub(super) fn state_for(
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
