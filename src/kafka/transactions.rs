//! Transactions: outputs and positions together, or neither.
//!
//! ```text
//!  begin ─▶ send ─▶ every report ─▶ offsets, with the group's metadata ─▶ commit
//!    └────────┴───────────┴───────── abort ◀──────┴──────────────────────────┘
//! ```
//!
//! Every call blocks, and is made on one thread. The reports are awaited before the commit: a
//! commit that finds records in flight looks for them in slices of 100 ms. The exactly-once pair and
//! the redrive differ in the [`Group`] whose positions they commit.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer as _;
use rdkafka::util::Timeout;

use super::blocking::persist;
use super::error::{is_fenced, is_group_fenced};
use super::turns::Turns;
use super::{Blocking, ConfigError, ErrorKind, KafkaConfig};
use crate::reason::Reason;
use crate::record::ProducerRecord;
use crate::sinks::RecordMetadata;
use crate::sinks::kafka::{Producer, Refusal, Sent, take_too_large};
use crate::sources::CommitError;
use crate::sources::kafka::{Offsets, metadata_of};

/// How often a transaction in which outputs are sent alone may be aborted for another reason than a
/// size: what was purged with a refused batch leaves a gap in the producer's sequence, and the
/// broker tells of it a transaction late.
const GAPS_MAX: usize = 3;

/// What an abort may take when the transactions are closed.
const CLOSING_ABORT_LIMIT: Duration = Duration::from_secs(5);

/// The group whose positions are committed with what is published.
pub(crate) trait Group: Send + Sync + 'static {
    /// A position of it.
    type Position: Clone + Send + Sync + 'static;

    /// How long one call waits for the brokers.
    const CALL_LIMIT: Timeout;
    /// How long a call is made again while it fails for now.
    const PATIENCE: Duration;
    /// How often a transaction that was aborted is tried again.
    const ABORTS_MAX: usize;

    /// Says why these positions may not be committed, if so.
    fn fence(&self, positions: &[Self::Position]) -> Result<(), String>;

    /// By what the brokers know who commits. Taken before [`offsets`](Self::offsets), it fences
    /// whatever changes after.
    fn metadata(&self) -> Option<ConsumerGroupMetadata>;

    /// What commits these positions.
    ///
    /// # Errors
    /// If they may not be committed, and why; or if librdkafka refuses an offset.
    fn offsets(&self, positions: &[Self::Position]) -> Result<KafkaResult<Offsets>, String>;

    /// Learns from offsets that were refused, of these positions; says why nothing can be committed any
    /// more, if so.
    fn refused(
        &self,
        error: &KafkaError,
        positions: &[Self::Position],
        longest: usize,
    ) -> Option<String>;

    /// A transaction was committed, or aborted.
    fn ended(&self, committed: bool);

    /// Learns that the producer was fenced; says whether another one goes on.
    fn fenced(&self, reason: &str) -> bool;

    /// What the brokers have as the group's positions of these partitions; none if nobody is left
    /// to ask for them.
    fn committed(&self, of: &TopicPartitionList) -> Option<KafkaResult<TopicPartitionList>>;
}

/// Why nothing was published.
#[derive(Debug)]
pub(super) enum Failure {
    /// The brokers no longer know the producer; a new one has been made here, if the group goes on.
    Fenced(Reason),
    /// A position is not this member's any more.
    Stale(Reason),
    /// The transaction had to be aborted.
    Aborted(Reason),
    /// These outputs are too large.
    TooLarge(Vec<usize>),
    /// It can't go on.
    Broken(Reason),
}

/// Transactional producers that take turns, one transaction at a time.
pub(crate) struct Transactions<G: Group> {
    core: Blocking<Core<G>>,
}

struct Core<G> {
    turns: Turns,
    group: G,
    /// Nobody waits any more: a call that fails is not made again.
    stopped: AtomicBool,
}

impl<G: Group> Transactions<G> {
    /// Makes the producers, which are to be [initialised](Self::init). No broker need be there yet.
    pub(super) fn new(config: &KafkaConfig, id: &str, group: G) -> Result<Self, ConfigError> {
        let core = Core { turns: Turns::new(config, id)?, group, stopped: AtomicBool::new(false) };
        Ok(Self { core: Blocking::start("kafka-transactions", core)? })
    }

