//! A topology's stages put together: what a run drives without knowing their types.

use futures::future::BoxFuture;

use super::super::limits::KeyLimits;
use super::super::observe::{Event, Fate};
use super::Context;
use super::dead_letter::{
    self, DeadLetters, MOST_REFUSALS, TOO_LARGE, UNDECODABLE, UNENCODABLE, beyond_limits,
};
use super::encode::Encode;
use super::execute::{Attempted, Executed, Execution, Executor, Job, JobState as _, States, Wait};
use super::stage::{Flow, Stage, StageKind};
use crate::codec::Codec;
use crate::reason::bounded;
use crate::record::{ConsumerRecord, ProducerRecord, Topic};
use crate::state::Changes;

/// The hash of a key. Two keys with one hash only wait for each other.
pub(in crate::topology) type KeyHash = u64;

/// All stages of a topology.
pub(in crate::topology) trait Pipeline: Send + Sync {
    /// Takes a record through the stages up to its execution, or to its end.
    fn admit<'a>(
        &'a self,
        context: &'a Context,
        record: ConsumerRecord,
        states: &dyn States,
    ) -> Admitted<'a>;

    /// Whether its jobs have keyed state; if not, it asks for none.
    fn is_stateful(&self) -> bool;

    /// See [`StatefulJobSink::withdraws`](crate::sinks::StatefulJobSink::withdraws).
    fn withdraws(&self) -> bool;

    /// Whether a record, from its execution to the acknowledgement of its outputs, keeps out the next
    /// one of its key, and there is no other order that outputs must keep.
    fn has_lanes(&self) -> bool;

    /// The limits of the jobs with one key.
    fn key_limits(&self) -> KeyLimits {
        KeyLimits::new()
    }

    /// Whether jobs can be executed: see [`JobSink::ready`](crate::sinks::JobSink::ready).
    fn ready(&self) -> Option<BoxFuture<'_, ()>>;

    /// Where dead letters go.
    fn dead_letters(&self) -> &Topic;

    /// All stages, in data order.
    fn stages(&self) -> Vec<StageKind>;
}

/// A record that was taken in.
pub(in crate::topology) enum Admitted<'a> {
    /// It needed no execution.
    Finished(Finished),
    /// It is to be executed.
    Execute(JobKeys, BoxFuture<'a, ExecutionEnd<'a>>),
}

/// The keys of a job.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::topology) struct JobKeys {
    /// Jobs with the same one are executed one at a time, in order.
    pub(in crate::topology) lane: Option<KeyHash>,
    /// Jobs with the same one share [`KeyLimits`].
    pub(in crate::topology) quota: Option<KeyHash>,
}

/// How far a record has come that is executed.
pub(in crate::topology) enum ExecutionEnd<'a> {
    /// To the end.
    Finished(Finished),
    /// It waits so long for another attempt, and goes on then.
    Waits(Wait, BoxFuture<'a, Self>),
}

/// A record that has passed all stages; with its outputs published, it has met its fate.
#[derive(Clone, Debug)]
pub(in crate::topology) struct Finished {
    pub(in crate::topology) record: ConsumerRecord,
    pub(in crate::topology) outputs: Vec<ProducerRecord>,
    pub(in crate::topology) fate: Fate,
    /// Attempts of its job.
    pub(in crate::topology) attempts: u32,
    /// What its job has changed; the records that publish it are among the outputs.
    pub(in crate::topology) changes: Option<Box<Changes>>,
}

impl Finished {
    const fn new(record: ConsumerRecord, outputs: Vec<ProducerRecord>, fate: Fate) -> Self {
        Self { record, outputs, fate, attempts: 0, changes: None }
    }
}

/// The stages before the execution.
pub(in crate::topology) struct Front<C, S> {
    pub(in crate::topology) dead_letters: DeadLetters,
    pub(in crate::topology) codec: C,
    pub(in crate::topology) stages: S,
}

impl<C, S> Front<C, S> {
    #[inline]
    fn decode<T>(&self, context: &Context, record: &ConsumerRecord) -> Passed<S::Out>
    where
        C: Codec<T>,
        S: Stage<T>,
    {
        if let Some(flow) = beyond_limits(record) {
            return pass(&self.dead_letters, context, record, flow);
        }
        let decoded = context.observers.timed(
            || self.codec.decode(record.value.as_ref()),
            |took| Event::Decoded { record, took },
        );
        let flow = match decoded {
            Ok(input) => context.observers.timed(
                || self.stages.apply(record, input),
                |took| Event::Filtered { record, took },
            ),
            Err(error) => Flow::DeadLetter { reason: UNDECODABLE, cause: error.to_string() },
        };
        pass(&self.dead_letters, context, record, flow)
    }
}

