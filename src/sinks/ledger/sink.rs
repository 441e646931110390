//! The ledger around a job sink.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::select;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::entry::{LedgerEntry, Outcome};
use super::event::{Event, Observer};
use super::room::{Age, Room};
use super::{LedgerKey, LedgerLimits, Recorded, WallClock};
use crate::record::ConsumerRecord;
use crate::sinks::{Ambiguous, Effect, JobError, JobErrorKind, JobSink, StatefulJobSink};
use crate::state::{PersistError, State};

/// The function that gives a job's key.
type KeyOf<In> = Box<dyn Fn(&ConsumerRecord, &In) -> LedgerKey + Send + Sync>;

/// The function that says whether a record overrules what is parked.
type Overrules = Box<dyn Fn(&ConsumerRecord) -> bool + Send + Sync>;

/// A job sink that remembers what it has executed. See the [module](super) for what is promised.
pub struct Ledger<In, Out> {
    sink: Arc<dyn JobSink<In, Out>>,
    key: KeyOf<In>,
    clock: WallClock,
    ambiguous: Ambiguous,
    limits: LedgerLimits,
    overrules: Overrules,
    observer: Arc<dyn Observer>,
    in_doubt: Semaphore,
    room: Room,
}

impl<In: Sync, Out> Ledger<In, Out> {
    /// A ledger around `sink`. Jobs with the same `key` are one job; they must also have the same
    /// key of the topology's order, or they may be executed at once. `clock` serves for the
    /// age of entries, and for nothing else.
    pub fn new(
        sink: Arc<dyn JobSink<In, Out>>,
        key: impl Fn(&ConsumerRecord, &In) -> LedgerKey + Send + Sync + 'static,
        clock: WallClock,
        ambiguous: Ambiguous,
        limits: LedgerLimits,
    ) -> Self {
        Self {
            sink,
            key: Box::new(key),
            clock,
            ambiguous,
            limits,
            overrules: Box::new(|_| false),
            observer: Arc::new(()),
            in_doubt: Semaphore::new(places(limits)),
            room: Room::default(),
        }
    }