    /// Fences older producers of the ids, and aborts what they left open.
    pub(super) async fn init(&self) -> Result<(), Failure> {
        self.call(|core| {
            core.turns.all().iter().try_for_each(|(id, producer)| {
                core.init(producer).map_err(|failure| match failure {
                    Failure::Broken(reason) => {
                        let text = format!("transactional.id '{id}': {reason}");
                        Failure::Broken(reason.in_words(text))
                    }
                    failure => failure,
                })
            })
        })
        .await
    }

    /// Publishes in one transaction, and answers where the outputs are, if that is kept. When it fails,
    /// the transaction has been aborted.
    pub(super) async fn run(
        &self,
        outputs: &[ProducerRecord],
        positions: &[G::Position],
    ) -> Result<Vec<RecordMetadata>, Failure> {
        let (mut alone, mut aborts) = (Vec::new(), 0);
        loop {
            let gaps_max = if alone.is_empty() { 0 } else { GAPS_MAX };
            let refused = match self.attempt(outputs, positions, &alone).await {
                Err(Failure::TooLarge(refused)) => refused,
                Err(Failure::Aborted(_)) if aborts < G::ABORTS_MAX.max(gaps_max) => {
                    aborts += 1;
                    continue;
                }
                done => return done,
            };
            // Alone, it is the record itself that is refused; with others, any of them.
            let (known, suspects) = refused.into_iter().partition(|index| alone.contains(index));
            if Vec::is_empty(&known) {
                alone.extend::<Vec<_>>(suspects);
            } else {
                return Err(Failure::TooLarge(known));
            }
        }
    }

    /// One transaction, in which the outputs with the indices `alone` are sent alone.
    async fn attempt(
        &self,
        outputs: &[ProducerRecord],
        positions: &[G::Position],
        alone: &[usize],
    ) -> Result<Vec<RecordMetadata>, Failure> {
        let expected = positions.to_vec();
        let producer = self.call(move |core| core.begin(&expected)).await?;
        let together: Vec<_> = (0..outputs.len()).filter(|i| !alone.contains(i)).collect();
        let (refusals, places) = {
            let sending = producer.begin(outputs);
            let mut refusals = sending.send(&together, Sent::Together).await;
            refusals.extend(sending.send(alone, Sent::Alone).await);
            (refusals, sending.take_places())
        };
        drop(producer);
        let positions = positions.to_vec();
        self.call(move |core| core.end(refusals, &positions)).await?;
        Ok(places)
    }

    pub(crate) async fn commit_positions(
        &self,
        positions: &[G::Position],
    ) -> Result<(), CommitError> {
        self.run(&[], positions).await.map(drop).map_err(|failure| match failure {
            Failure::Fenced(_) | Failure::Stale(_) => CommitError::fenced(failure),
            Failure::Aborted(_) => CommitError::transient(failure),
            Failure::TooLarge(_) | Failure::Broken(_) => CommitError::broken(failure),
        })
    }

    /// Aborts what is open, and ends.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        self.core.stopped.store(true, Ordering::Release);
        self.call(Core::close).await
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Core<G>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let called = self.core.call(call).await;
        called.unwrap_or_else(|| Err(Failure::Broken("a call of the client has panicked".into())))
    }
}

impl<G: Group> fmt::Debug for Transactions<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transactions").finish_non_exhaustive()
    }
}

impl<G: Group> Drop for Transactions<G> {
    fn drop(&mut self) {
        self.core.stopped.store(true, Ordering::Release);
    }
}

impl<G: Group> Core<G> {
    /// Begins a transaction; what a cancelled publish has left open is aborted before.
    fn begin(&self, positions: &[G::Position]) -> Result<Arc<Producer>, Failure> {
        self.group.fence(positions).map_err(|reason| Failure::Stale(reason.into()))?;
        if self.turns.has_begun() {
            self.abort()?;
        }
        let producer = self.turns.current();
        match producer.client().begin_transaction() {
            Ok(()) => {
                self.turns.begun();
                Ok(producer)
            }
            Err(error) => Err(self.recover(self.failure(&producer, &error))),
        }
    }

