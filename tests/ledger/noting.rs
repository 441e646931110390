//! What the tests of the ledger share: a job sink that notes what it executes and ends as a test wants it
//! to, with a ledger around it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::{CodecError, Json};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::ledger::{Event, Ledger, LedgerLimits, Recorded};
use jobstream::sinks::{Ambiguous, Effect, JobError, JobErrorKind, JobSink};
use jobstream::topology::{Executed, Retry, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use tokio::time::sleep;

use crate::support::{self, DEAD_LETTERS, JOBS, Notes, RESULTS, Task, limits, values};

/// The header of a record that overrules what is parked.
pub(crate) const AGAIN: &str = "again";

/// How an attempt ends, given the task's number and which of its executions it is, from 1.
type Ends = Box<dyn Fn(u64, u64) -> Option<JobErrorKind> + Send + Sync>;

/// A job sink, and all that the tests look at; members share it as they share the world.
pub(crate) struct Post {
    ends: Ends,
    executions: Mutex<BTreeMap<u64, u64>>,
    pub(crate) notes: Notes,
    resends: AtomicU64,
    /// Whether an execution has its effect at its end only.
    pub(crate) acts_late: AtomicBool,
    pub(crate) wall_clock_seconds: AtomicU64,
}

impl Post {
    pub(crate) fn new(
        ends: impl Fn(u64, u64) -> Option<JobErrorKind> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            ends: Box::new(ends),
            executions: Mutex::default(),
            notes: Notes::default(),
            resends: AtomicU64::new(0),
            acts_late: AtomicBool::new(false),
            wall_clock_seconds: AtomicU64::new(1_000_000),
        })
    }

    /// Every attempt succeeds.
    pub(crate) fn faithful() -> Arc<Self> {
        Self::new(|_, _| None)
    }

    /// How often each task was executed, or its execution begun.
    pub(crate) fn executions(&self) -> BTreeMap<u64, u64> {
        self.executions.lock().unwrap().clone()
    }

    /// Resends that the ledger has reported.
    pub(crate) fn resends(&self) -> u64 {
        self.resends.load(Ordering::Relaxed)
    }

    fn note(&self, event: &Event<'_>) {
        if matches!(event, Event::Resent { .. }) {
            self.resends.fetch_add(1, Ordering::Relaxed);
        }
        let text = format!("{event:?}");
        let word = text.split([' ', '(', '{']).next().unwrap_or_default();
        self.notes.note(word.to_owned());
    }
}

#[async_trait]
impl JobSink<Task, u64> for Post {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        let execution = {
            let mut executions = self.executions.lock().unwrap();
            let execution = executions.entry(task.id).or_default();
            *execution += 1;
            *execution
        };
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(task.takes_ms)).await;
        match (self.ends)(task.id, execution) {
            Some(kind) => Err(JobError::new(kind, "as the test wants it")),
            None => Ok(task.id),
        }
    }

    async fn execute_with_effect(
        &self,
        task: &Task,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<u64, JobError> {
        if !self.acts_late.load(Ordering::Relaxed) {
            effect.begin();
        }
        self.execute(task, record).await
    }
}

pub(crate) const ROOMY: LedgerLimits =
    LedgerLimits::new().retention(Duration::from_secs(600)).entries_max(1_000).in_doubt_max(3);

/// A topology whose job sink is `post` behind a ledger.
pub(crate) fn topology(post: &Arc<Post>, ambiguous: Ambiguous) -> Topology {
    with_limits(post, ambiguous, ROOMY)
}

pub(crate) fn with_limits(
    post: &Arc<Post>,
    ambiguous: Ambiguous,
    ledger_limits: LedgerLimits,
) -> Topology {
    let key = |_: &ConsumerRecord, task: &Task| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&task.id.to_be_bytes());
        key
    };
    let wall = post.clone();
    let clock =
        move || UNIX_EPOCH + Duration::from_secs(wall.wall_clock_seconds.load(Ordering::Relaxed));
    let clock: Arc<dyn Fn() -> SystemTime + Send + Sync> = Arc::new(clock);
    let noting = post.clone();
    let ledger = Ledger::new(post.clone(), key, clock, ambiguous, ledger_limits)
        .with_observer(Arc::new(move |event: &Event<'_>| noting.note(event)))
        .overruled_by(|record| record.headers.get(AGAIN).is_some());
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(Arc::new(ledger))
        .ordered_by(|task: &Task| &task.id)
        .retry(
            Retry::new().attempts(Some(8)).first_delay(Duration::from_secs(1)).ambiguous(ambiguous),
        )
        .encode(result)
        .with_limits(limits())
}

/// `0 fresh`, `0 fresh after 1`, `0 duplicate` or `0 Ambiguous`.
fn result(
    _: &ConsumerRecord,
    executed: Executed<Task, Recorded<u64>>,
) -> Result<Vec<ProducerRecord>, CodecError> {
    let outcome = match executed.outcome {
        Ok(Recorded::Fresh { resends: 0, .. }) => "fresh".to_owned(),
        Ok(Recorded::Fresh { resends, .. }) => format!("fresh after {resends}"),
        Ok(Recorded::Duplicate { .. }) => "duplicate".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    Ok(vec![ProducerRecord::to(RESULTS).value(format!("{} {outcome}", executed.input.id))])
}

/// The results, sorted.
pub(crate) fn outcomes(broker: &Broker) -> Vec<String> {
    let mut outcomes = values(broker, RESULTS, Isolation::ReadCommitted);
    outcomes.sort_unstable();
    outcomes
}

/// How many results each task has.
pub(crate) fn results(broker: &Broker) -> BTreeMap<u64, u64> {
    let mut results = BTreeMap::new();
    for outcome in outcomes(broker) {
        let (id, _) = outcome.split_once(' ').unwrap();
        *results.entry(id.parse().unwrap()).or_default() += 1;
    }
    results
}

/// Appends a task.
pub(crate) fn produce(broker: &Broker, task: &Task) {
    support::produce(broker, Some(&task.id.to_string()), task);
}

/// Appends a task whose record overrules what is parked.
pub(crate) fn produce_again(broker: &Broker, task: &Task) {
    let mut record = ProducerRecord::to(JOBS).value(serde_json::to_vec(task).unwrap());
    record.key = Some(Bytes::from(task.id.to_string()));
    record.headers.set(AGAIN, "yes");
    broker.produce(record).unwrap();
}
