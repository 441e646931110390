//! The ledger around a job sink.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::select;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::entry::{LedgerEntry, Outcome};
use super::event::{Event, Observer};
use super::room::{Age, Room};
use super::{LedgerKey, LedgerLimits, Recorded, WallClock};
use crate::record::ConsumerRecord;
use crate::sinks::{
    Ambiguous, Effect, JobError, JobErrorKind, JobSink, StatefulJobSink, execute_within,
};
use crate::state::{PersistError, State};

/// Why a job without a key is refused.
const UNKEYED: &str = "found no record key, expected one: without it the same job can come in another \
                       partition, where the ledger does not know it";

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
    executes_unkeyed: bool,
    observer: Arc<dyn Observer>,
    in_doubt: Semaphore,
    room: Room,
}

impl<In: Sync, Out> Ledger<In, Out> {
    /// A ledger around `sink`. Jobs with the same `key` are one job; they must also have the same
    /// key of the topology's order, or they may be executed at once. `clock` serves for the
    /// age of entries, and for nothing else.
    ///
    /// Entries are known in one partition, so whatever `key` is made of must decide the partition: the
    /// records of one job have one record key, which producers place them by. A job whose record has
    /// no key can come in any partition, and is [refused](Self::executing_unkeyed).
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
            executes_unkeyed: false,
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

    /// Executes jobs whose records have no key, too. The same job in another partition is another
    /// job then, and is executed once more. Without this such a job is finished as failed, as
    /// permanent; either way it is [reported](Event::Unkeyed).
    #[must_use]
    pub const fn executing_unkeyed(mut self) -> Self {
        self.executes_unkeyed = true;
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
        let Some(entry) = self.room.entry(job.state, &job.key) else { return Ok(0) };
        self.report_unreadable(job.state.partition());
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
        let known = self.room.entry(state, &job.key);
        let partition = state.partition();
        let mut pruned = self.room.prune(state, self.age());
        if known.is_none() && state.len().saturating_sub(pruned) >= self.limits.entries_max {
            pruned += self.room.prune_when_full(state, self.age());
            if state.len().saturating_sub(pruned) >= self.limits.entries_max {
                return Err(self.full(state));
            }
        }
        self.report_unreadable(partition);
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

    fn report_unreadable(&self, partition: i32) {
        if let Some(found) = self.room.unreadable(partition) {
            self.observer.on(&Event::Unreadable { partition, found: &found });
        }
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
            // Before the result is durable the job may be executed again, which then counts all resends.
            (JobErrorKind::Permanent, _) if resends > 0 => {
                self.put(job, Outcome::NotExecuted, resends);
                error
            }
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
        let ended = {
            // What it holds is free before anything else is awaited: a connection, say.
            let mut execution = pin!(self.execute_once(job, input, &effect));
            let mut has_ended = false;
            poll_fn(|cx| {
                has_ended = has_ended || drain_ends.as_mut().poll(cx).is_ready();
                if has_ended && !effect.has_begun() {
                    return Poll::Ready(None);
                }
                execution.as_mut().poll(cx).map(Some)
            })
            .await
        };
        match ended {
            Some(outcome) => self.record(job, outcome, resends).await,
            None => Err(self.withdraw(job, resends).await),
        }
    }

    /// Executes the job once within its time limit. The gate may have shut while the intent was
    /// written.
    async fn execute_once(
        &self,
        job: &Job<'_>,
        input: &In,
        effect: &Effect,
    ) -> Result<Out, JobError> {
        self.sink.ready().await;
        let limit = job.state.attempt_timeout();
        execute_within(&*self.sink, input, job.record, effect, limit).await
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

    /// A place among those in doubt, while the gate is open: the attempt has it until its outcome is
    /// durable.
    async fn place(&self) -> Place<'_, In, Out> {
        loop {
            self.sink.ready().await;
            let permit = self.in_doubt.acquire().await.expect("it is never closed");
            // Nobody is in doubt for a gate that has shut meanwhile.
            if self.sink.ready().now_or_never().is_some() {
                self.report_places();
                return Place { ledger: self, permit: Some(permit) };
            }
        }
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
        if record.key.is_none() {
            self.observer.on(&Event::Unkeyed(record));
            if !self.executes_unkeyed {
                return Err(JobError::permanent(UNKEYED));
            }
        }
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

    /// The time limit of an attempt is one of its execution: neither the wait for a place nor what
    /// the ledger writes counts, and how the attempt has ended is recorded.
    fn keeps_time(&self) -> bool {
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