    /// Commits the transaction, or aborts it.
    fn end(&self, mut refusals: Vec<Refusal>, positions: &[G::Position]) -> Result<(), Failure> {
        let producer = self.turns.current();
        let too_large = take_too_large(&mut refusals);
        // The first refusal for a size fails the transaction, and with it whatever is sent later.
        let ended = if !too_large.is_empty() {
            Err(Failure::TooLarge(too_large))
        } else if let Some(refusal) = refusals.first() {
            Err(self.refused(&producer, refusal))
        } else {
            self.add_positions(&producer, positions)
                .and_then(|positions| self.commit(&producer, &positions))
        };
        match ended {
            Ok(()) => {
                self.turns.committed();
                self.group.ended(true);
                Ok(())
            }
            Err(failure) => Err(self.recover(failure)),
        }
    }

    fn add_positions(
        &self,
        producer: &Producer,
        positions: &[G::Position],
    ) -> Result<TopicPartitionList, Failure> {
        if positions.is_empty() {
            return Ok(TopicPartitionList::new());
        }
        let failure = |error: KafkaError| self.failure(producer, &error);
        let Some(group) = self.group.metadata() else {
            // A consumer that is replaced, once its assignment is lost, has left its group.
            self.group.fence(positions).map_err(|reason| Failure::Stale(reason.into()))?;
            return Err(Failure::Broken("the consumer has no group".into()));
        };
        // After the metadata were taken: what changes from now on is fenced by the broker.
        let offsets = self.group.offsets(positions);
        let offsets = offsets.map_err(|reason| Failure::Stale(reason.into()))?;
        let Offsets { list, longest } = offsets.map_err(failure)?;
        let client = producer.client();
        match self.persist(|| client.send_offsets_to_transaction(&list, &group, G::CALL_LIMIT)) {
            Ok(()) => Ok(list),
            Err(error) => Err(match self.group.refused(&error, positions, longest) {
                Some(reason) => Failure::Broken(reason.into()),
                None => failure(error),
            }),
        }
    }

    fn commit(&self, producer: &Producer, positions: &TopicPartitionList) -> Result<(), Failure> {
        let committed = self.persist(|| producer.client().commit_transaction(G::CALL_LIMIT));
        match committed.map_err(|error| self.failure(producer, &error)) {
            Err(Failure::Fenced(reason)) => self.find_out(reason, positions),
            committed => committed,
        }
    }

    /// Finds out whether the commit was made during which the producer was fenced. The new producer's
    /// initialisation has waited for the transaction's end, and each commit differs from the one
    /// before, so the group's positions tell.
    fn find_out(&self, reason: Reason, positions: &TopicPartitionList) -> Result<(), Failure> {
        self.start_anew(reason.text())?;
        let passes = |error: &KafkaError| self.passes(error);
        let found = persist(G::PATIENCE, passes, || {
            let found = self.group.committed(positions).transpose()?;
            let mut elements = found.iter().flat_map(TopicPartitionList::elements);
            elements.try_for_each(|element| element.error())?;
            Ok(found)
        });
        match found {
            Ok(Some(found)) if is_committed(positions, &found) => Ok(()),
            Ok(_) => Err(Failure::Aborted(reason)),
            Err(error) => {
                let text = format!("the group's positions can't be read: {error}");
                Err(Failure::Broken(Reason::of(error).in_words(text)))
            }
        }
    }

    fn abort(&self) -> Result<(), Failure> {
        let producer = self.turns.current();
        match self.persist(|| producer.client().abort_transaction(G::CALL_LIMIT)) {
            Ok(()) => {
                self.turns.aborted();
                self.group.ended(false);
                Ok(())
            }
            Err(error) => match self.failure(&producer, &error) {
                Failure::Fenced(reason) => self.start_anew(reason.text()),
                failure => {
                    let text = format!("the abort failed: {failure}");
                    Err(Failure::Broken(Reason::from(failure).in_words(text)))
                }
            },
        }
    }

