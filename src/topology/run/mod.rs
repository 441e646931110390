//! The driver of a run: it owns the futures, and is the only caller of source, sink and store.
//!
//! ```text
//!  source ──▶ deliver ──▶ jobs ──▶ outbox ──▶ publish ──▶ finish ──▶ commit
//!                           ▲ │
//!                           └─┘ another attempt
//! ```
//!
//! The [engine](engine) decides what is done, and when; [`Driver::run`] is the whole loop.

mod assignments;
mod capacity;
mod command;
mod engine;
mod frontier;
mod jobs;
mod lanes;
mod leftovers;
mod outbox;
mod partition;
mod parts;
mod publisher;
mod punctuations;
mod quotas;
mod records;
mod store_topic;

pub use engine::Drained;

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{self, Poll};
use std::time::Duration;

use futures::channel::mpsc::{UnboundedReceiver, unbounded};
use futures::future::{BoxFuture, FutureExt, pending};
use futures::stream::{BoxStream, FuturesUnordered, StreamExt};
use tokio::select;
use tokio::task::consume_budget;
use tokio::time::{Instant, sleep_until, timeout};

use super::Topology;
use super::error::RunError;
use super::observe::Event;
use super::punctuator::{Punctuation, Schedule};
use super::stages::ExecutionEnd;
use crate::record::{Generation, TopicPartition};
use crate::sinks::Sink;
use crate::sources::{Source, SourceError, SourceEvent};
use crate::state::{Persist, Store};
use command::{Command, Input};
use engine::Engine;
use jobs::{Execution, JobId};
use punctuations::Punctuated;

/// Events taken from the source, or jobs collected, before the loop looks at everything else.
const TURN_EVENTS: usize = 512;

