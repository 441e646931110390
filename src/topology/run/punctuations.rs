//! The timers of a run: of each assigned partition, what time it is, and when the next call is.
//!
//! ```text
//!  assigned ──▶ due ──▶ running ──▶ publishing      asked back, lost, stopped: gone
//!                ▲         │            │
//!                └─────────┴────────────┘
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::super::punctuator::Punctuation;
use crate::record::{ConsumerRecord, Generation, ProducerRecord, Timestamp, TopicPartition};
use crate::sources::Assignment;

/// The clocks of the assigned partitions.
pub(super) struct Punctuations {
    /// The interval of the calls; none if the topology has no punctuator, and then there are none.
    every: Option<Duration>,
    clocks: BTreeMap<TopicPartition, Clock>,
}

/// What time it is on a partition, and what is to come.
struct Clock {
    generation: Generation,
    every: Duration,
    assigned_at: Instant,
    /// The timestamp of the record that was finished last, and when that was.
    last: Option<(Timestamp, Instant)>,
    call: Call,
}

#[derive(Clone, Copy)]
enum Call {
    Due(Instant),
    Running,
    /// What it returned is not acknowledged yet.
    Publishing,
}

/// A call that has ended, and what is to be published for it.
pub(super) struct Punctuated {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) outputs: Vec<ProducerRecord>,
}

impl Punctuations {
    pub(super) const fn new(every: Option<Duration>) -> Self {
        Self { every, clocks: BTreeMap::new() }
    }

    pub(super) fn assigned(&mut self, assignment: &Assignment, now: Instant) {
        let Assignment { partition, generation, .. } = assignment;
        let Some(every) = self.every else { return };
        let (generation, call) = (*generation, Call::Due(now + every));
        let clock = Clock { generation, every, assigned_at: now, last: None, call };
        self.clocks.insert(partition.clone(), clock);
    }

    /// Notes a record that is finished.
    pub(super) fn finished(&mut self, record: &ConsumerRecord, now: Instant) {
        let Some(timestamp) = record.timestamp else { return };
        if let Some(clock) = self.clocks.get_mut(&record.partition) {
            clock.last = Some((timestamp, now));
        }
    }

    /// Drops the clock of a partition; says whether a call is under way.
    pub(super) fn unassigned(&mut self, partition: &TopicPartition) -> bool {
        let clock = self.clocks.remove(partition);
        clock.is_some_and(|clock| matches!(clock.call, Call::Running))
    }

    /// The next call that begins now, if there is one.
    pub(super) fn begin_call(&mut self, now: Instant) -> Option<(Generation, Punctuation)> {
        let mut clocks = self.clocks.iter_mut();
        let (partition, clock) =
            clocks.find(|(_, clock)| clock.due_at().is_some_and(|at| at <= now))?;
        clock.call = Call::Running;
        Some((clock.generation, clock.punctuation(partition.clone(), now)))
    }

    /// A call has ended; says whether what it returned is to be published.
    pub(super) fn call_ended(&mut self, punctuated: &Punctuated, now: Instant) -> bool {
        let Punctuated { partition, generation, outputs } = punctuated;
        let Some(clock) = self.current(partition, *generation) else { return false };
        let publishes = !outputs.is_empty();
        clock.call = if publishes { Call::Publishing } else { Call::Due(now + clock.every) };
        publishes
    }

    /// What the call on a partition returned is acknowledged.
    pub(super) fn published(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
        now: Instant,
    ) {
        if let Some(clock) = self.current(partition, generation) {
            clock.call = Call::Due(now + clock.every);
        }
    }

    /// When the next call is due.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.clocks.values().filter_map(Clock::due_at).min()
    }

    fn current(
        &mut self,
        partition: &TopicPartition,
        generation: Generation,
    ) -> Option<&mut Clock> {
        self.clocks.get_mut(partition).filter(|clock| clock.generation == generation)
    }
}

impl Clock {
    const fn due_at(&self) -> Option<Instant> {
        match self.call {
            Call::Due(at) => Some(at),
            Call::Running | Call::Publishing => None,
        }
    }

    fn punctuation(&self, partition: TopicPartition, now: Instant) -> Punctuation {
        let since = |at: Instant| i64::try_from((now - at).as_millis()).unwrap_or(i64::MAX);
        let event_time = self.last.map(|(timestamp, at)| timestamp.saturating_add(since(at)));
        let last_event = self.last.map(|(timestamp, _)| timestamp);
        Punctuation { partition, assigned_for: now - self.assigned_at, last_event, event_time }
    }
}