/// What stages have made of a record.
enum Passed<T> {
    /// It goes on.
    On(T),
    /// It goes no further: these are its outputs.
    Off(Vec<ProducerRecord>, Fate),
}

#[inline]
fn pass<T>(
    dead_letters: &DeadLetters,
    context: &Context,
    record: &ConsumerRecord,
    flow: Flow<T>,
) -> Passed<T> {
    match flow {
        Flow::Next(input) => Passed::On(input),
        Flow::Skip(stage) => {
            context.observers.emit(&Event::Skipped { record, stage });
            Passed::Off(Vec::new(), Fate::Skipped(stage))
        }
        Flow::DeadLetter { reason, cause } => {
            let (outputs, fate) = dead_letter(dead_letters, context, record, reason, cause);
            Passed::Off(outputs, fate)
        }
    }
}

fn dead_letter(
    dead_letters: &DeadLetters,
    context: &Context,
    record: &ConsumerRecord,
    reason: &'static str,
    cause: String,
) -> (Vec<ProducerRecord>, Fate) {
    let cause = bounded(cause);
    context.observers.emit(&Event::DeadLettered { record, reason, cause: &cause });
    let mut outputs = dead_letters.of(record, context.group.as_deref(), reason, cause);
    context.propagation.inject(record, &mut outputs);
    (outputs, Fate::DeadLettered(reason))
}

/// The dead letter for an output that the broker refuses as too large; see
/// [`too_large`](dead_letter::too_large). Of one that can't be made smaller it is reported once.
pub(in crate::topology) fn too_large(
    topic: &Topic,
    context: &Context,
    record: &ConsumerRecord,
    refusals: u8,
) -> ProducerRecord {
    let cause = "the broker refuses the output";
    if refusals <= MOST_REFUSALS {
        context.observers.emit(&Event::DeadLettered { record, reason: TOO_LARGE, cause });
    } else if refusals == MOST_REFUSALS + 1 {
        context.observers.emit(&Event::Withheld { record, topic });
    }
    let mut letter = dead_letter::too_large(topic, context.group.as_deref(), record, refusals);
    context.propagation.inject(record, std::slice::from_mut(&mut letter));
    letter
}

/// Encodes what has passed all stages.
#[inline]
fn encode<T, E: Encode<T>>(
    dead_letters: &DeadLetters,
    context: &Context,
    encode: &E,
    record: &ConsumerRecord,
    passed: Passed<T>,
    fate: Fate,
) -> (Vec<ProducerRecord>, Fate) {
    let item = match passed {
        Passed::On(item) => item,
        Passed::Off(outputs, fate) => return (outputs, fate),
    };
    let encoded = context
        .observers
        .timed(|| encode.encode(record, item), |took| Event::Encoded { record, took });
    match encoded {
        Ok(mut outputs) => {
            context.propagation.inject(record, &mut outputs);
            (outputs, fate)
        }
        Err(error) => dead_letter(dead_letters, context, record, UNENCODABLE, error.to_string()),
    }
}

/// A topology that executes nothing: decode, stages, encode.
pub(in crate::topology) struct Straight<T, C, S, E> {
    pub(in crate::topology) front: Front<C, S>,
    pub(in crate::topology) encode: E,
    pub(in crate::topology) decoded: std::marker::PhantomData<fn(T)>,
}

impl<T, C, S, E> Pipeline for Straight<T, C, S, E>
where
    C: Codec<T>,
    S: Stage<T>,
    E: Encode<S::Out>,
{
    fn admit<'a>(
        &'a self,
        context: &'a Context,
        record: ConsumerRecord,
        _: &dyn States,
    ) -> Admitted<'a> {
        let passed = self.front.decode(context, &record);
        let dead_letters = &self.front.dead_letters;
        let (outputs, fate) =
            encode(dead_letters, context, &self.encode, &record, passed, Fate::Succeeded);
        Admitted::Finished(Finished::new(record, outputs, fate))
    }

    fn is_stateful(&self) -> bool {
        false
    }

    fn withdraws(&self) -> bool {
        false
    }

    fn has_lanes(&self) -> bool {
        false
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    fn dead_letters(&self) -> &Topic {
        &self.front.dead_letters.topic
    }

    fn stages(&self) -> Vec<StageKind> {
        let mut stages = vec![StageKind::Decode];
        self.front.stages.describe(&mut stages);
        stages.push(StageKind::Encode);
        stages
    }
}

/// A topology that executes jobs: decode, stages, execute, stages, encode.
pub(in crate::topology) struct Executing<T, C, S, In, Out, X, B, E> {
    pub(in crate::topology) front: Front<C, S>,
    pub(in crate::topology) key: KeyOf<In>,
    pub(in crate::topology) limited: Option<Limited<In>>,
    pub(in crate::topology) execution: Execution<In, Out, X>,
    pub(in crate::topology) back: B,
    pub(in crate::topology) encode: E,
    pub(in crate::topology) decoded: std::marker::PhantomData<fn(T)>,
}

