//! Stages: what a record passes through, one after another, before and after it is executed.

use crate::record::ConsumerRecord;

/// One step of a topology. Filters and maps are stages; implement this for one of your own.
///
/// A stage is a function of the record alone: it does not wait and it must not panic. What waits
/// (a lookup, a call) is a [`JobSink`](crate::sinks::JobSink).
pub trait Stage<In>: Send + Sync {
    /// What it hands to the next stage.
    type Out;

    /// Takes what the stage before it handed on. `record` is what it was decoded from.
    fn apply(&self, record: &ConsumerRecord, input: In) -> Flow<Self::Out>;

    /// Adds what it is, for a picture of the topology. Unless it is implemented, it is
    /// [one of your own](StageKind::Own), with the name of its type.
    fn describe(&self, stages: &mut Vec<StageKind>) {
        let path = std::any::type_name::<Self>();
        let path = path.split('<').next().unwrap_or(path);
        stages.push(StageKind::Own(path.rsplit("::").next().unwrap_or(path)));
    }
}

/// What a stage of a topology is, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StageKind {
    /// It decodes.
    Decode,
    /// It passes on some of its input, and skips the rest under this name.
    Filter(&'static str),
    /// It makes something of its input.
    Map,
    /// It is of your own, of this type.
    Own(&'static str),
    /// It executes.
    Execute,
    /// It encodes.
    Encode,
}

impl StageKind {
    /// What it is called: its own name, or what it does.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Filter(name) | Self::Own(name) => name,
            Self::Map => "map",
            Self::Execute => "execute",
            Self::Encode => "encode",
        }
    }
}

/// Where a record goes after a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow<T> {
    /// To the next stage.
    Next(T),
    /// Nowhere: it is finished, without output. The name of the stage labels the count.
    Skip(&'static str),
    /// To the dead letters, with the record's bytes as they came.
    DeadLetter {
        /// A short label of bounded variety, for filters and metrics.
        reason: &'static str,
        /// What was found and what was expected, for people: type and place, and nothing of the
        /// record. It is cut at [`REASON_LIMIT_BYTES`](crate::reason::REASON_LIMIT_BYTES).
        cause: String,
    },
}

/// The empty chain of stages.
#[derive(Clone, Copy, Debug)]
pub struct Identity;

impl<T> Stage<T> for Identity {
    type Out = T;

    fn apply(&self, _: &ConsumerRecord, input: T) -> Flow<T> {
        Flow::Next(input)
    }

    fn describe(&self, _: &mut Vec<StageKind>) {}
}

/// A stage and the one after it.
#[derive(Clone, Copy, Debug)]
pub struct Then<A, B>(pub(in crate::topology) A, pub(in crate::topology) B);

impl<In, A: Stage<In>, B: Stage<A::Out>> Stage<In> for Then<A, B> {
    type Out = B::Out;

    #[inline]
    fn apply(&self, record: &ConsumerRecord, input: In) -> Flow<B::Out> {
        match self.0.apply(record, input) {
            Flow::Next(input) => self.1.apply(record, input),
            Flow::Skip(stage) => Flow::Skip(stage),
            Flow::DeadLetter { reason, cause } => Flow::DeadLetter { reason, cause },
        }
    }

    fn describe(&self, stages: &mut Vec<StageKind>) {
        self.0.describe(stages);
        self.1.describe(stages);
    }
}

/// Passes on what a predicate holds for, and skips the rest under its name.
#[derive(Clone, Copy, Debug)]
pub struct Filter<F> {
    pub(in crate::topology) name: &'static str,
    pub(in crate::topology) predicate: F,
}

impl<T, F: Fn(&T) -> bool + Send + Sync> Stage<T> for Filter<F> {
    type Out = T;

    fn apply(&self, _: &ConsumerRecord, input: T) -> Flow<T> {
        if (self.predicate)(&input) { Flow::Next(input) } else { Flow::Skip(self.name) }
    }

    fn describe(&self, stages: &mut Vec<StageKind>) {
        stages.push(StageKind::Filter(self.name));
    }
}

/// Passes on what a function makes of its input.
#[derive(Clone, Copy, Debug)]
pub struct Map<F>(pub(in crate::topology) F);

impl<T, U, F: Fn(T) -> U + Send + Sync> Stage<T> for Map<F> {
    type Out = U;

    fn apply(&self, _: &ConsumerRecord, input: T) -> Flow<U> {
        Flow::Next((self.0)(input))
    }

    fn describe(&self, stages: &mut Vec<StageKind>) {
        stages.push(StageKind::Map);
    }
}
