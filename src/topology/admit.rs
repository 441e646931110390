//! Admission: how a record gets in flight, and how it ends to be.
//!
//! ```text
//!  fetch ──▶ admit ──▶ lanes ──▶ running ──▶ outbox ──▶ publish ──▶ finish
//!    │         │                               ▲
//!  held        └── finished without execution ─┘
//! ```

use std::future::ready;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::StreamExt;

use super::error::RunError;
use super::event::Event;
use super::frontier::Delivered;
use super::lanes::KeyHash;
use super::leftovers::Unpublished;
use super::outbox::Done;
use super::partition::Partition;
use super::pipeline::{Admitted, Finished, Step};
use super::run::{Run, TURN_EVENTS};
use crate::record::{ConsumerRecord, Generation, TopicPartition};
use crate::sources::SourceError;

/// A job on its way through execution and the stages after it.
pub(super) struct Work<'a> {
    pub(super) partition: TopicPartition,
    pub(super) generation: Generation,
    pub(super) size_bytes: usize,
    pub(super) lane: Option<KeyHash>,
    future: BoxFuture<'a, Step<'a>>,
}

/// How far a job has come.
pub(super) enum Worked<'a> {
    Finished(Option<KeyHash>, Finished),
    /// It waits so long, and is to go on then.
    Waits(Duration, Work<'a>),
}

impl<'a> Future for Work<'a> {
    type Output = Worked<'a>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match task::ready!(self.future.poll_unpin(cx)) {
            Step::Finished(finished) => Worked::Finished(self.lane, finished),
            Step::Waits(delay, future) => {
                let &mut Self { generation, size_bytes, lane, ref partition, .. } = &mut *self;
                let partition = partition.clone();
                Worked::Waits(delay, Self { partition, generation, size_bytes, lane, future })
            }
        })
    }
}

impl<'a> Run<'a> {
    /// Takes a record in, or holds it if its partition's window is full.
    ///
    /// # Errors
    /// If the source yields a record from below the last one, which breaks its contract: the
    /// partition's offsets have gone back, and it has not said so.
    pub(super) fn fetch(&mut self, record: ConsumerRecord) -> Result<(), RunError> {
        let window = self.window;
        let Some(partition) = self.partitions.of(&record) else { return Ok(()) };
        if !partition.takes_records() {
            return Ok(());
        }
        let expected = partition.frontier.next();
        if record.offset < expected {
            let ConsumerRecord { partition, offset, .. } = &record;
            let reason =
                format!("{partition}: found offset {offset}, expected {expected} or above");
            return Err(RunError::Source(SourceError(reason)));
        }
        if !partition.fits(record.offset, window) {
            self.source.pause(std::slice::from_ref(&record.partition));
            partition.held = Some(record);
            return Ok(());
        }
        match partition.deliver(record.offset, self.now) {
            Delivered::New => match partition.executed(&record) {
                Some(executed) => self.admit_executed(record, executed),
                None => self.admit(record),
            },
            Delivered::AlreadyFinished => {
                self.context.observers.emit(&Event::AlreadyFinished(&record));
            }
        }
        Ok(())
    }

    fn admit(&mut self, record: ConsumerRecord) {
        self.context.observers.emit(&Event::Fetched(&record));
        let size_bytes = record.size_bytes();
        self.intake.add(size_bytes);
        let (name, generation) = (record.partition.clone(), record.generation);
        let state = self.state_for(&record);
        match self.topology.pipeline.admit(self.context, record, state) {
            Admitted::Finished(finished) => self.outgoing(finished, None),
            Admitted::Execute(lane, future) => {
                let work = Work { partition: name, generation, size_bytes, lane, future };
                self.begin(work);
            }
        }
    }