/// A run under way.
pub(super) struct Driver<'a> {
    topology: &'a Topology,
    source: &'a dyn Source,
    sink: &'a dyn Sink,
    store: Option<&'a dyn Store>,
    engine: Engine<'a>,
    /// The jobs that are executed.
    executing: FuturesUnordered<Executing<'a>>,
    /// Publishes, commits and releases.
    effects: FuturesUnordered<BoxFuture<'a, Input<'a>>>,
    /// Parts that are read from the store, by number.
    restores: BTreeMap<i32, BoxFuture<'a, Input<'a>>>,
    /// Calls of the punctuator.
    calls: BTreeMap<TopicPartition, BoxFuture<'a, Input<'a>>>,
    /// Jobs that wait for durable changes.
    persists: UnboundedReceiver<Persist>,
    /// Pending while the job sink is not ready.
    gate: Option<BoxFuture<'a, ()>>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        topology: &'a Topology,
        source: &'a dyn Source,
        sink: &'a dyn Sink,
        store: Option<&'a dyn Store>,
    ) -> Self {
        let (sender, persists) = unbounded();
        let topic = store.map(|store| store.topic().clone());
        let batches_at_once = sink.commits().batches_at_once();
        Self {
            topology,
            source,
            sink,
            store,
            engine: Engine::new(topology, topic, sender, batches_at_once, Instant::now()),
            executing: FuturesUnordered::new(),
            effects: FuturesUnordered::new(),
            restores: BTreeMap::new(),
            calls: BTreeMap::new(),
            persists,
            gate: None,
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
            let now = Instant::now();
            self.engine.set_window(self.source.window_offsets());
            self.look_at_the_gate(now)?;
            self.engine.advance(now)?;
            self.obey(now)?;
            if let Some(drained) = self.engine.drained() {
                self.close().await;
                return Ok(drained);
            }
            let wakes_at = self.engine.wakes_at();
            let input = select! {
                biased;
                () = &mut shutdown, if !self.engine.is_stopping() => Input::Shutdown,
                Some(effect) = self.effects.next() => effect,
                Some(persist) = self.persists.next() => Input::Persist(persist),
                restored = completed(&mut self.restores) => restored,
                Some(executed) = self.executing.next() => job_input(executed),
                punctuated = completed(&mut self.calls) => punctuated,
                () = opened(&mut self.gate) => Input::Ready(true),
                event = events.next(), if !ended => match event {
                    Some(event) => Input::Source(event?),
                    None => {
                        ended = true;
                        Input::Shutdown
                    }
                },
                () = consume_budget(), if self.engine.is_gathering() => {
                    self.engine.gathered();
                    continue;
                }
                () = sleep_until(wakes_at) => continue,
            };
            self.take_in(input, &mut events)?;
            consume_budget().await;
        }
    }

    /// Takes in an input, and those of its kind that are there, too.
    fn take_in(&mut self, input: Input<'a>, events: &mut SourceEvents<'_>) -> Result<(), RunError> {
        let now = Instant::now();
        let kind = match input {
            Input::Done(..) | Input::Waits(..) => Kind::Job,
            Input::Persist(_) => Kind::Persist,
            Input::Source(_) => Kind::Source,
            _ => Kind::Other,
        };
        self.handle(input, now)?;
        for _ in 1..TURN_EVENTS {
            let next = match kind {
                Kind::Job => self.executing.next().now_or_never().flatten().map(job_input),
                Kind::Persist => self.persists.next().now_or_never().flatten().map(Input::Persist),
                Kind::Source if self.engine.is_open() => {
                    // A stream that has ended says so again to the next poll.
                    let event = events.next().now_or_never().flatten().transpose()?;
                    event.map(Input::Source)
                }
                Kind::Source | Kind::Other => None,
            };
            let Some(next) = next else { break };
            self.handle(next, now)?;
        }
        Ok(())
    }

    fn handle(&mut self, input: Input<'a>, now: Instant) -> Result<(), RunError> {
        if let Input::Source(SourceEvent::Assigned(_)) = &input {
            // With an assignment the source may have learnt of a limit, which holds for its first
            // records, too.
            self.engine.set_window(self.source.window_offsets());
        }
        self.engine.handle(input, now)?;
        self.obey(now)
    }

    /// Carries out the engine's commands.
    fn obey(&mut self, now: Instant) -> Result<(), RunError> {
        while let Some(command) = self.engine.next() {
            match command {
                Command::Execute(job, mut execution) => {
                    // A job that is done at once never becomes one of those that are executed.
                    match (&mut execution).now_or_never() {
                        Some(step) => self.engine.handle(job_input((job, step)), now)?,
                        None => self.executing.push(Executing { job, execution }),
                    }
                }
                Command::Cancel(jobs) => self.cancel(&jobs),
                Command::Pause(partitions) => self.source.pause(&partitions),
                Command::Resume(partitions) => self.source.resume(&partitions),
                Command::Publish(outbox) => {
                    let sink = self.sink;
                    self.effects.push(Box::pin(async move {
                        let (result, took) = timed(sink.publish(outbox.batch())).await;
                        Input::Published(outbox, result, took)
                    }));
                }
                Command::Commit(positions) => {
                    let source = self.source;
                    self.effects.push(Box::pin(async move {
                        let (result, took) = timed(source.commit(&positions)).await;
                        Input::Committed(positions, result, took)
                    }));
                }
                Command::Release(assigned) => {
                    let source = self.source;
                    self.effects.push(Box::pin(async move {
                        let names: Vec<_> = assigned.iter().map(|(name, _)| name.clone()).collect();
                        let result = source.release(&names).await;
                        Input::Released(assigned, result)
                    }));
                }
                Command::Restore(number) => self.restore(number),
                Command::EndRestore(number) => drop(self.restores.remove(&number)),
                Command::Identify => self.identify(),
                Command::Punctuate(generation, punctuation) => self.call(generation, punctuation),
                Command::EndPunctuation(partition) => drop(self.calls.remove(&partition)),
            }
        }
        Ok(())
    }

    fn cancel(&mut self, jobs: &[JobId]) {
        let executing = std::mem::take(&mut self.executing).into_iter();
        self.executing = executing.filter(|it| jobs.binary_search(&it.job).is_err()).collect();
    }

    fn restore(&mut self, number: i32) {
        if let Some(store) = self.store {
            let restore = store.restore(number);
            let restored = restore.map(move |result| Input::Restored(number, result));
            self.restores.insert(number, restored.boxed());
        }
    }

    fn identify(&self) {
        if let Some(store) = self.store {
            self.effects.push(Box::pin(store.topic_id().map(Input::Identified)));
        }
    }

    fn call(&mut self, generation: Generation, punctuation: Punctuation) {
        if let Some(Schedule { punctuator, .. }) = &self.topology.schedule {
            let (punctuator, partition) = (punctuator.clone(), punctuation.partition.clone());
            let called = partition.clone();
            let call = async move {
                let outputs = punctuator.punctuate(&punctuation).await;
                Input::Punctuated(Punctuated { partition, generation, outputs })
            };
            self.calls.insert(called, call.boxed());
        }
    }

    /// Shuts intake while the job sink is not ready.
    fn look_at_the_gate(&mut self, now: Instant) -> Result<(), RunError> {
        if self.engine.is_open()
            && let Some(mut ready) = self.topology.pipeline.ready()
            && (&mut ready).now_or_never().is_none()
        {
            self.gate = Some(ready);
            self.engine.handle(Input::Ready(false), now)?;
        }
        Ok(())
    }

    /// Closes sink and source.
    async fn close(mut self) {
        self.effects.clear();
        let (topology, sink, source) = (self.topology, self.sink, self.source);
        closed(topology, "sink", sink.close()).await;
        closed(topology, "source", source.close()).await;
    }
}

