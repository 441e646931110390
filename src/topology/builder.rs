//! The builder: stages in data order, each step with the methods that can follow it.
//!
//! # Why a topology says that its state is not fenced
//!
//! A ledger without a store, or with a sink that leaves positions to the source, runs and looks
//! right until a member that has lost its partitions writes. So a run between such ends does not
//! begin, unless the topology was built [`with_state_in_memory`](Topology::with_state_in_memory) or
//! [`with_unfenced_state`](Topology::with_unfenced_state). The sink says by
//! [`commits`](crate::sinks::Sink::commits) what it is.

use std::fmt;
use std::hash::{Hash, Hasher as _};
use std::marker::PhantomData;
use std::sync::Arc;

use rustc_hash::FxHasher;

use super::Topology;
use super::limits::KeyLimits;
use super::stages::{
    DeadLetters, Encode, Executed, Executing, Execution, Filter, Front, Identity, KeyHash, KeyOf,
    Limited, Map, Retry, Stage, Straight, Then,
};
use crate::codec::Codec;
use crate::record::{ConsumerRecord, ProducerRecord, Topic};
use crate::sinks::{JobSink, StatefulJobSink};

/// A topology that does not decode yet.
#[derive(Debug)]
pub struct Builder {
    dead_letters: DeadLetters,
}

impl Builder {
    pub(super) fn new(topic: Topic) -> Self {
        Self { dead_letters: DeadLetters { topic, beside: None } }
    }

    /// Publishes these records together with every dead letter of the stages, for instance to tell
    /// whoever waits for the outcome. One that is made because an output is too large goes alone.
    #[must_use]
    pub fn beside_dead_letters<F>(mut self, records: F) -> Self
    where
        F: Fn(&ConsumerRecord) -> Vec<ProducerRecord> + Send + Sync + 'static,
    {
        self.dead_letters.beside = Some(Box::new(records));
        self
    }

    /// Decodes every record's value. What the codec can't read is a dead letter, with the reason
    /// [`UNDECODABLE`](super::UNDECODABLE).
    pub fn decode<T, C: Codec<T>>(self, codec: C) -> Decoding<T, C, Identity> {
        let front = Front { dead_letters: self.dead_letters, codec, stages: Identity };
        Decoding { front, decoded: PhantomData }
    }
}

/// A topology that decodes a `T` and takes it through stages.
pub struct Decoding<T, C, S> {
    front: Front<C, S>,
    decoded: PhantomData<fn(T)>,
}

impl<T, C, S: Stage<T>> Decoding<T, C, S> {
    /// Passes on what the predicate holds for; the rest is skipped, counted under `name`.
    pub fn filter<F>(self, name: &'static str, predicate: F) -> Decoding<T, C, Then<S, Filter<F>>>
    where
        F: Fn(&S::Out) -> bool + Send + Sync,
    {
        self.stage(Filter { name, predicate })
    }

    /// Passes on what `map` makes of its input.
    pub fn map<U, F>(self, map: F) -> Decoding<T, C, Then<S, Map<F>>>
    where
        F: Fn(S::Out) -> U + Send + Sync,
    {
        self.stage(Map(map))
    }

    /// Adds a stage of your own.
    pub fn stage<N: Stage<S::Out>>(self, next: N) -> Decoding<T, C, Then<S, N>> {
        let Front { dead_letters, codec, stages } = self.front;
        let front = Front { dead_letters, codec, stages: Then(stages, next) };
        Decoding { front, decoded: PhantomData }
    }

    /// Executes what comes out of the stages so far. Jobs with the same record key are executed one
    /// at a time, in order; those without a key in no order. See [`Executes::ordered_by`].
    pub fn execute<Out>(
        self,
        sink: Arc<dyn JobSink<S::Out, Out>>,
    ) -> Executes<T, C, S, S::Out, Out, Identity>
    where
        S::Out: Send + Sync,
    {
        self.execute_by(Executor::Stateless(sink))
    }

    /// Executes what comes out of the stages so far, with the keyed state of the record's
    /// partition; otherwise like [`execute`](Self::execute).
    ///
    /// The state outlives the worker in its [store](super::Worker::store), and the sink of the worker
    /// must fence those that have lost a partition; a topology that does without says so
    /// ([`with_state_in_memory`](Topology::with_state_in_memory),
    /// [`with_unfenced_state`](Topology::with_unfenced_state)).
    pub fn execute_with_state<Out>(
        self,
        sink: Arc<dyn StatefulJobSink<S::Out, Out>>,
    ) -> Executes<T, C, S, S::Out, Out, Identity>
    where
        S::Out: Send + Sync,
    {
        self.execute_by(Executor::Stateful(sink))
    }

    fn execute_by<Out>(
        self,
        executor: Executor<S::Out, Out>,
    ) -> Executes<T, C, S, S::Out, Out, Identity> {
        Executes {
            front: self.front,
            key: Box::new(|record, _| record.key.as_ref().map(hash)),
            limited: None,
            executor,
            retry: Retry::default(),
            back: Identity,
            decoded: PhantomData,
        }
    }

    /// Ends the topology: what comes out of the stages is encoded and published.
    pub fn encode<E: Encode<S::Out> + 'static>(self, encode: E) -> Topology
    where
        T: 'static,
        C: Codec<T> + 'static,
        S: 'static,
    {
        Topology::new(Arc::new(Straight { front: self.front, encode, decoded: PhantomData }))
    }
}

/// Whether jobs are executed with state.
enum Executor<In, Out> {
    Stateless(Arc<dyn JobSink<In, Out>>),
    Stateful(Arc<dyn StatefulJobSink<In, Out>>),
}

/// A topology that executes jobs and takes what came of them through stages.
pub struct Executes<T, C, S, In, Out, B> {
    front: Front<C, S>,
    key: KeyOf<In>,
    limited: Option<Limited<In>>,
    executor: Executor<In, Out>,
    retry: Retry,
    back: B,
    decoded: PhantomData<fn(T)>,
}

impl<T, C, S, In: 'static, Out, B: Stage<Executed<In, Out>>> Executes<T, C, S, In, Out, B> {
    /// Orders jobs by a key of their own instead of the record's: those with an equal one are
    /// executed one at a time, in order.
    #[must_use]
    pub fn ordered_by<K, F>(mut self, key: F) -> Self
    where
        K: Hash + ?Sized,
        F: Fn(&In) -> &K + Send + Sync + 'static,
    {
        self.key = Box::new(move |_: &ConsumerRecord, input: &In| Some(hash(key(input))));
        self
    }

