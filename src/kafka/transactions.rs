//! Transactions: outputs and positions together, or neither.
//!
//! ```text
//!  begin ─▶ send ─▶ every report ─▶ offsets, with the group's metadata ─▶ commit
//!    └────────┴───────────┴───────── abort ◀──────┴──────────────────────────┘
//! ```
//!
//! Every call blocks, and is made on one thread. The reports are awaited before the commit: a
//! commit that finds records in flight looks for them in slices of 100 ms.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::Producer as _;
use rdkafka::util::Timeout;

use super::error::{is_fenced, is_group_fenced};
use super::{Calls, ConfigError, KafkaConfig, KafkaEvent};
use crate::position::PartitionPosition;
use crate::reason::Reason;
use crate::record::ProducerRecord;
use crate::sinks::RecordMetadata;
use crate::sinks::kafka::{Producer, Refusal, Sent, take_too_large};
use crate::sources::CommitError;
use crate::sources::kafka::{Membership, Offsets};

/// The wait before a call that failed for now is made again.
const RETRY_DELAY: Duration = Duration::from_millis(50);

/// How often a transaction in which outputs are sent alone may be aborted for another reason than a
/// size: what was purged with a refused batch leaves a gap in the producer's sequence, and the
/// broker tells of it a transaction late.
const GAPS_MAX: usize = 3;

/// What an abort may take when the pair is closed.
const CLOSING_ABORT_LIMIT: Duration = Duration::from_secs(5);

/// Why nothing was published.
#[derive(Debug)]
pub(super) enum Failure {
    /// The brokers no longer know the producer; a new one has been made here.
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

/// The producer of a pair, one transaction at a time.
pub(crate) struct Transactions {
    /// Taken by the drop, so that the producer ends on the thread of the calls.
    core: Option<Arc<Core>>,
    calls: Calls,
}

struct Core {
    config: KafkaConfig,
    id: String,
    membership: Arc<Membership>,
    current: Mutex<Current>,
    /// Nobody waits any more: a call that fails is not made again.
    stopped: AtomicBool,
}

#[derive(Clone)]
struct Current {
    producer: Arc<Producer>,
    /// Whether a transaction is open, perhaps of a publish that was cancelled.
    begun: bool,
}

impl Transactions {
    /// Makes a producer, which fences older ones of its id and aborts what they left open. Waits
    /// for the brokers, however long they are away.
    pub(super) async fn new(
        config: &KafkaConfig,
        id: &str,
        membership: Arc<Membership>,
    ) -> Result<Self, ConfigError> {
        let producer = Arc::new(Producer::new(config, Some(id))?);
        let calls = Calls::start("kafka-transactions");
        let core = Core {
            config: config.clone(),
            id: id.to_owned(),
            membership,
            current: Mutex::new(Current { producer, begun: false }),
            stopped: AtomicBool::new(false),
        };
        let calls = calls.map_err(|error| ConfigError::Refused(error.to_string()))?;
        let transactions = Self { core: Some(Arc::new(core)), calls };
        match transactions.call(|core| core.init()).await {
            Ok(()) => Ok(transactions),
            Err(failure) => Err(ConfigError::Refused(failure.to_string())),
        }
    }