/// Waits for the end of a close, and reports its failure.
async fn closed<E: fmt::Display>(
    topology: &Topology,
    end: &str,
    close: impl Future<Output = Result<(), E>> + Send,
) {
    let limit = topology.limits.flush_timeout();
    let problem = match timeout(limit, close).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("{end}: {error}"),
        Err(_) => format!("{end}: not closed within {limit:?}"),
    };
    topology.context.observers.emit(&Event::CloseFailed(&problem));
}

type SourceEvents<'a> = BoxStream<'a, Result<SourceEvent, SourceError>>;

/// Inputs of which many may be there at once.
#[derive(Clone, Copy)]
enum Kind {
    Job,
    Persist,
    Source,
    Other,
}

/// A job that is executed.
struct Executing<'a> {
    job: JobId,
    execution: Execution<'a>,
}

impl<'a> Future for Executing<'a> {
    type Output = (JobId, ExecutionEnd<'a>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.execution.poll_unpin(cx).map(|step| (self.job, step))
    }
}

fn job_input<'a>((job, step): (JobId, ExecutionEnd<'a>)) -> Input<'a> {
    match step {
        ExecutionEnd::Finished(finished) => Input::Done(job, finished),
        ExecutionEnd::Waits(wait, execution) => Input::Waits(job, wait, execution),
    }
}

async fn timed<T>(effect: impl Future<Output = T>) -> (T, Duration) {
    let started = Instant::now();
    let result = effect.await;
    (result, started.elapsed())
}

/// Completes when one of the futures does, and takes it out; never, if there is none. Cancelled,
/// all of them stay.
async fn completed<K: Clone + Ord, T>(futures: &mut BTreeMap<K, BoxFuture<'_, T>>) -> T {
    poll_fn(|cx| {
        let ended = futures.iter_mut().find_map(|(key, future)| match future.poll_unpin(cx) {
            Poll::Ready(output) => Some((key.clone(), output)),
            Poll::Pending => None,
        });
        let Some((key, output)) = ended else { return Poll::Pending };
        futures.remove(&key);
        Poll::Ready(output)
    })
    .await
}

/// Completes when the future does, and takes it out; never, if there is none.
async fn opened(gate: &mut Option<BoxFuture<'_, ()>>) {
    let Some(ready) = gate else { return pending().await };
    ready.await;
    *gate = None;
}