    /// Reports what happens to this observer, in the place of the one that it had; the limit of what
    /// may be in doubt at once.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self.report_places();
        self
    }

    /// Executes a parked job again if its record says so: an operator has decided that.
    #[must_use]
    pub fn overruled_by(
        mut self,
        overrules: impl Fn(&ConsumerRecord) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.overrules = Box::new(overrules);
        self
    }

    /// What is to be done with a job, by its entry: the resends so far if it is to be executed.
    fn decide(&self, job: &Job<'_>) -> Result<u32, Decided<Out>> {
        let Some(entry) = job.state.get(&job.key).map(|value| LedgerEntry::decode(&value)) else {
            return Ok(0);
        };
        match (entry.outcome, self.ambiguous) {
            (Outcome::NotExecuted, _) => Ok(entry.resends),
            (Outcome::Done, _) => {
                self.observer.on(&Event::Duplicate(job.record));
                Err(Ok(Recorded::Duplicate { resends: entry.resends }))
            }
            (Outcome::Parked, _) if (self.overrules)(job.record) => Ok(entry.resends),
            (Outcome::Parked, _) => {
                self.observer.on(&Event::StaysParked(job.record));
                Err(Err(JobError::ambiguous("it is parked in the ledger").settled()))
            }
            (Outcome::Intent, Ambiguous::Resend) => Ok(entry.resends + 1),
            (Outcome::Intent, Ambiguous::Park) => {
                let reason = "an attempt was cut off: the ledger has its intent and no outcome";
                Err(Err(self.park(job, JobError::ambiguous(reason), entry.resends)))
            }
        }
    }

    /// Completes when the attempt's intent is durable.
    async fn intend(&self, job: &Job<'_>, resends: u32) -> Result<(), JobError> {
        let state = job.state;
        let known = state.get(&job.key).map(|value| LedgerEntry::decode(&value));
        let partition = state.partition();
        let mut pruned = self.room.prune(state, self.age());
        if known.is_none() && state.len().saturating_sub(pruned) >= self.limits.entries_max {
            pruned += self.room.prune_when_full(state, self.age());
            if state.len().saturating_sub(pruned) >= self.limits.entries_max {
                return Err(self.full(state));
            }
        }
        self.put(job, Outcome::Intent, resends);
        // From the search to the persist nothing is awaited: see `Room::search`.
        state.persist().await.map_err(|error| not_recorded(&error))?;
        if self.room.has_room(partition) {
            self.observer.on(&Event::HasRoom { partition });
        }
        if pruned > 0 {
            self.observer.on(&Event::Pruned { partition, entries: pruned });
        }
        self.observer.on(&Event::Intended { record: job.record, entries: state.len() });
        if resends > known.map_or(0, |entry| entry.resends) {
            self.observer.on(&Event::Resent { record: job.record, resends });
        }
        Ok(())
    }

    fn full(&self, state: &State) -> JobError {
        let (partition, entries) = (state.partition(), state.len());
        if self.room.is_full(partition) {
            self.observer.on(&Event::Full { partition, entries });
        }
        JobError::unavailable(format!("the ledger of partition {partition} has {entries} entries"))
    }

    /// Records how an attempt ended: durably, unless it is left open and tried again.
    async fn record(
        &self,
        job: &Job<'_>,
        outcome: Result<Out, JobError>,
        resends: u32,
    ) -> Decided<Out> {
        let answered = Instant::now();
        let error = match outcome {
            Ok(out) => {
                self.put(job, Outcome::Done, resends);
                self.persist_outcome(job, answered).await?;
                return Ok(Recorded::Fresh { out, resends });
            }
            Err(error) => error,
        };
        let error = match (error.kind(), self.ambiguous) {
            (JobErrorKind::Ambiguous, Ambiguous::Resend) => return Err(error),
            (JobErrorKind::Permanent, _) => {
                job.state.remove(&job.key);
                error
            }
            (JobErrorKind::Ambiguous, Ambiguous::Park) => self.park(job, error, resends),
            (JobErrorKind::Transient | JobErrorKind::Unavailable, _) => {
                self.put(job, Outcome::NotExecuted, resends);
                error
            }
        };
        self.persist_outcome(job, answered).await?;
        if matches!(error.kind(), JobErrorKind::Transient | JobErrorKind::Unavailable) {
            self.observer.on(&Event::NotExecuted(job.record));
        }
        Err(error)
    }

    /// Completes when it is durable that an attempt whose effect had not begun was given up: nothing is
    /// in doubt of it. Where its intent is still to be published, this comes after it, or in its place.
    async fn withdraw(&self, job: &Job<'_>, resends: u32) -> JobError {
        self.put(job, Outcome::NotExecuted, resends);
        match self.persist_outcome(job, Instant::now()).await {
            Ok(()) => {
                self.observer.on(&Event::Withdrawn(job.record));
                withdrawn()
            }
            Err(error) => error,
        }
    }

    /// Completes when the outcome of an attempt is durable, which was known at this time.
    async fn persist_outcome(&self, job: &Job<'_>, answered: Instant) -> Result<(), JobError> {
        job.state.persist().await.map_err(|error| not_recorded(&error))?;
        let took = answered.elapsed();
        self.observer.on(&Event::OutcomeDurable { record: job.record, took });
        Ok(())
    }

    /// Writes the intent, executes the job, and records the outcome.
    async fn attempt(
        &self,
        job: &Job<'_>,
        input: &In,
        resends: u32,
        mut drain_ends: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Decided<Out> {
        select! {
            biased;
            () = &mut drain_ends => return Err(self.withdraw(job, resends).await),
            intended = self.intend(job, resends) => intended?,
        }
        let effect = Effect::new();
        let mut execution = self.sink.execute_with_effect(input, job.record, &effect);
        let mut has_ended = false;
        let ended = poll_fn(|cx| {
            has_ended = has_ended || drain_ends.as_mut().poll(cx).is_ready();
            if has_ended && !effect.has_begun() {
                return Poll::Ready(None);
            }
            execution.as_mut().poll(cx).map(Some)
        });
        let ended = ended.await;
        // What it holds is free before anything else is awaited: a connection, say.
        drop(execution);
        match ended {
            Some(outcome) => self.record(job, outcome, resends).await,
            None => Err(self.withdraw(job, resends).await),
        }
    }

    fn park(&self, job: &Job<'_>, error: JobError, resends: u32) -> JobError {
        self.put(job, Outcome::Parked, resends);
        self.observer.on(&Event::Parked(job.record));
        error.settled()
    }

    fn put(&self, job: &Job<'_>, outcome: Outcome, resends: u32) {
        let written_ms = self.age().now_ms;
        let entry = LedgerEntry { outcome, offset: job.record.offset, written_ms, resends };
        job.state.put(&job.key, &entry.encode());
    }

    /// A place among those in doubt: the attempt has it until its outcome is durable.
    async fn place(&self) -> Place<'_, In, Out> {
        let permit = self.in_doubt.acquire().await.expect("it is never closed");
        self.report_places();
        Place { ledger: self, permit: Some(permit) }
    }

    fn age(&self) -> Age {
        Age { now_ms: milliseconds((self.clock)()), retention: self.limits.retention }
    }
}