    /// Takes in a record that was executed before its partition was lost: in its lane's order, its
    /// outputs go to the outbox.
    fn admit_executed(&mut self, record: ConsumerRecord, executed: Unpublished) {
        self.context.observers.emit(&Event::Fetched(&record));
        self.context.observers.emit(&Event::AlreadyExecuted(&record));
        let size_bytes = record.size_bytes();
        self.intake.add(size_bytes);
        let (partition, generation) = (record.partition.clone(), record.generation);
        let Unpublished { finished, lane } = executed;
        let changes = self.moved(finished.changes, &record);
        let future = Box::pin(ready(Step::Finished(Finished { record, changes, ..finished })));
        self.begin(Work { partition, generation, size_bytes, lane, future });
    }

    /// Begins a job, or puts it in line behind the others with its key.
    fn begin(&mut self, mut work: Work<'a>) {
        if let Some(lane) = work.lane {
            match self.lanes.enter(lane, work) {
                Some(first) => work = first,
                None => {
                    // Behind a job that waits it takes no place.
                    if self.waiting.holds(Some(lane)) {
                        self.intake.executed();
                    }
                    return;
                }
            }
        }
        // A job that is done at once never becomes one of the running.
        match (&mut work).now_or_never() {
            Some(worked) => self.worked(worked),
            None => self.running.push(work),
        }
    }

    /// Collects the job that is done, or waits, and those that are with it.
    pub(super) fn collect(&mut self, worked: Worked<'a>) {
        self.worked(worked);
        for _ in 1..TURN_EVENTS {
            match self.running.next().now_or_never() {
                Some(Some(worked)) => self.worked(worked),
                _ => break,
            }
        }
    }

    fn worked(&mut self, worked: Worked<'a>) {
        match worked {
            Worked::Finished(lane, finished) => self.outgoing(finished, lane),
            Worked::Waits(delay, work) => self.wait(delay, work),
        }
    }

    fn outgoing(&mut self, finished: Finished, lane: Option<KeyHash>) {
        self.intake.executed();
        if finished.outputs.is_empty() {
            let Finished { record, fate, changes, .. } = finished;
            self.finish(Done { record, fate, lane, changes });
        } else {
            self.outbox.push(finished, lane);
        }
    }

    /// A record has met its fate: it counts in the next position, and the next of its key begins.
    pub(super) fn finish(&mut self, done: Done) {
        let Done { record, fate, lane, changes } = done;
        if let Some(changes) = changes {
            changes.apply();
        }
        if let Some(partition) = self.partitions.of(&record) {
            partition.finish(record.offset, self.now);
            if let Some(punctuations) = &mut self.punctuations {
                punctuations.finished(&record, self.now);
            }
            self.context.observers.emit(&Event::Finished { record: &record, fate });
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

    /// Shuts intake while the job sink is not ready.
    pub(super) fn check_gate(&mut self) {
        if self.intake.is_open()
            && let Some(mut ready) = self.topology.pipeline.ready()
            && (&mut ready).now_or_never().is_none()
        {
            self.intake.gate = Some(ready);
        }
    }

    /// Admits the records that did not fit into a window that has moved on.
    pub(super) fn take_in_held(&mut self) -> Result<(), RunError> {
        let window = self.window;
        let fits = |p: &Partition| p.held.as_ref().is_some_and(|held| p.fits(held.offset, window));
        if !self.intake.is_open() || !self.partitions.iter().any(|(_, p)| p.held.is_some()) {
            return Ok(());
        }
        for name in self.partitions.names(fits) {
            let held = self.partitions.get_mut(&name).and_then(|p| p.held.take());
            held.into_iter().try_for_each(|record| self.fetch(record))?;
            if !self.intake.is_paused {
                self.source.resume(std::slice::from_ref(&name));
            }
        }
        Ok(())
    }

    pub(super) fn pause_or_resume(&mut self) {
        let open = self.intake.is_open();
        if open != self.intake.is_paused {
            return;
        }
        self.intake.is_paused = !open;
        let partitions = self.partitions.names(Partition::takes_records);
        if open {
            self.source.resume(&partitions);
        } else {
            self.source.pause(&partitions);
        }
        self.context.observers.emit(&Event::Intake { open });
    }
}
