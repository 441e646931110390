//! The run loop: it drives the stages and decides nothing that a stage could decide.
//!
//! ```text
//!  events ──▶ admit ──▶ lanes ──▶ running ──▶ outbox ──▶ publish ──▶ finish ──▶ commit
//!               │                                ▲
//!               └── finished without execution ──┘
//! ```
//!
//! Which effects on the broker (publish, commit, hand-over) may overlap depends on who commits
//! positions: a position never overtakes another.

use std::pin::pin;

use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use tokio::select;
use tokio::time::{Instant, sleep_until};

use super::admit::{Work, Worked};
use super::effect::Effect;
use super::error::RunError;
use super::event::{Event, Turning};
use super::intake::Intake;
use super::lanes::Lanes;
use super::leftovers::Leftovers;
use super::limits::Limits;
use super::outbox::Outbox;
use super::partition::Partitions;
use super::parts::{News, Parts, news};
use super::punctuations::{Punctuated, Punctuations, punctuated};
use super::under_way::UnderWay;
use super::waiting::Waiting;
use super::{Context, Topology};
use crate::sinks::Sink;
use crate::sources::{Source, SourceError, SourceEvent};
use crate::state::Store;

/// Events taken from the source, or jobs collected, before the loop looks at everything else.
pub(super) const TURN_EVENTS: usize = 512;

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
    pub(super) context: &'a Context,
    pub(super) source: &'a dyn Source,
    pub(super) sink: &'a dyn Sink,
    pub(super) partitions: Partitions,
    /// The keyed state, if the topology has any.
    pub(super) parts: Option<Parts<'a>>,
    /// The timers of the partitions, if the topology has a punctuator.
    pub(super) punctuations: Option<Punctuations>,
    pub(super) intake: Intake<'a>,
    pub(super) lanes: Lanes<Work<'a>>,
    pub(super) running: FuturesUnordered<Work<'a>>,
    pub(super) waiting: Waiting<'a>,
    pub(super) outbox: Outbox,
    /// Since when it has not been empty.
    pub(super) outbox_since: Instant,
    /// Empty: the memory of outboxes that were published, for the next ones.
    pub(super) spares: Vec<Outbox>,
    pub(super) leftovers: Leftovers,
    pub(super) under_way: UnderWay<'a>,
    /// When this turn of the loop began.
    pub(super) now: Instant,
    /// How far above a frontier a commit can say that a record is finished, in offsets.
    pub(super) window: i64,
    turning: Turning<'a>,
    tick_at: Instant,
    pub(super) commit_at: Instant,
    /// After a commit that failed.
    pub(super) no_commit_before: Instant,
    pub(super) publish_at: Instant,
    pub(super) aborts: u32,
    /// After the shutdown: when the drain, and when all publishing and committing must end.
    pub(super) stop: Option<(Instant, Instant)>,
    pub(super) drained: Drained,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        source: &'a dyn Source,
        sink: &'a dyn Sink,
        store: Option<&'a dyn Store>,
    ) -> Self {
        let now = Instant::now();
        // Without a lane, nothing keeps the records of one key out of two batches at once.
        let publishes_at_once =
            if topology.pipeline.has_lanes() { sink.batches_at_once() } else { 1 };
        Self {
            topology,
            context: &topology.context,
            source,
            sink,
            partitions: Partitions::default(),
            parts: topology.pipeline.is_stateful().then(|| Parts::new(store)),
            punctuations: topology.schedule.clone().map(Punctuations::new),
            intake: Intake::new(topology.limits),
            lanes: Lanes::new(),
            running: FuturesUnordered::new(),
            waiting: Waiting::new(),
            outbox: Outbox::default(),
            outbox_since: now,
            spares: Vec::new(),
            leftovers: Leftovers::default(),
            under_way: UnderWay::new(publishes_at_once),
            now,
            window: source.window_offsets(),
            turning: Turning::new(&topology.context.observers),
            tick_at: now + topology.limits.commit_interval,
            commit_at: now + topology.limits.commit_interval,
            no_commit_before: now,
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
        self.turning.tell();
        loop {
            self.window = self.source.window_offsets();
            self.do_what_is_due();
            self.advance()?;
            if self.is_over() {
                return Ok(self.close().await);
            }
            let wake_at = self.wake_at();
            let turn = select! {
                biased;
                () = &mut shutdown, if self.stop.is_none() => Turn::Shutdown,
                effect = self.under_way.next() => Turn::Effect(effect),
                news = news(&mut self.parts) => Turn::News(news),
                Some(worked) = self.running.next() => Turn::Done(worked),
                punctuated = punctuated(&mut self.punctuations) => Turn::Punctuated(punctuated),
                () = completed(&mut self.intake.gate) => Turn::Due,
                event = events.next(), if !ended => Turn::Event(event),
                () = sleep_until(wake_at) => Turn::Due,
            };
            self.now = Instant::now();
            match turn {
                Turn::Shutdown => self.stop(),
                Turn::Effect(effect) => self.on_effect(effect)?,
                Turn::News(news) => self.on_news(news)?,
                Turn::Done(worked) => self.collect(worked),
                Turn::Punctuated(punctuated) => self.on_punctuated(punctuated),
                Turn::Event(Some(event)) => {
                    self.on_event(event?)?;
                    self.take_in(&mut events)?;
                }
                Turn::Event(None) => {
                    ended = true;
                    self.stop();
                }
                Turn::Due => {}
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
                Some(Some(event)) => self.on_event(event?)?,
                // A stream that has ended says so again to the next poll.
                Some(None) | None => break,
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: SourceEvent) -> Result<(), RunError> {
        match event {
            SourceEvent::Record(record) => self.fetch(record)?,
            SourceEvent::Assigned(assignments) => self.assign(&assignments),
            SourceEvent::Revoked(partitions) => partitions.iter().for_each(|p| self.revoke(p)),
            SourceEvent::Lost(partitions) => partitions.iter().for_each(|p| self.lose(p)),
            SourceEvent::Truncated { partition, from, to } => {
                let event = Event::Truncated { partition: &partition, from, to };
                self.context.observers.emit(&event);
            }
        }
        Ok(())
    }

    /// Starts whatever can start now.
    fn advance(&mut self) -> Result<(), RunError> {
        self.go_on_with_what_is_due();
        self.check_gate();
        self.take_in_held()?;
        self.pause_or_resume();
        let to_release = self.partitions_to_release();
        if !to_release.is_empty() && self.under_way.is_empty() {
            self.release(to_release);
            return Ok(());
        }
        if self.may_commit() && self.commit_due().is_some_and(|due| self.now >= due) {
            self.commit();
        }
        if self.may_publish() && self.publish_due().is_some_and(|due| self.now >= due) {
            self.publish();
        }
        if self.outbox.is_empty() {
            self.outbox_since = self.now;
        }
        Ok(())
    }

    /// Whether nothing begins before all that is under way has ended: a partition is to be given
    /// up, or one that was lost and is back waits to know what became of its outputs.
    fn waits_for_the_end(&self) -> bool {
        !self.under_way.is_empty()
            && (self.leftovers.is_awaited() || !self.partitions_to_release().is_empty())
    }

    fn may_commit(&self) -> bool {
        self.under_way.may_commit() && !self.waits_for_the_end()
    }

    fn may_publish(&self) -> bool {
        self.under_way.may_publish() && !self.waits_for_the_end()
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
        self.turning.tell();
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
        if self.may_publish() {
            wake_at = self.publish_due().into_iter().fold(wake_at, Instant::min);
        }
        if self.may_commit() {
            wake_at = self.commit_due().into_iter().fold(wake_at, Instant::min);
        }
        self.wait_ends().into_iter().chain(self.drain_deadlines()).fold(wake_at, Instant::min)
    }
}

/// What makes the loop turn.
enum Turn<'a> {
    Shutdown,
    Effect(Effect),
    News(News),
    Done(Worked<'a>),
    Punctuated(Punctuated),
    Event(Option<Result<SourceEvent, SourceError>>),
    /// The job sink is ready again, or a time has come.
    Due,
}

type SourceEvents<'a> = BoxStream<'a, Result<SourceEvent, SourceError>>;

/// Completes when the future does, and leaves nothing behind; never, if there is none.
async fn completed<T>(future: &mut Option<BoxFuture<'_, T>>) -> T {
    let Some(running) = future else { return pending().await };
    let output = running.await;
    *future = None;
    output
}