    /// Publishes in one transaction, and answers where the outputs are, if that is kept. When it fails,
    /// the transaction has been aborted.
    pub(super) async fn run(
        &self,
        outputs: &[ProducerRecord],
        positions: &[PartitionPosition],
    ) -> Result<Vec<RecordMetadata>, Failure> {
        let (mut alone, mut gaps) = (Vec::new(), 0);
        loop {
            let refused = match self.attempt(outputs, positions, &alone).await {
                Err(Failure::TooLarge(refused)) => refused,
                Err(Failure::Aborted(_)) if !alone.is_empty() && gaps < GAPS_MAX => {
                    gaps += 1;
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
        positions: &[PartitionPosition],
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
        positions: &[PartitionPosition],
    ) -> Result<(), CommitError> {
        self.run(&[], positions).await.map(drop).map_err(|failure| match failure {
            Failure::Fenced(_) | Failure::Stale(_) => CommitError::fenced(failure),
            Failure::Aborted(_) => CommitError::transient(failure),
            Failure::TooLarge(_) | Failure::Broken(_) => CommitError::broken(failure),
        })
    }

    /// Aborts what is open, and ends.
    pub(super) async fn close(&self) -> Result<(), Failure> {
        self.core().stopped.store(true, Ordering::Release);
        self.call(|core| core.close()).await
    }

    fn core(&self) -> &Arc<Core> {
        self.core.as_ref().expect("taken by the drop only")
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Core) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let core = self.core().clone();
        let called = self.calls.call(move || call(&core)).await;
        called.unwrap_or_else(|| Err(Failure::Broken("a call of the client has panicked".into())))
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        self.core().stopped.store(true, Ordering::Release);
        let core = self.core.take();
        self.calls.tell(move || drop(core));
    }
}

impl Core {
    fn current(&self) -> Current {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_begun(&self, begun: bool) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).begun = begun;
    }

    fn ended(&self, committed: bool) {
        self.set_begun(false);
        self.config.told().event(&KafkaEvent::Transaction { committed });
    }

    /// Begins a transaction; what a cancelled publish has left open is aborted before.
    fn begin(&self, positions: &[PartitionPosition]) -> Result<Arc<Producer>, Failure> {
        self.membership.fence(positions).map_err(|reason| Failure::Stale(reason.into()))?;
        if self.current().begun {
            self.abort()?;
        }
        let Current { producer, .. } = self.current();
        match producer.client().begin_transaction() {
            Ok(()) => {
                self.set_begun(true);
                Ok(producer)
            }
            Err(error) => Err(self.recover(self.failure(&producer, &error))),
        }
    }

    /// Commits the transaction, or aborts it.
    fn end(
        &self,
        mut refusals: Vec<Refusal>,
        positions: &[PartitionPosition],
    ) -> Result<(), Failure> {
        let Current { producer, .. } = self.current();
        let too_large = take_too_large(&mut refusals);
        // The first refusal for a size fails the transaction, and with it whatever is sent later.
        let ended = if !too_large.is_empty() {
            Err(Failure::TooLarge(too_large))
        } else if let Some(refusal) = refusals.first() {
            Err(self.refused(&producer, refusal))
        } else {
            self.commit(&producer, positions)
        };
        match ended {
            Ok(()) => {
                self.ended(true);
                Ok(())
            }
            Err(failure) => Err(self.recover(failure)),
        }
    }

    fn commit(&self, producer: &Producer, positions: &[PartitionPosition]) -> Result<(), Failure> {
        let failure = |error: KafkaError| self.failure(producer, &error);
        if !positions.is_empty() {
            let Some(group) = self.membership.group_metadata() else {
                return Err(Failure::Broken("the consumer has no group".into()));
            };
            // After the metadata were taken: what changes from now on is fenced by the broker.
            let offsets = self.membership.offsets(positions);
            let offsets = offsets.map_err(|reason| Failure::Stale(reason.into()))?;
            let Offsets { list, longest } = offsets.map_err(failure)?;
            let client = producer.client();
            self.persist(|| client.send_offsets_to_transaction(&list, &group, Timeout::Never))
                .inspect_err(|error| self.membership.refused(error, longest))
                .map_err(failure)?;
        }
        self.persist(|| producer.client().commit_transaction(Timeout::Never)).map_err(failure)
    }

    fn abort(&self) -> Result<(), Failure> {
        let Current { producer, .. } = self.current();
        match self.persist(|| producer.client().abort_transaction(Timeout::Never)) {
            Ok(()) => {
                self.ended(false);
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
            Failure::Stale(_) | Failure::Aborted(_) | Failure::TooLarge(_) => self.abort(),
        };
        recovered.err().unwrap_or(failure)
    }

    /// Another process may have this transactional id, and the partitions, and a commit under way
    /// may have been made or not: gives up the assignment, makes a new producer, and joins the
    /// group again, whose committed positions tell the truth.
    fn start_anew(&self, reason: &str) -> Result<(), Failure> {
        self.config.told().event(&KafkaEvent::Fenced { reason });
        self.membership.rejoin();
        let producer = Producer::new(&self.config, Some(&self.id));
        let producer = producer.map_err(|error| Failure::Broken(Reason::of(error)))?;
        let current = Current { producer: Arc::new(producer), begun: false };
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
        self.init()
    }

    fn init(&self) -> Result<(), Failure> {
        let Current { producer, .. } = self.current();
        self.persist(|| producer.client().init_transactions(Timeout::Never))
            .map_err(|error| self.failure(&producer, &error))
    }

    fn close(&self) -> Result<(), Failure> {
        let Current { producer, begun } = self.current();
        if !begun {
            return Ok(());
        }
        let aborted = producer.client().abort_transaction(CLOSING_ABORT_LIMIT);
        self.set_begun(false);
        aborted.map_err(|error| self.failure(&producer, &error))
    }

    /// Makes a call until it no longer fails for now.
    #[expect(clippy::disallowed_methods, reason = "the thread is there to block")]
    fn persist(&self, mut call: impl FnMut() -> KafkaResult<()>) -> KafkaResult<()> {
        loop {
            match call() {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && !self.stopped.load(Ordering::Acquire) =>
                {
                    std::thread::sleep(RETRY_DELAY);
                }
                done => return done,
            }
        }
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
        } else if transaction.txn_requires_abort() || transaction.is_retriable() {
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

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