impl<In, Out> Ledger<In, Out> {
    fn report_places(&self) {
        let limit = places(self.limits);
        let now = limit - self.in_doubt.available_permits();
        self.observer.on(&Event::InDoubt { now, limit });
    }
}

/// A place among the jobs in doubt, until it is dropped.
struct Place<'a, In, Out> {
    ledger: &'a Ledger<In, Out>,
    permit: Option<SemaphorePermit<'a>>,
}

impl<In, Out> Drop for Place<'_, In, Out> {
    fn drop(&mut self) {
        drop(self.permit.take());
        self.ledger.report_places();
    }
}

/// An attempt between its intent and its outcome. Dropped there, it leaves open whether the job was
/// executed.
struct Open<'a> {
    observer: &'a dyn Observer,
    record: &'a ConsumerRecord,
    is_open: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.observer.on(&Event::LeftInDoubt(self.record));
        }
    }
}

type Decided<Out> = Result<Recorded<Out>, JobError>;

/// A job that is being looked at.
struct Job<'a> {
    key: LedgerKey,
    record: &'a ConsumerRecord,
    state: &'a State,
}

#[async_trait]
impl<In: Sync, Out: Send> StatefulJobSink<In, Recorded<Out>> for Ledger<In, Out> {
    /// Executes a job unless the ledger knows better. Dropped after its intent is durable, it
    /// leaves open whether the job was executed; where the time of a drain is over, it withdraws.
    async fn execute(&self, input: &In, record: &ConsumerRecord, state: &State) -> Decided<Out> {
        let job = Job { key: (self.key)(record, input), record, state };
        let _in_use = self.room.hold(state.partition(), job.key);
        let resends = match self.decide(&job) {
            Ok(resends) => resends,
            Err(decided) => return decided,
        };
        let mut drain_ends = pin!(state.drain_ends());
        let _place = select! {
            biased;
            () = &mut drain_ends => return Err(withdrawn()),
            place = self.place() => place,
        };
        let mut open = Open { observer: &*self.observer, record, is_open: true };
        let decided = self.attempt(&job, input, resends, drain_ends).await;
        open.is_open = false;
        decided
    }

    /// At the end of a drain no intent is written any more, and an intent whose effect has not begun is
    /// withdrawn.
    fn withdraws(&self) -> bool {
        true
    }

    /// Pending while the ledger is full, or the job sink is not ready.
    async fn ready(&self) {
        self.room.wait().await;
        self.sink.ready().await;
    }
}

/// How many jobs may be in doubt.
fn places(limits: LedgerLimits) -> usize {
    limits.in_doubt_max.clamp(1, Semaphore::MAX_PERMITS)
}

fn withdrawn() -> JobError {
    JobError::unavailable("the drain's time is over before its effect began")
}

fn not_recorded(error: &PersistError) -> JobError {
    JobError::unavailable(format!("the ledger can't be written: {error}"))
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl<In, Out> fmt::Debug for Ledger<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("ambiguous", &self.ambiguous)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