    /// Makes the next transaction possible.
    fn recover(&self, failure: Failure) -> Failure {
        let recovered = match &failure {
            Failure::Fenced(reason) => self.start_anew(reason.text()),
            Failure::Broken(_) => Ok(()),
            // A new producer has nothing to abort.
            _ if !self.turns.has_begun() => Ok(()),
            Failure::Stale(_) | Failure::Aborted(_) | Failure::TooLarge(_) => self.abort(),
        };
        recovered.err().unwrap_or(failure)
    }

    /// Another process may have this transactional id, and a commit under way may have been made or
    /// not: if the group goes on, makes a new producer.
    fn start_anew(&self, reason: &str) -> Result<(), Failure> {
        if !self.group.fenced(reason) {
            return Err(Failure::Fenced(reason.to_owned().into()));
        }
        let producer = self.turns.replace();
        let producer = producer.map_err(|error| Failure::Broken(Reason::of(error)))?;
        self.init(&producer)
    }

    fn init(&self, producer: &Producer) -> Result<(), Failure> {
        self.persist(|| producer.client().init_transactions(G::CALL_LIMIT))
            .map_err(|error| self.failure(producer, &error))
    }

    fn close(&self) -> Result<(), Failure> {
        if !self.turns.has_begun() {
            return Ok(());
        }
        let producer = self.turns.current();
        let aborted = producer.client().abort_transaction(CLOSING_ABORT_LIMIT);
        self.turns.aborted();
        aborted.map_err(|error| self.failure(&producer, &error))
    }

    /// Makes a call until it no longer fails for now.
    fn persist(&self, call: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
        persist(G::PATIENCE, |error| self.passes(error), call)
    }

    fn passes(&self, error: &KafkaError) -> bool {
        let passes = match error {
            KafkaError::Transaction(error) => error.is_retriable(),
            error => ErrorKind::of(error.rdkafka_error_code()).passes(),
        };
        passes && !self.has_stopped()
    }

    fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    fn failure(&self, producer: &Producer, error: &KafkaError) -> Failure {
        if let Some((code, reason)) = producer.client().client().fatal_error() {
            let reason = Reason::of(error.clone()).in_words(reason);
            return if is_fenced(code) { Failure::Fenced(reason) } else { Failure::Broken(reason) };
        }
        let KafkaError::Transaction(transaction) = error else {
            return Failure::Broken(Reason::of(error.clone()));
        };
        let reason = Reason::of(error.clone()).in_words(transaction.to_string());
        if is_group_fenced(transaction.code()) {
            Failure::Stale(reason)
        } else if transaction.txn_requires_abort()
            || transaction.is_retriable() && self.has_stopped()
        {
            Failure::Aborted(reason)
        } else {
            Failure::Broken(reason)
        }
    }

    /// What a record that was not acknowledged means for its transaction.
    fn refused(&self, producer: &Producer, refusal: &Refusal) -> Failure {
        match producer.client().client().fatal_error() {
            Some((code, reason)) if is_fenced(code) => Failure::Fenced(reason.into()),
            Some((_, reason)) => Failure::Broken(reason.into()),
            None => Failure::Aborted(refusal.to_string().into()),
        }
    }
}

/// Whether every one of these positions is what was found.
fn is_committed(positions: &TopicPartitionList, found: &TopicPartitionList) -> bool {
    !positions.elements().is_empty()
        && positions.elements().iter().all(|position| {
            found.find_partition(position.topic(), position.partition()).is_some_and(|found| {
                found.offset() == position.offset() && metadata_of(&found) == metadata_of(position)
            })
        })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fenced(reason) => write!(f, "the producer was fenced: {reason}"),
            Self::Stale(reason) => write!(f, "a position is stale: {reason}"),
            Self::Aborted(reason) | Self::Broken(reason) => write!(f, "{reason}"),
            Self::TooLarge(outputs) => write!(f, "{} outputs are too large", outputs.len()),
        }
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Fenced(reason)
            | Failure::Stale(reason)
            | Failure::Aborted(reason)
            | Failure::Broken(reason) => reason.in_words(text),
            Failure::TooLarge(_) => Self::new(text),
        }
    }
}
