//! Effects on the broker: publishing, committing, releasing.

use std::time::Duration;

use tokio::time::Instant;

use super::Context;
use super::dead_letter::{TOO_LARGE, too_large};
use super::error::RunError;
use super::event::Event;
use super::leftovers::Unpublished;
use super::outbox::{Done, Entry, Outbox, Subject};
use super::partition::Partition;
use super::run::Run;
use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Generation, TopicPartition};
use crate::sinks::{Published, SinkError};
use crate::sources::{CommitError, Source, SourceError};

/// The wait before a commit that failed is made again, and before an aborted batch is, at first.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest wait before an aborted batch is published again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// An effect on the broker that has ended.
pub(super) enum Effect {
    Published(Outbox, Result<Published, SinkError>, Duration),
    Committed(Vec<PartitionPosition>, Result<(), CommitError>),
    Released(Vec<(TopicPartition, Generation)>, Result<(), SourceError>),
}

impl Run<'_> {
    pub(super) fn publish(&mut self) {
        if self.parts.is_some() {
            self.outbox.drop_abandoned();
        }
        let next = self.spares.pop().unwrap_or_default();
        let mut outbox = std::mem::replace(&mut self.outbox, next);
        if !self.under_way.overlaps() {
            self.hold_back(&mut outbox);
            if outbox.is_empty() {
                self.spares.push(outbox);
                self.publish_at = self.now + RETRY_DELAY;
                return;
            }
            outbox.batch.positions = self.positions_with(&outbox.entries);
        }
        let (sink, context) = (self.sink, self.context);
        self.under_way.publish(Box::pin(async move {
            let started = Instant::now();
            let result = sink.publish(&outbox.batch).await;
            let took = started.elapsed();
            if result.is_ok() {
                context.observers.emit(&Event::Published { batch: &outbox.batch, took });
            }
            Effect::Published(outbox, result, took)
        }));
    }

    /// Leaves in the outbox what the batch's own commit could not say: records that are further above the
    /// frontier, as the batch moves it, than the window is wide. There are some only if it has
    /// shrunk since they were taken in.
    fn hold_back(&mut self, outbox: &mut Outbox) {
        let window = self.window;
        if self.partitions.iter().all(|(_, p)| p.frontier.all_fit(window)) {
            return;
        }
        for entry in &outbox.entries {
            if let Some((partition, offset)) = self.finished_by(entry) {
                partition.frontier.publishing(offset);
            }
        }
        let partitions = &self.partitions;
        let held = outbox.split(|entry| {
            let (name, generation) = entry.assignment();
            let partition = partitions.get(name).filter(|p| p.generation == generation);
            entry.offset().zip(partition).is_some_and(|(offset, partition)| {
                let frontier = partition.frontier.position_once_published(window).frontier();
                offset >= frontier && offset - frontier >= window
            })
        });
        for entry in &held.entries {
            if let Some((partition, offset)) = self.finished_by(entry) {
                partition.not_published(offset);
            }
        }
        self.outbox = held;
    }

    /// The partition and offset of the record that an entry finishes, if it still counts.
    fn finished_by(&mut self, entry: &Entry) -> Option<(&mut Partition, i64)> {
        let (name, generation) = entry.assignment();
        let offset = entry.offset()?;
        Some((self.partitions.current(name, generation)?, offset))
    }

    /// When the next batch is to be published, if there is anything for it.
    pub(super) fn publish_due(&self) -> Option<Instant> {
        let outputs = self.outbox.batch.outputs.len();
        let due = self.under_way.publish_due(outputs, self.outbox_since);
        (!self.outbox.is_empty()).then_some(due.max(self.publish_at))
    }

    /// The positions at which these entries are finished.
    fn positions_with(&mut self, entries: &[Entry]) -> Vec<PartitionPosition> {
        for entry in entries {
            let (name, generation) = entry.assignment();
            let Some(partition) = self.partitions.current(name, generation) else { continue };
            match &entry.subject {
                Subject::Record(done) => partition.publishing(done.record.offset),
                Subject::Persist(_) | Subject::Punctuated(..) => {
                    partition.is_fenced_by_batch = true;
                }
            }
        }
        self.partitions.save_with_batch(self.window)
    }

    /// When the next commit is to be made, if there is news: after the interval, or at once if a
    /// drain waits for it.
    pub(super) fn commit_due(&self) -> Option<Instant> {
        let has_news = self.partitions.iter().any(|(_, partition)| partition.has_unsaved());
        let due = if self.has_drained() { self.no_commit_before } else { self.commit_at };
        has_news.then_some(due.max(self.no_commit_before))
    }

    pub(super) fn commit(&mut self) {
        let positions = self.partitions.save(self.window);
        let (source, context) = (self.source, self.context);
        self.under_way.begin(Box::pin(async move {
            let result = commit(source, context, &positions).await;
            Effect::Committed(positions, result)
        }));
    }

    pub(super) fn on_effect(&mut self, effect: Effect) -> Result<(), RunError> {
        let done = match effect {
            Effect::Published(outbox, result, took) => self.published(outbox, result, took),
            Effect::Committed(positions, result) => self.committed(&positions, result),
            Effect::Released(partitions, result) => self.released(&partitions, result),
        };
        self.end_the_wait();
        done
    }

    fn published(
        &mut self,
        mut outbox: Outbox,
        result: Result<Published, SinkError>,
        took: Duration,
    ) -> Result<(), RunError> {
        let error = match result {
            Ok(published) => {
                self.aborts = 0;
                self.finish_all(outbox.entries.drain(..));
                let positions = &outbox.batch.positions;
                if published == Published::RecordsAndPositions && !positions.is_empty() {
                    self.partitions.saved(positions);
                    self.context.observers.emit(&Event::Committed { positions, took });
                }
                self.spares.push(outbox.emptied());
                return Ok(());
            }
            Err(error) => error,
        };
        self.context.observers.emit(&Event::PublishFailed(&error));
        for entry in &outbox.entries {
            if let Subject::Record(Done { record, .. }) = &entry.subject
                && let Some(partition) = self.partitions.of(record)
            {
                partition.not_published(record.offset);
            }
        }
        match error {
            SinkError::Broken(_) => return Err(RunError::Sink(error)),
            SinkError::Aborted(_) => {
                let delay = RETRY_DELAY.saturating_mul(1 << self.aborts.min(10));
                self.publish_at = self.now + delay.min(MAX_RETRY_DELAY);
                self.aborts += 1;
            }
            SinkError::TooLarge { outputs, others_published } => {
                let dead_letters = self.topology.pipeline.dead_letters();
                let context = self.context;
                let substitute = |record: &ConsumerRecord, refusals: u8| {
                    let cause = "the broker refuses the output";
                    let event = Event::DeadLettered { record, reason: TOO_LARGE, cause };
                    context.observers.emit(&event);
                    let mut letter =
                        too_large(dead_letters, context.group.as_deref(), record, refusals);
                    context.propagation.inject(record, std::slice::from_mut(&mut letter));
                    letter
                };
                let done = outbox.replace_refused(&outputs, others_published, substitute)?;
                self.finish_all(done.into_iter());
            }
        }
        self.outbox.put_back(outbox);
        self.keep_stale_outputs();
        Ok(())
    }

    fn finish_all(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            match entry.subject {
                Subject::Record(done) => self.finish(done),
                Subject::Persist(persist) => persist.complete(),
                Subject::Punctuated(name, generation) => self.punctuate_again(&name, generation),
            }
        }
    }

    /// Keeps the outputs of partitions that were lost while they were being published.
    fn keep_stale_outputs(&mut self) {
        let partitions = &self.partitions;
        let is_stale = |entry: &Entry| {
            let (partition, generation) = entry.assignment();
            !partitions.holds(partition, generation)
        };
        let stale = self.outbox.take_out(is_stale);
        for Unpublished { finished, lane } in &stale {
            self.let_go(finished.record.size_bytes(), *lane);
        }
        self.keep(stale);
    }

    pub(super) fn committed(
        &mut self,
        positions: &[PartitionPosition],
        result: Result<(), CommitError>,
    ) -> Result<(), RunError> {
        self.commit_at = self.now + self.topology.limits.commit_interval;
        match result {
            Ok(()) => {
                self.partitions.saved(positions);
                Ok(())
            }
            Err(error @ CommitError::Broken(_)) => Err(RunError::Commit(error)),
            Err(CommitError::Fenced(_) | CommitError::Transient(_)) => {
                self.no_commit_before = self.now + RETRY_DELAY;
                Ok(())
            }
        }
    }
}

/// Commits, and tells what came of it.
async fn commit(
    source: &dyn Source,
    context: &Context,
    positions: &[PartitionPosition],
) -> Result<(), CommitError> {
    let started = Instant::now();
    let result = source.commit(positions).await;
    match &result {
        Ok(()) => {
            let took = started.elapsed();
            context.observers.emit(&Event::Committed { positions, took });
        }
        Err(error) => context.observers.emit(&Event::CommitFailed(error)),
    }
    result
}
