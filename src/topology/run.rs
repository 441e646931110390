//! The run loop: it drives the stages and decides nothing that a stage could decide.
//!
//! ```text
//!  events ──▶ admit ──▶ lanes ──▶ running ──▶ outbox ──▶ publish ──▶ finish ──▶ commit
//!               │                                ▲
//!               └── finished without execution ──┘
//! ```
//!
//! Of the effects on the broker (publish, commit, hand-over) one is under way at a time, so that a
//! position never overtakes another.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::dead_letter::{TOO_LARGE, too_large};
use super::error::RunError;
use super::event::{Event, Fate};
use super::frontier::Delivered;
use super::intake::Intake;
use super::lanes::{KeyHash, Lanes};
use super::limits::Limits;
use super::outbox::{Entry, Outbox};
use super::partition::Partitions;
use super::pipeline::{Admitted, Finished};
use super::{Context, Topology};
use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Generation, TopicPartition};
use crate::sinks::{Published, Sink, SinkError};
use crate::sources::{CommitError, Source, SourceError, SourceEvent};

/// Events taken from the source, or jobs collected, before the loop looks at everything else.
const TURN_EVENTS: usize = 512;
/// The wait before a commit that failed is made again, and before an aborted batch is, at first.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(100);
/// The longest wait before an aborted batch is published again.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// How a run ended, when nothing broke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Records that were taken in and left unfinished, because a deadline cut them off. They are
    /// delivered again.
    pub unfinished: usize,
}

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) topology: &'a Topology,
    pub(super) context: Arc<Context>,
    pub(super) source: &'a dyn Source,
    pub(super) sink: &'a dyn Sink,
    pub(super) partitions: Partitions,
    pub(super) intake: Intake<'a>,
    pub(super) lanes: Lanes<Work>,
    pub(super) running: FuturesUnordered<Work>,
    pub(super) outbox: Outbox,
    pub(super) effect: Option<BoxFuture<'a, Effect>>,
    /// When this turn of the loop began.
    pub(super) now: Instant,
    tick_at: Instant,
    pub(super) commit_at: Instant,
    publish_at: Instant,
    aborts: u32,
    /// After the shutdown: when the drain, and when all publishing and committing must end.
    pub(super) stop: Option<(Instant, Instant)>,
    pub(super) drained: Drained,
}

/// A job on its way through execution and the stages after it.
pub(super) struct Work {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) size_bytes: usize,
    pub(super) lane: Option<KeyHash>,
    future: BoxFuture<'static, Finished>,
}

impl Future for Work {
    type Output = (Option<KeyHash>, Finished);

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let finished = ready!(self.future.poll_unpin(cx));
        Poll::Ready((self.lane, finished))
    }
}

/// An effect on the broker that has ended.
pub(super) enum Effect {
    Published(Outbox, Result<Published, SinkError>),
    Committed(Vec<PartitionPosition>, Result<(), CommitError>),
    HandedOver(HandOver),
}

/// The end of revoked partitions: their last commit, and the release if that was made.
pub(super) struct HandOver {
    pub(super) partitions: Vec<TopicPartition>,
    pub(super) positions: Vec<PartitionPosition>,
    pub(super) committed: Result<(), CommitError>,
    pub(super) released: Option<Result<(), SourceError>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(topology: &'a Topology, source: &'a dyn Source, sink: &'a dyn Sink) -> Self {
        let now = Instant::now();
        Self {
            topology,
            context: Arc::new(topology.context.clone()),
            source,
            sink,
            partitions: Partitions::default(),
            intake: Intake::new(topology.limits),
            lanes: Lanes::new(),
            running: FuturesUnordered::new(),
            outbox: Outbox::default(),
            effect: None,
            now,
            tick_at: now + topology.limits.commit_interval,
            commit_at: now + topology.limits.commit_interval,
            publish_at: now,
            aborts: 0,
            stop: None,
            drained: Drained::default(),
        }
    }