/// The function that gives a job's key, as a hash; `None` is no key, and no order.
pub(in crate::topology) type KeyOf<In> =
    Box<dyn Fn(&ConsumerRecord, &In) -> Option<KeyHash> + Send + Sync>;

/// The function that gives the key by which a job is limited, as a hash, and the limits of each key.
pub(in crate::topology) struct Limited<In> {
    pub(in crate::topology) key: Box<dyn Fn(&In) -> KeyHash + Send + Sync>,
    pub(in crate::topology) limits: KeyLimits,
}

impl<T, C, S, In, Out, X, B, E> Pipeline for Executing<T, C, S, In, Out, X, B, E>
where
    T: 'static,
    C: Codec<T> + 'static,
    S: Stage<T, Out = In> + 'static,
    In: Send + Sync + 'static,
    Out: Send + 'static,
    X: Executor<In, Out> + 'static,
    B: Stage<Executed<In, Out>> + 'static,
    E: Encode<B::Out> + 'static,
{
    fn admit<'a>(
        &'a self,
        context: &'a Context,
        record: ConsumerRecord,
        states: &dyn States,
    ) -> Admitted<'a> {
        let input = match self.front.decode(context, &record) {
            Passed::On(input) => input,
            Passed::Off(outputs, fate) => {
                return Admitted::Finished(Finished::new(record, outputs, fate));
            }
        };
        let lane = (self.key)(&record, &input);
        let quota = self.limited.as_ref().map(|limited| (limited.key)(&input));
        let keys = JobKeys { lane, quota };
        let state = X::State::of(states, &record, self.execution.attempt_timeout());
        Admitted::Execute(keys, self.execute(context, Job::new(record, input, state)))
    }

    fn is_stateful(&self) -> bool {
        X::State::IS_STATE
    }

    fn withdraws(&self) -> bool {
        self.execution.withdraws()
    }

    fn key_limits(&self) -> KeyLimits {
        self.limited.as_ref().map_or(KeyLimits::new(), |limited| limited.limits)
    }

    /// Jobs of several keys can change one entry of the state.
    fn has_lanes(&self) -> bool {
        !self.is_stateful()
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        Some(self.execution.ready())
    }

    fn dead_letters(&self) -> &Topic {
        &self.front.dead_letters.topic
    }

    fn stages(&self) -> Vec<StageKind> {
        let mut stages = vec![StageKind::Decode];
        self.front.stages.describe(&mut stages);
        stages.push(StageKind::Execute);
        self.back.describe(&mut stages);
        stages.push(StageKind::Encode);
        stages
    }
}

impl<T, C, S, In, Out, X, B, E> Executing<T, C, S, In, Out, X, B, E>
where
    T: 'static,
    C: Codec<T> + 'static,
    S: Stage<T, Out = In> + 'static,
    In: Send + Sync + 'static,
    Out: Send + 'static,
    X: Executor<In, Out> + 'static,
    B: Stage<Executed<In, Out>> + 'static,
    E: Encode<B::Out> + 'static,
{
    /// Takes a job to its end, or to its next wait.
    fn execute<'a>(
        &'a self,
        context: &'a Context,
        mut job: Job<In, X::State>,
    ) -> BoxFuture<'a, ExecutionEnd<'a>> {
        Box::pin(async move {
            let (outcome, attempts) = match self.execution.run(context, &mut job).await {
                Attempted::Settled(outcome, attempts) => (outcome, attempts),
                Attempted::Waits(wait) => {
                    return ExecutionEnd::Waits(wait, self.execute(context, job));
                }
            };
            let Job { record, input, state, .. } = job;
            let executed = Executed { input, outcome, attempts };
            let (mut outputs, fate) = self.encode(context, &record, executed);
            let changes = state.into_changes();
            outputs.extend(changes.iter().flat_map(|changes| changes.records()));
            ExecutionEnd::Finished(Finished { record, outputs, fate, attempts, changes })
        })
    }

    /// Takes what was executed through the stages after it.
    #[inline]
    fn encode(
        &self,
        context: &Context,
        record: &ConsumerRecord,
        executed: Executed<In, Out>,
    ) -> (Vec<ProducerRecord>, Fate) {
        let fate = match &executed.outcome {
            Ok(_) => Fate::Succeeded,
            Err(error) => Fate::Failed(error.kind()),
        };
        let dead_letters = &self.front.dead_letters;
        let flow = self.back.apply(record, executed);
        let passed = pass(dead_letters, context, record, flow);
        encode(dead_letters, context, &self.encode, record, passed, fate)
    }
}
