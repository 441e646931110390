//! The stages of a service, in data order: written once, with a ledger or without.
//!
//! ```text
//!  Stages ─▶ decode ─▶ filter · map · stage ─▶ execute ─▶ ordered_by ─▶ encode ─▶ Topology
//! ```

use std::fmt;
use std::hash::Hash;

use jobstream::codec::Codec;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::Recorded;
use jobstream::topology::{
    self, Encode, Executed, Filter, Flow, Identity, KeyLimits, Map, Retry, Stage, StageKind, Then,
    Topology,
};

use crate::{Executor, Topics};

/// The topology of a service, before its first stage.
#[derive(Clone, Debug)]
pub struct Stages {
    topics: Topics,
    retry: Retry,
}

impl Stages {
    /// Stages between these topics, which try a job within these limits.
    pub const fn new(topics: Topics, retry: Retry) -> Self {
        Self { topics, retry }
    }

    /// The topics.
    pub const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Decodes every record's value. What the codec can't read is a dead letter.
    pub fn decode<T, C: Codec<T>>(self, codec: C) -> Decoding<T, C, Identity> {
        let decoding = Topology::builder(self.topics.dead_letters).decode(codec);
        Decoding { decoding, retry: self.retry }
    }
}

/// A topology that decodes a `T` and takes it through stages.
pub struct Decoding<T, C, S> {
    decoding: topology::Decoding<T, C, S>,
    retry: Retry,
}

impl<T, C, S: Stage<T>> Decoding<T, C, S> {
    /// Passes on what the predicate holds for; the rest is skipped, counted under `name`.
    pub fn filter<F>(self, name: &'static str, predicate: F) -> Decoding<T, C, Then<S, Filter<F>>>
    where
        F: Fn(&S::Out) -> bool + Send + Sync,
    {
        Decoding { decoding: self.decoding.filter(name, predicate), retry: self.retry }
    }

    /// Passes on what `map` makes of its input.
    pub fn map<U, F>(self, map: F) -> Decoding<T, C, Then<S, Map<F>>>
    where
        F: Fn(S::Out) -> U + Send + Sync,
    {
        Decoding { decoding: self.decoding.map(map), retry: self.retry }
    }

    /// Adds a stage of your own.
    pub fn stage<N: Stage<S::Out>>(self, next: N) -> Decoding<T, C, Then<S, N>> {
        Decoding { decoding: self.decoding.stage(next), retry: self.retry }
    }

    /// Executes what comes out of the stages so far. Jobs with the same record key are executed one
    /// at a time, in order; see [`Executes::ordered_by`].
    pub fn execute<Out: Send + 'static>(
        self,
        executor: Executor<S::Out, Out>,
    ) -> Executes<T, C, S, S::Out, Out>
    where
        S::Out: Send + Sync + 'static,
    {
        let kept = match executor {
            Executor::Sink(sink) => {
                Kept::Nothing(self.decoding.execute(sink).retry(self.retry).stage(Fresh))
            }
            Executor::Ledger(ledger) => {
                Kept::Outcomes(self.decoding.execute_with_state(ledger).retry(self.retry))
            }
        };
        Executes { kept }
    }
}

/// The stage that makes of what was executed what a ledger would have.
struct Fresh;

impl<In, Out> Stage<Executed<In, Out>> for Fresh {
    type Out = Executed<In, Recorded<Out>>;

    fn apply(&self, _: &ConsumerRecord, executed: Executed<In, Out>) -> Flow<Self::Out> {
        let Executed { input, outcome, attempts } = executed;
        let outcome = outcome.map(|out| Recorded::Fresh { out, resends: 0 });
        Flow::Next(Executed { input, outcome, attempts })
    }

    /// It is no stage of the service's.
    fn describe(&self, _: &mut Vec<StageKind>) {}
}

/// A topology that executes jobs.
pub struct Executes<T, C, S, In, Out> {
    kept: Kept<T, C, S, In, Out>,
}

/// What is kept of a job once it was executed.
enum Kept<T, C, S, In, Out> {
    Nothing(topology::Executes<T, C, S, In, Out, Then<Identity, Fresh>>),
    Outcomes(topology::Executes<T, C, S, In, Recorded<Out>, Identity>),
}

impl<T, C, S, In: 'static, Out: 'static> Executes<T, C, S, In, Out> {
    /// Orders jobs by a key of their own instead of the record's: those with an equal one are
    /// executed one at a time, in order.
    #[must_use]
    pub fn ordered_by<K, F>(self, key: F) -> Self
    where
        K: Hash + ?Sized,
        F: Fn(&In) -> &K + Send + Sync + 'static,
    {
        let kept = match self.kept {
            Kept::Nothing(executes) => Kept::Nothing(executes.ordered_by(key)),
            Kept::Outcomes(executes) => Kept::Outcomes(executes.ordered_by(key)),
        };
        Self { kept }
    }

    /// Limits the jobs with an equal key beside the limits that all jobs share; see
    /// [`limited_by`](topology::Executes::limited_by) of the library.
    #[must_use]
    pub fn limited_by<K, F>(self, key: F, limits: KeyLimits) -> Self
    where
        K: Hash + ?Sized,
        F: Fn(&In) -> &K + Send + Sync + 'static,
    {
        let kept = match self.kept {
            Kept::Nothing(executes) => Kept::Nothing(executes.limited_by(key, limits)),
            Kept::Outcomes(executes) => Kept::Outcomes(executes.limited_by(key, limits)),
        };
        Self { kept }
    }

    /// Ends the topology: what came of the jobs is encoded and published. Without a ledger each of
    /// them is [`Fresh`](Recorded::Fresh).
    pub fn encode<E>(self, encode: E) -> Topology
    where
        E: Encode<Executed<In, Recorded<Out>>> + 'static,
        T: 'static,
        C: Codec<T> + 'static,
        S: Stage<T, Out = In> + 'static,
        In: Send + Sync,
        Out: Send,
    {
        match self.kept {
            Kept::Nothing(executes) => executes.encode(encode),
            Kept::Outcomes(executes) => executes.encode(encode),
        }
    }
}

impl<T, C, S> fmt::Debug for Decoding<T, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoding").field("retry", &self.retry).finish_non_exhaustive()
    }
}

impl<T, C, S, In, Out> fmt::Debug for Executes<T, C, S, In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executes").finish_non_exhaustive()
    }
}