    /// Limits the jobs with an equal key (a tenant, a host) beside the limits that all jobs share,
    /// [`Limits::executing_records`](super::Limits::executing_records) and the job sink's own. It
    /// replaces earlier such limits.
    ///
    /// Keys take turns: where there are fewer places than jobs that may begin, each key begins one
    /// job after the other keys have. A job over its key's limit waits outside of the places that
    /// other keys need; it counts as in flight, like one that waits for its next attempt.
    ///
    /// A key that is slow, or has more jobs than it may execute, can't use up what is in flight for
    /// the others. All jobs that wait (for their key's turn, for the job before them, for their next
    /// attempt) share a room: [`Limits::in_flight_records`](super::Limits::in_flight_records) less
    /// those that may execute, and half of it at least; half of
    /// [`Limits::in_flight_bytes`](super::Limits::in_flight_bytes). The jobs of one key are at most as
    /// many as there is room left: one key has half of the room at most, ten have an eleventh each. A
    /// partition takes in one record beyond that, and no more until its key has room, since records
    /// are taken in in the order of their offsets. So what stands behind many jobs of one key, in the
    /// same partition, waits for them; every other partition goes on.
    #[must_use]
    pub fn limited_by<K, F>(mut self, key: F, limits: KeyLimits) -> Self
    where
        K: Hash + ?Sized,
        F: Fn(&In) -> &K + Send + Sync + 'static,
    {
        self.limited = Some(Limited { key: Box::new(move |input| hash(key(input))), limits });
        self
    }

    /// Sets the limits of a job's attempts.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Passes on what the predicate holds for; the rest is finished without output.
    pub fn filter<F>(
        self,
        name: &'static str,
        predicate: F,
    ) -> Executes<T, C, S, In, Out, Then<B, Filter<F>>>
    where
        F: Fn(&B::Out) -> bool + Send + Sync,
    {
        self.stage(Filter { name, predicate })
    }

    /// Passes on what `map` makes of its input.
    pub fn map<U, F>(self, map: F) -> Executes<T, C, S, In, Out, Then<B, Map<F>>>
    where
        F: Fn(B::Out) -> U + Send + Sync,
    {
        self.stage(Map(map))
    }

    /// Adds a stage of your own.
    pub fn stage<N: Stage<B::Out>>(self, next: N) -> Executes<T, C, S, In, Out, Then<B, N>> {
        let Self { front, key, limited, executor, retry, back, decoded } = self;
        Executes { front, key, limited, executor, retry, back: Then(back, next), decoded }
    }

    /// Ends the topology: what came of the jobs is encoded and published.
    pub fn encode<E: Encode<B::Out> + 'static>(self, encode: E) -> Topology
    where
        T: 'static,
        C: Codec<T> + 'static,
        S: Stage<T, Out = In> + 'static,
        In: Send + Sync,
        Out: Send + 'static,
        B: 'static,
    {
        let Self { front, key, limited, executor, retry, back, decoded } = self;
        match executor {
            Executor::Stateless(sink) => {
                let execution = Execution::new(sink, retry);
                let all = Executing { front, key, limited, execution, back, encode, decoded };
                Topology::new(Arc::new(all))
            }
            Executor::Stateful(sink) => {
                let execution = Execution::new(sink, retry);
                let all = Executing { front, key, limited, execution, back, encode, decoded };
                Topology::new(Arc::new(all))
            }
        }
    }
}

impl<T, C, S> fmt::Debug for Decoding<T, C, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoding").field("dead_letters", &self.front.dead_letters).finish()
    }
}

impl<T, C, S, In, Out, B> fmt::Debug for Executes<T, C, S, In, Out, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executes").field("dead_letters", &self.front.dead_letters).finish()
    }
}

fn hash<K: Hash + ?Sized>(key: &K) -> KeyHash {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    hasher.finish()
}