    pub(super) async fn run(
        mut self,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<Drained, RunError> {
        let mut events = self.source.events();
        let mut shutdown = pin!(shutdown);
        let mut ended = false;
        loop {
            self.now = Instant::now();
            self.do_what_is_due();
            self.advance();
            if self.is_over() {
                return Ok(self.close().await);
            }
            let wake_at = self.wake_at();
            select! {
                biased;
                () = &mut shutdown, if self.stop.is_none() => self.stop(),
                effect = completed(&mut self.effect) => self.on_effect(effect)?,
                Some((lane, finished)) = self.running.next() => self.collect(lane, finished),
                () = completed(&mut self.intake.gate) => {}
                event = events.next(), if !ended => match event {
                    Some(event) => {
                        self.on_event(event?);
                        self.take_in(&mut events)?;
                    }
                    None => {
                        ended = true;
                        self.stop();
                    }
                },
                () = sleep_until(wake_at) => {}
            }
            tokio::task::consume_budget().await;
        }
    }

    /// Takes what the source has ready, as long as intake is open.
    fn take_in(&mut self, events: &mut SourceEvents<'_>) -> Result<(), RunError> {
        for _ in 1..TURN_EVENTS {
            if !self.intake.is_open() {
                break;
            }
            match events.next().now_or_never() {
                Some(Some(event)) => self.on_event(event?),
                // A stream that has ended says so again to the next poll.
                Some(None) | None => break,
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Record(record) => self.fetch(record),
            SourceEvent::Assigned(assignments) => self.assign(&assignments),
            SourceEvent::Revoked(partitions) => partitions.iter().for_each(|p| self.revoke(p)),
            SourceEvent::Lost(partitions) => partitions.iter().for_each(|p| self.lose(p)),
            SourceEvent::Truncated { partition, from, to } => {
                let event = Event::Truncated { partition: &partition, from, to };
                self.context.observers.emit(&event);
            }
        }
    }

    /// Takes a record in, or holds it if its partition's window is full.
    fn fetch(&mut self, record: ConsumerRecord) {
        let Some(partition) = self.partitions.of(&record) else { return };
        if !partition.takes_records() {
            return;
        }
        if partition.frontier.fits(record.offset) {
            return self.admit(record);
        }
        self.source.pause(std::slice::from_ref(&record.partition));
        partition.held = Some(record);
    }

    fn admit(&mut self, record: ConsumerRecord) {
        let now = self.now;
        let Some(partition) = self.partitions.of(&record) else { return };
        if partition.deliver(record.offset, now) == Delivered::AlreadyFinished {
            return self.context.observers.emit(&Event::AlreadyFinished(&record));
        }
        self.context.observers.emit(&Event::Fetched(&record));
        let size_bytes = record.size_bytes();
        self.intake.add(size_bytes);
        let (name, generation) = (record.partition.clone(), record.generation);
        match self.topology.pipeline.clone().admit(&self.context, record) {
            Admitted::Finished(finished) => self.outgoing(finished, None),
            Admitted::Execute(lane, future) => {
                let work = Work { partition: name, generation, size_bytes, lane, future };
                self.begin(work);
            }
        }
    }

    /// Begins a job, or puts it in line behind the others with its key.
    fn begin(&mut self, mut work: Work) {
        if let Some(lane) = work.lane {
            match self.lanes.enter(lane, work) {
                Some(first) => work = first,
                None => return,
            }
        }
        // A job that is done at once never becomes one of the running.
        match (&mut work).now_or_never() {
            Some((lane, finished)) => self.outgoing(finished, lane),
            None => self.running.push(work),
        }
    }

    /// Collects the job that is done, and those that are done with it.
    fn collect(&mut self, lane: Option<KeyHash>, finished: Finished) {
        self.outgoing(finished, lane);
        for _ in 1..TURN_EVENTS {
            match self.running.next().now_or_never() {
                Some(Some((lane, finished))) => self.outgoing(finished, lane),
                _ => break,
            }
        }
    }

    fn outgoing(&mut self, finished: Finished, lane: Option<KeyHash>) {
        if finished.outputs.is_empty() {
            self.finish(&finished.record, finished.fate, lane);
        } else {
            self.outbox.push(finished, lane);
        }
    }

    /// A record has met its fate: it counts in the next position, and the next of its key begins.
    fn finish(&mut self, record: &ConsumerRecord, fate: Fate, lane: Option<KeyHash>) {
        if let Some(partition) = self.partitions.of(record) {
            partition.finish(record.offset, self.now);
            self.context.observers.emit(&Event::Finished { record, fate });
        }
        self.let_go(record.size_bytes(), lane);
    }

    /// A record is in flight no more.
    pub(super) fn let_go(&mut self, size_bytes: usize, lane: Option<KeyHash>) {
        self.intake.remove(size_bytes);
        if let Some(next) = lane.and_then(|lane| self.lanes.leave(lane)) {
            self.running.push(next);
        }
    }

    /// Starts whatever can start now.
    fn advance(&mut self) {
        self.check_gate();
        self.take_in_held();
        self.pause_or_resume();
        if self.effect.is_some() {
            return;
        }
        let hand_over = self.partitions_to_hand_over();
        if !hand_over.is_empty() {
            self.hand_over(hand_over);
        } else if self.now >= self.commit_at && self.partitions.iter().any(|(_, p)| p.has_unsaved())
        {
            self.commit();
        } else if self.now >= self.publish_at && !self.outbox.is_empty() {
            self.publish();
        }
    }

    /// Shuts intake while the job sink is not ready.
    fn check_gate(&mut self) {
        if self.intake.is_open()
            && let Some(mut ready) = self.topology.pipeline.ready()
            && (&mut ready).now_or_never().is_none()
        {
            self.intake.gate = Some(ready);
        }
    }

    /// Admits the records that did not fit into a window that has moved on.
    fn take_in_held(&mut self) {
        let fits = |p: &super::partition::Partition| {
            p.held.as_ref().is_some_and(|held| p.frontier.fits(held.offset))
        };
        if !self.intake.is_open() || !self.partitions.iter().any(|(_, p)| p.held.is_some()) {
            return;
        }
        for name in self.partitions.names(fits) {
            let held = self.partitions.get_mut(&name).and_then(|p| p.held.take());
            held.into_iter().for_each(|record| self.admit(record));
            if !self.intake.is_paused {
                self.source.resume(std::slice::from_ref(&name));
            }
        }
    }

    fn pause_or_resume(&mut self) {
        let open = self.intake.is_open();
        if open != self.intake.is_paused {
            return;
        }
        self.intake.is_paused = !open;
        let partitions = self.partitions.names(super::partition::Partition::takes_records);
        if open {
            self.source.resume(&partitions);
        } else {
            self.source.pause(&partitions);
        }
        self.context.observers.emit(&Event::Intake { open });
    }

    fn publish(&mut self) {
        let mut outbox = std::mem::take(&mut self.outbox);
        for entry in &outbox.entries {
            if let Some(partition) = self.partitions.of(&entry.record) {
                partition.publishing(entry.record.offset);
            }
        }
        outbox.batch.positions = self.partitions.save_with_batch();
        let (sink, context) = (self.sink, self.context.clone());
        self.effect = Some(Box::pin(async move {
            let started = Instant::now();
            let result = sink.publish(&outbox.batch).await;
            if result.is_ok() {
                let took = started.elapsed();
                context.observers.emit(&Event::Published { batch: &outbox.batch, took });
            }
            Effect::Published(outbox, result)
        }));
    }

    fn commit(&mut self) {
        let positions = self.partitions.save(|_| true);
        let (source, context) = (self.source, self.context.clone());
        self.effect = Some(Box::pin(async move {
            let result = commit(source, &context, &positions).await;
            Effect::Committed(positions, result)
        }));
    }

    fn on_effect(&mut self, effect: Effect) -> Result<(), RunError> {
        match effect {
            Effect::Published(outbox, result) => self.published(outbox, result),
            Effect::Committed(positions, result) => self.committed(&positions, result),
            Effect::HandedOver(hand_over) => self.handed_over(hand_over),
        }
    }

    fn published(
        &mut self,
        mut outbox: Outbox,
        result: Result<Published, SinkError>,
    ) -> Result<(), RunError> {
        let error = match result {
            Ok(published) => {
                self.aborts = 0;
                self.finish_all(outbox.entries);
                if published == Published::RecordsAndPositions {
                    self.partitions.saved(&outbox.batch.positions);
                }
                return Ok(());
            }
            Err(error) => error,
        };
        self.context.observers.emit(&Event::PublishFailed(&error));
        for entry in &outbox.entries {
            if let Some(partition) = self.partitions.of(&entry.record) {
                partition.not_published(entry.record.offset);
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
                let observers = &self.context.observers;
                let substitute = |record: &ConsumerRecord, refusals: u8| {
                    let cause = "the broker refuses the output";
                    let event = Event::DeadLettered { record, reason: TOO_LARGE, cause };
                    observers.emit(&event);
                    too_large(dead_letters, record, refusals)
                };
                let done = outbox.replace_refused(&outputs, others_published, substitute)?;
                self.finish_all(done);
            }
        }
        self.outbox.put_back(outbox);
        self.forget_stale_outputs();
        Ok(())
    }

    fn finish_all(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.finish(&entry.record, entry.fate, entry.lane);
        }
    }

    /// Drops the outputs of partitions that were lost while they were being published.
    fn forget_stale_outputs(&mut self) {
        let partitions = &self.partitions;
        let is_stale = |r: &ConsumerRecord| !partitions.holds(&r.partition, r.generation);
        for entry in self.outbox.take_out(is_stale) {
            self.let_go(entry.record.size_bytes(), entry.lane);
        }
    }

    fn committed(
        &mut self,
        positions: &[PartitionPosition],
        result: Result<(), CommitError>,
    ) -> Result<(), RunError> {
        let wait =
            if self.stop.is_some() { RETRY_DELAY } else { self.topology.limits.commit_interval };
        self.commit_at = self.now + wait;
        match result {
            Ok(()) => {
                self.partitions.saved(positions);
                Ok(())
            }
            Err(error @ CommitError::Broken(_)) => Err(RunError::Commit(error)),
            Err(CommitError::Fenced(_) | CommitError::Transient(_)) => Ok(()),
        }
    }

    /// Tells where the partitions stand, once an interval.
    fn tick(&mut self) {
        let Limits { commit_interval, stuck_after, .. } = self.topology.limits;
        self.tick_at = self.now + commit_interval;
        for (partition, state) in self.partitions.iter_mut() {
            let (offset, age) = (state.frontier.offset(), state.age(self.now));
            let in_flight = state.in_flight;
            let event = Event::Frontier { partition, offset, in_flight, age };
            self.context.observers.emit(&event);
            if age >= stuck_after && state.stuck != Some(offset) {
                state.stuck = Some(offset);
                self.context.observers.emit(&Event::Stuck { partition, offset, age });
            }
        }
    }

    fn do_what_is_due(&mut self) {
        if self.now >= self.tick_at {
            self.tick();
        }
        self.cut_off_what_is_due();
    }

    /// When the loop must turn even if nothing happens.
    fn wake_at(&self) -> Instant {
        let mut wake_at = self.tick_at;
        if self.effect.is_none() {
            if !self.outbox.is_empty() {
                wake_at = wake_at.min(self.publish_at);
            }
            if self.partitions.iter().any(|(_, p)| p.has_unsaved()) {
                wake_at = wake_at.min(self.commit_at);
            }
        }
        self.drain_deadlines().fold(wake_at, Instant::min)
    }
}

pub(super) type SourceEvents<'a> = futures::stream::BoxStream<'a, Result<SourceEvent, SourceError>>;

/// Commits, and tells what came of it.
pub(super) async fn commit(
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

/// Completes when the future does, and leaves nothing behind; never, if there is none.
async fn completed<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    let Some(running) = future else { return pending().await };
    let output = running.await;
    *future = None;
    output
}
