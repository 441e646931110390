//! The punctuations of a run: of each assigned partition, what time it is, and when the next call is.
//!
//! ```text
//!  assigned ──▶ due ──▶ running ──▶ publishing      asked back, lost, stopped: gone
//!                ▲         │            │
//!                └─────────┴────────────┘
//! ```

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::punctuator::{Punctuation, Schedule};
use super::run::Run;
use crate::record::{ConsumerRecord, Generation, ProducerRecord, Timestamp, TopicPartition};
use crate::sources::Assignment;

/// The clocks of the assigned partitions, and the calls under way.
pub(super) struct Punctuations {
    schedule: Schedule,
    clocks: BTreeMap<TopicPartition, Clock>,
}

/// What time it is on a partition, and what is to come.
struct Clock {
    generation: Generation,
    assigned_at: Instant,
    /// The timestamp of the record that was finished last, and when that was.
    last: Option<(Timestamp, Instant)>,
    call: Call,
}

enum Call {
    Due(Instant),
    Running(BoxFuture<'static, Vec<ProducerRecord>>),
    /// What it gave is not acknowledged yet.
    Publishing,
}

/// A call that has ended, and what is to be published for it.
pub(super) struct Punctuated {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) outputs: Vec<ProducerRecord>,
}

impl Punctuations {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, clocks: BTreeMap::new() }
    }

    pub(super) fn assigned(&mut self, assignments: &[Assignment], now: Instant) {
        for Assignment { partition, generation, .. } in assignments {
            let call = Call::Due(now + self.schedule.every);
            let clock = Clock { generation: *generation, assigned_at: now, last: None, call };
            self.clocks.insert(partition.clone(), clock);
        }
    }

    /// Takes note of a record that is finished.
    pub(super) fn finished(&mut self, record: &ConsumerRecord, now: Instant) {
        let Some(timestamp) = record.timestamp else { return };
        if let Some(clock) = self.clocks.get_mut(&record.partition) {
            clock.last = Some((timestamp, now));
        }
    }

    /// Drops the clock of a partition, and its call.
    pub(super) fn unassigned(&mut self, partition: &TopicPartition) {
        self.clocks.remove(partition);
    }

    /// What the call on a partition gave is acknowledged.
    fn published(&mut self, partition: &TopicPartition, generation: Generation, now: Instant) {
        let clock = self.clocks.get_mut(partition);
        if let Some(clock) = clock.filter(|clock| clock.generation == generation) {
            clock.call = Call::Due(now + self.schedule.every);
        }
    }

    /// The next call that ends. Cancelled, calls stay as they are.
    async fn next(&mut self) -> Punctuated {
        loop {
            self.begin_what_is_due(Instant::now());
            let due_at = self.clocks.values().filter_map(Clock::due_at).min();
            select! {
                biased;
                punctuated = poll_fn(|cx| self.poll_calls(cx)) => return punctuated,
                () = sleep_until(due_at.unwrap_or_else(Instant::now)), if due_at.is_some() => {}
            }
        }
    }

    fn begin_what_is_due(&mut self, now: Instant) {
        for (partition, clock) in &mut self.clocks {
            if clock.due_at().is_some_and(|at| at <= now) {
                let punctuation = clock.punctuation(partition.clone(), now);
                let punctuator = self.schedule.punctuator.clone();
                let call = async move { punctuator.punctuate(&punctuation).await };
                clock.call = Call::Running(call.boxed());
            }
        }
    }

    fn poll_calls(&mut self, cx: &mut Context<'_>) -> Poll<Punctuated> {
        for (partition, clock) in &mut self.clocks {
            let Call::Running(call) = &mut clock.call else { continue };
            if let Poll::Ready(outputs) = call.poll_unpin(cx) {
                clock.call = match outputs.is_empty() {
                    true => Call::Due(Instant::now() + self.schedule.every),
                    false => Call::Publishing,
                };
                let (partition, generation) = (partition.clone(), clock.generation);
                return Poll::Ready(Punctuated { partition, generation, outputs });
            }
        }
        Poll::Pending
    }
}

impl Clock {
    const fn due_at(&self) -> Option<Instant> {
        match self.call {
            Call::Due(at) => Some(at),
            Call::Running(_) | Call::Publishing => None,
        }
    }

    fn punctuation(&self, partition: TopicPartition, now: Instant) -> Punctuation {
        let since = |at: Instant| i64::try_from((now - at).as_millis()).unwrap_or(i64::MAX);
        let event_time = self.last.map(|(timestamp, at)| timestamp.saturating_add(since(at)));
        let last_event = self.last.map(|(timestamp, _)| timestamp);
        Punctuation { partition, assigned_for: now - self.assigned_at, last_event, event_time }
    }
}

/// Completes when a call has ended; never, if the topology has no punctuator.
pub(super) async fn punctuated(punctuations: &mut Option<Punctuations>) -> Punctuated {
    match punctuations {
        Some(punctuations) => punctuations.next().await,
        None => pending().await,
    }
}

impl Run<'_> {
    /// Puts what a call has given into the next batch.
    pub(super) fn on_punctuated(&mut self, punctuated: Punctuated) {
        if !punctuated.outputs.is_empty() {
            self.outbox.push_punctuated(punctuated);
        }
    }

    /// Lets the timer of a partition go on, of which everything is published.
    pub(super) fn punctuate_again(&mut self, partition: &TopicPartition, generation: Generation) {
        if let Some(punctuations) = &mut self.punctuations {
            punctuations.published(partition, generation, self.now);
        }
    }

    /// Ends the timer of a partition.
    pub(super) fn punctuate_no_more(&mut self, partition: &TopicPartition) {
        if let Some(punctuations) = &mut self.punctuations {
            punctuations.unassigned(partition);
        }
    }
}
