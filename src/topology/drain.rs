//! The drain: how partitions, or the whole run, come to an end.
//!
//! 1. Nothing more is taken in.
//! 2. What is in flight finishes, until the drain's deadline cuts off what has not been executed.
//! 3. What was executed is published and the position committed.
//! 4. A revoked partition is released; after a shutdown, source and sink are closed.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::Context;
use super::admit::Work;
use super::effect::Effect;
use super::error::RunError;
use super::event::Event;
use super::leftovers::Unpublished;
use super::outbox::Entry;
use super::partition::{Drain, Partition};
use super::run::{Drained, Run};
use crate::record::{Generation, TopicPartition};
use crate::sources::{Assignment, SourceError};

/// What an assignment that is over leaves.
#[derive(Default)]
struct Abandoned {
    /// How many of its records are not finished.
    unfinished: usize,
    /// Those of them that were executed.
    executed: Vec<Unpublished>,
}

impl Run<'_> {
    pub(super) fn assign(&mut self, assignments: &[Assignment]) {
        for assignment in assignments {
            let name = &assignment.partition;
            let Abandoned { executed, .. } = self.abandon(name);
            if let Some(reset) = assignment.reset {
                self.leftovers.begin_anew(name, assignment.generation);
                self.context.observers.emit(&Event::Reset { partition: name, reset });
            }
            self.keep(executed);
            self.partitions.insert(assignment, self.now);
            if let Some(partition) = self.partitions.get_mut(name) {
                partition.unpublished = self.leftovers.take(name, assignment.position.as_ref());
                partition.waits = self.leftovers.waits_for(name);
            }
            self.context.observers.emit(&Event::Assigned(assignment));
        }
        self.take_on_parts(assignments);
        if let Some(punctuations) = &mut self.punctuations {
            punctuations.assigned(assignments, self.now);
        }
        if let Some((until, flush_until)) = self.stop {
            for assignment in assignments {
                self.drain(&assignment.partition, until, flush_until);
            }
        }
        if self.intake.is_paused {
            let new: Vec<_> = assignments.iter().map(|a| a.partition.clone()).collect();
            self.source.pause(&new);
        }
    }

    pub(super) fn revoke(&mut self, partition: &TopicPartition) {
        self.context.observers.emit(&Event::Revoked(partition));
        let until = self.now + self.topology.limits.drain_timeout;
        self.drain(partition, until, until + self.flush_time());
        if let Some(drain) = self.partitions.get_mut(partition).and_then(|p| p.drain.as_mut()) {
            drain.revoked = true;
        }
    }

    pub(super) fn lose(&mut self, partition: &TopicPartition) {
        self.context.observers.emit(&Event::Lost(partition));
        if !self.under_way.is_empty() {
            self.leftovers.wait_for(partition);
        }
        let Abandoned { executed, .. } = self.abandon(partition);
        self.keep(executed);
    }

    /// Takes nothing more in, and lets what is in flight finish.
    pub(super) fn stop(&mut self) {
        if self.stop.is_some() {
            return;
        }
        let until = self.now + self.topology.limits.shutdown_timeout;
        let flush_until = until + self.flush_time();
        self.stop = Some((until, flush_until));
        self.intake.is_stopped = true;
        for partition in self.partitions.names(|_| true) {
            self.drain(&partition, until, flush_until);
        }
    }

    /// Half of the time to close is for publishing and committing, half for closing.
    fn flush_time(&self) -> Duration {
        self.topology.limits.close_timeout / 2
    }

    fn drain(&mut self, partition: &TopicPartition, until: Instant, flush_until: Instant) {
        self.punctuate_no_more(partition);
        let Some(drained) = self.partitions.get_mut(partition) else { return };
        drained.held = None;
        drained.drain.get_or_insert(Drain { until, cut: false, flush_until, revoked: false });
        let generation = drained.generation;
        self.cut_off_what_waits_for_too_long(partition, generation);
    }

    /// Takes out everything that belongs to a partition, published or not.
    fn abandon(&mut self, partition: &TopicPartition) -> Abandoned {
        self.punctuate_no_more(partition);
        let Some(abandoned) = self.partitions.remove(partition) else {
            return Abandoned::default();
        };
        let Partition { generation, in_flight, unpublished, .. } = abandoned;
        self.cancel(partition, generation);
        self.drop_part_of(partition);
        let of_it = |entry: &Entry| entry.assignment() == (partition, generation);
        let outbox = self.outbox.take_out(of_it);
        for Unpublished { finished, lane } in &outbox {
            self.let_go(finished.record.size_bytes(), *lane);
        }
        let offsets: BTreeSet<_> = outbox.iter().map(|kept| kept.finished.record.offset).collect();
        let earlier = unpublished.into_iter().filter(|(offset, _)| !offsets.contains(offset));
        let executed = outbox.into_iter().chain(earlier.map(|(_, kept)| kept)).collect();
        Abandoned { unfinished: in_flight, executed }
    }

    /// Drops the jobs of a partition that have not been executed; says how many.
    fn cancel(&mut self, partition: &TopicPartition, generation: Generation) -> usize {
        let of_it = |work: &Work<'_>| work.generation == generation && work.partition == *partition;
        let waiting = self.take_out_waiting(|_, work| of_it(work));
        let in_line = self.lanes.cancel(of_it);
        in_line.iter().for_each(|work| self.cancelled_in_line(work));
        let (running, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(of_it);
        self.running.extend(kept);
        for work in running.iter().chain(&waiting) {
            self.intake.executed();
            self.let_go(work.size_bytes, work.lane);
        }
        in_line.len() + waiting.len() + running.len()
    }

    /// Cuts off the drains whose time is over.
    pub(super) fn cut_off_what_is_due(&mut self) {
        let now = self.now;
        let is_due = |p: &Partition| p.drain.is_some_and(|drain| !drain.cut && now >= drain.until);
        for name in self.partitions.names(is_due) {
            let Some(partition) = self.partitions.get_mut(&name) else { continue };
            let generation = partition.generation;
            if let Some(drain) = &mut partition.drain {
                drain.cut = true;
            }
            let unfinished = self.cancel(&name, generation);
            if let Some(partition) = self.partitions.get_mut(&name) {
                partition.in_flight -= unfinished;
            }
            self.drained.unfinished += unfinished;
            if unfinished > 0 {
                let event = Event::CutOff { partition: &name, unfinished };
                self.context.observers.emit(&event);
            }
        }
    }

    /// Whether a drained partition waits for its last commit.
    pub(super) fn has_drained(&self) -> bool {
        let waits = |p: &Partition| p.drain.is_some() && p.in_flight == 0 && p.has_unsaved();
        self.partitions.iter().any(|(_, partition)| waits(partition))
    }

    /// The revoked partitions of which everything is finished and saved, or whose time is over.
    pub(super) fn partitions_to_release(&self) -> Vec<(TopicPartition, Generation)> {
        let is_due = |p: &Partition| {
            p.drain.is_some_and(|drain| {
                let done = p.in_flight == 0 && !p.has_unsaved();
                drain.revoked && (done || self.now >= drain.flush_until)
            })
        };
        let is_revoked = |p: &Partition| p.drain.is_some_and(|drain| drain.revoked);
        // Those that share a part go together: their next owner must find it at rest.
        let waits_for_another = |name: &TopicPartition| {
            let shares = |other: &TopicPartition| other.partition == name.partition;
            self.parts.is_some()
                && self.partitions.iter().any(|(n, p)| shares(n) && is_revoked(p) && !is_due(p))
        };
        let due = self.partitions.iter().filter(|(n, p)| is_due(p) && !waits_for_another(n));
        due.map(|(name, partition)| (name.clone(), partition.generation)).collect()
    }

    /// Gives partitions up. The source is told before it is asked for another event, so that what
    /// it gives up is this assignment and no later one.
    pub(super) fn release(&mut self, partitions: Vec<(TopicPartition, Generation)>) {
        let source = self.source;
        self.under_way.begin(Box::pin(async move {
            let names: Vec<_> = partitions.iter().map(|(name, _)| name.clone()).collect();
            let result = source.release(&names).await;
            Effect::Released(partitions, result)
        }));
    }

    pub(super) fn released(
        &mut self,
        partitions: &[(TopicPartition, Generation)],
        result: Result<(), SourceError>,
    ) -> Result<(), RunError> {
        for (partition, generation) in partitions {
            if self.partitions.holds(partition, *generation) {
                self.context.observers.emit(&Event::Released(partition));
                self.drained.unfinished += self.abandon(partition).unfinished;
            }
        }
        Ok(result?)
    }

    /// When the drains want to be looked at.
    pub(super) fn drain_deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        let next = |drain: Drain| if drain.cut { drain.flush_until } else { drain.until };
        let drains = self.partitions.iter().filter_map(|(_, partition)| partition.drain);
        let end = self.stop.map(|(_, end)| end);
        let now = self.now;
        drains.map(next).chain(end).filter(move |at| *at > now)
    }

    /// Whether nothing is left to be done after a shutdown, or no time.
    pub(super) fn is_over(&self) -> bool {
        self.stop.is_some_and(|(_, end)| {
            let done = self.intake.records() == 0
                && self.under_way.is_empty()
                && !self.partitions.iter().any(|(_, p)| p.has_unsaved());
            done || self.now >= end
        })
    }

    /// Closes sink and source.
    pub(super) async fn close(mut self) -> Drained {
        self.under_way.clear();
        self.drained.unfinished += self.intake.records();
        let limit = self.flush_time();
        let (context, source, sink, drained) = (self.context, self.source, self.sink, self.drained);
        closed(context, "sink", limit, sink.close()).await;
        closed(context, "source", limit, source.close()).await;
        drained
    }
}

/// Waits for the end of a close, and tells if it fails.
async fn closed<E: std::fmt::Display>(
    context: &Context,
    end: &str,
    limit: Duration,
    close: impl Future<Output = Result<(), E>> + Send,
) {
    let problem = match timeout(limit, close).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{end}: {error}"),
        Err(_) => format!("{end}: not closed within {limit:?}"),
    };
    context.observers.emit(&Event::CloseFailed(&problem));
}
