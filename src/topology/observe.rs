//! The events of a run: the one seam of logs, metrics and traces.
//!
//! An observer is notified and changes nothing. The context of a trace must be in the outputs of a
//! record and around each poll of its job, so it has a seam of its own, the
//! [propagator](crate::topology::Propagator), which costs nothing where it is not used.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::position::PartitionPosition;
use crate::record::{ConsumerRecord, Topic, TopicPartition};
use crate::sinks::{Batch, JobError, JobErrorKind, RecordMetadata, SinkError};
use crate::sources::{Assignment, CommitError, Reset};

/// Is notified of everything that happens in a run, on the run's own task: it must return soon and
/// must not block. Closures implement it.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for F {
    fn on(&self, event: &Event<'_>) {
        self(event);
    }
}

/// Ignores every event.
impl Observer for () {
    fn on(&self, _: &Event<'_>) {}
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

/// Notifies all of them, in order.
impl<O: Observer> Observer for Vec<O> {
    fn on(&self, event: &Event<'_>) {
        self.iter().for_each(|observer| observer.on(event));
    }
}

/// What happened. Durations are by tokio's clock.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A partition is new to this worker.
    Assigned(&'a Assignment),
    /// A partition is asked back; what is in flight is drained.
    Revoked(&'a TopicPartition),
    /// A partition is gone; what was in flight is abandoned.
    Lost(&'a TopicPartition),
    /// A partition's last position is committed and it was given up.
    Released(&'a TopicPartition),
    /// A partition's offsets went back: what was known of it is dropped, and it begins anew.
    Reset {
        /// The partition.
        partition: &'a TopicPartition,
        /// What has shown it.
        reset: Reset,
    },
    /// Retention removed the offsets from `from` up to, not including, `to` before they were read.
    Truncated {
        /// The partition.
        partition: &'a TopicPartition,
        /// The first offset that is lost.
        from: i64,
        /// The first offset that is there.
        to: i64,
        /// Those of them that the position did not count as finished. Not each need have had a
        /// record.
        unfinished: u64,
    },
    /// The part of the keyed state that the partitions of this number share was restored, and they
    /// take in records.
    Restored {
        /// The partition number.
        partition: i32,
        /// Entries in the part.
        entries: usize,
        /// How long it took since the assignment.
        took: Duration,
    },
    /// The store's topic was deleted and created again: what this worker knows of the part of this
    /// number is published again.
    Carried {
        /// The partition number.
        partition: i32,
        /// The entries that are published again.
        entries: usize,
    },
    /// The store has no place for the part of the keyed state that the partitions of this number
    /// share: they take in no record until it has, and the others go on. Emitted each time that the
    /// part is found missing.
    PartMissing {
        /// The partition number.
        partition: i32,
        /// What was found and what was expected, for people.
        reason: &'a str,
    },
    /// A record was taken in.
    Fetched(&'a ConsumerRecord),
    /// A record was taken in that a former owner of the partition had finished; it is passed over.
    AlreadyFinished(&'a ConsumerRecord),
    /// A record was taken in that was executed before its partition was lost for a while; its
    /// outputs, which were not published, are going to be.
    AlreadyExecuted(&'a ConsumerRecord),
    /// A record was decoded, or could not be.
    Decoded {
        /// The record.
        record: &'a ConsumerRecord,
        /// How long it took.
        took: Duration,
    },
    /// The record has passed the stages between decoding and execution. If one of them stopped it,
    /// the next event says so.
    Filtered {
        /// The record.
        record: &'a ConsumerRecord,
        /// How long it took.
        took: Duration,
    },
    /// A stage skipped a record.
    Skipped {
        /// The record.
        record: &'a ConsumerRecord,
        /// The stage's name.
        stage: &'static str,
    },
    /// A job sink begins an attempt.
    Executing {
        /// The record.
        record: &'a ConsumerRecord,
        /// Which attempt, from 1; an attempt that found the job sink unavailable does not count.
        attempt: u32,
    },
    /// A job sink ended an attempt.
    Executed {
        /// The record.
        record: &'a ConsumerRecord,
        /// Which attempt, from 1; an attempt that found the job sink unavailable does not count.
        attempt: u32,
        /// Why it failed, if it did.
        error: Option<&'a JobError>,
        /// How long it took.
        took: Duration,
    },
    /// A job waits for its next attempt.
    Retried {
        /// The record.
        record: &'a ConsumerRecord,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How long it waits.
        delay: Duration,
        /// Why it failed.
        error: &'a JobError,
    },
    /// A job waits for the job sink to be ready.
    Suspended {
        /// The record.
        record: &'a ConsumerRecord,
        /// Why the job sink is unavailable.
        error: &'a JobError,
    },
    /// What came of a record was encoded, or could not be.
    Encoded {
        /// The record.
        record: &'a ConsumerRecord,
        /// How long it took.
        took: Duration,
    },
    /// The topic takes not even the dead letter of a record without value, key and headers, which is
    /// as small as it can be: the record is not finished, and its dead letter is published alone, every
    /// 5 s, until the topic takes it. The others go on.
    Withheld {
        /// The record.
        record: &'a ConsumerRecord,
        /// The topic of dead letters.
        topic: &'a Topic,
    },
    /// A dead letter was made.
    DeadLettered {
        /// The record.
        record: &'a ConsumerRecord,
        /// A short label of bounded variety.
        reason: &'static str,
        /// For people.
        cause: &'a str,
    },
    /// A batch was acknowledged.
    Published {
        /// The batch.
        batch: &'a Batch,
        /// Where its outputs are, in its order; empty unless the sink was built to keep that.
        places: &'a [RecordMetadata],
        /// How long it took.
        took: Duration,
    },
    /// A batch, or a part of it, was not published and is going to be again.
    PublishFailed(&'a SinkError),
    /// Positions were committed, through the source or with the batch of the event before.
    Committed {
        /// The positions.
        positions: &'a [PartitionPosition],
        /// How long it took.
        took: Duration,
    },
    /// Positions were not committed; unless the partition is gone, they are going to be.
    CommitFailed(&'a CommitError),
    /// A record has met its fate: its outputs, if any, are acknowledged.
    Finished {
        /// The record.
        record: &'a ConsumerRecord,
        /// Its fate.
        fate: Fate,
        /// Attempts of its job that count, the last included; 0 if it was not executed. See
        /// [`Executing`](Self::Executing).
        attempts: u32,
        /// How long it took since the record was taken in.
        took: Duration,
    },
    /// Source or sink could not be closed in time, or at all.
    CloseFailed(&'a str),
    /// Where a partition stands; emitted at every commit interval.
    Frontier {
        /// The partition.
        partition: &'a TopicPartition,
        /// The lowest unfinished offset.
        offset: i64,
        /// Records taken in and not finished.
        in_flight: usize,
        /// How long the frontier has stood before an unfinished record; zero if there is none.
        age: Duration,
    },
    /// The loop of a run turns, whether or not there are partitions; emitted when it begins, and at
    /// every commit interval after the partitions' [`Frontier`](Self::Frontier).
    Turned(RunId),
    /// A run has ended, or was dropped: its loop turns no more.
    Ended(RunId),
    /// The frontier of a partition has stood still for longer than the limit; emitted once for each
    /// record that it stands at.
    Stuck {
        /// The partition.
        partition: &'a TopicPartition,
        /// The record that is not finished.
        offset: i64,
        /// For how long.
        age: Duration,
    },
    /// Intake has stopped (a limit is reached, the job sink is not ready, or outputs are refused again and
    /// again) or goes on.
    Intake {
        /// Whether records are taken in.
        open: bool,
    },
    /// A drain's time is over: this many records of a partition are left unfinished.
    CutOff {
        /// The partition.
        partition: &'a TopicPartition,
        /// How many.
        unfinished: usize,
    },
}

/// Distinguishes the runs of a process. It means nothing beyond the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(u64);

/// Reports that a run's loop turns, from the begin on, and, when it is dropped, that it does no
/// more.
pub(super) struct Turning<'a> {
    run: RunId,
    observers: &'a Observers,
}

impl<'a> Turning<'a> {
    pub(super) fn new(observers: &'a Observers) -> Self {
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let turning = Self { run: RunId(RUNS.fetch_add(1, Relaxed)), observers };
        turning.turned();
        turning
    }

    pub(super) fn turned(&self) {
        self.observers.emit(&Event::Turned(self.run));
    }
}

impl Drop for Turning<'_> {
    fn drop(&mut self) {
        self.observers.emit(&Event::Ended(self.run));
    }
}

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fate {
    /// A stage of this name skipped it.
    Skipped(&'static str),
    /// It is a dead letter, for this reason.
    DeadLettered(&'static str),
    /// It went through, and its job, if it has one, was executed.
    Succeeded,
    /// Its job was not executed, or nobody knows.
    Failed(JobErrorKind),
}

/// The observers of a topology.
#[derive(Clone, Default)]
pub(super) struct Observers(Vec<Arc<dyn Observer>>);

impl Observers {
    pub(super) fn push(&mut self, observer: Arc<dyn Observer>) {
        self.0.push(observer);
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[inline]
    pub(super) fn emit(&self, event: &Event<'_>) {
        for observer in &self.0 {
            observer.on(event);
        }
    }

    /// What `act` gives. How long it took is measured and emitted only if there is an observer.
    #[inline]
    pub(super) fn timed<'a, T>(
        &self,
        act: impl FnOnce() -> T,
        event: impl FnOnce(Duration) -> Event<'a>,
    ) -> T {
        if self.is_empty() {
            return act();
        }
        let started = Instant::now();
        let done = act();
        self.emit(&event(started.elapsed()));
        done
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}
