//! A ledger and what its job sink asks for: a gate before each attempt, and an end of each attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use jobstream::codec::{CodecError, Json};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::ledger::{Event, Ledger, LedgerLimits, Recorded};
use jobstream::sinks::{Ambiguous, Effect, JobError, JobSink};
use jobstream::topology::{self, Executed, Retry, Topology};
use tokio::time::{Instant, sleep, sleep_until};

use crate::noting::{outcomes, produce};
use crate::support::stateful::{broker, run_to_the_end};
use crate::support::{DEAD_LETTERS, Notes, RESULTS, Task, limits, record};

/// A receiver that asks for a pause, and never answers some jobs.
#[derive(Default)]
struct Receiver {
    /// Jobs below this number are never answered.
    hanging: u64,
    /// Whether they hang before their effect has begun.
    hangs_early: bool,
    /// The request with this number, from 1, shuts the gate for 10 s.
    shuts_at: usize,
    requests: AtomicUsize,
    begun_while_shut: AtomicUsize,
    shut_until: std::sync::Mutex<Option<Instant>>,
}

impl Receiver {
    fn shut_until(&self) -> Option<Instant> {
        self.shut_until.lock().unwrap().filter(|until| *until > Instant::now())
    }
}

#[async_trait]
impl JobSink<Task, u64> for Receiver {
    async fn execute(&self, task: &Task, record: &ConsumerRecord) -> Result<u64, JobError> {
        self.execute_with_effect(task, record, &Effect::new()).await
    }

    async fn execute_with_effect(
        &self,
        task: &Task,
        _: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<u64, JobError> {
        let is_shut = self.shut_until().is_some();
        self.begun_while_shut.fetch_add(usize::from(is_shut), Ordering::Relaxed);
        let request = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.hangs_early {
            effect.begin();
        }
        if task.id < self.hanging {
            std::future::pending::<()>().await;
        }
        effect.begin();
        sleep(Duration::from_millis(10)).await;
        if request == self.shuts_at {
            *self.shut_until.lock().unwrap() = Some(Instant::now() + Duration::from_secs(10));
            return Err(JobError::transient("429").not_before(Duration::from_secs(10)));
        }
        Ok(task.id)
    }

    async fn ready(&self) {
        while let Some(until) = self.shut_until() {
            sleep_until(until).await;
        }
    }
}

/// A ledger with so many places.
fn ledger(receiver: &Arc<Receiver>, places: usize, ambiguous: Ambiguous) -> Ledger<Task, u64> {
    let key = |_: &ConsumerRecord, task: &Task| u128::from(task.id).to_be_bytes();
    let limits = LedgerLimits::new().in_doubt_max(places);
    let clock = Arc::new(|| SystemTime::UNIX_EPOCH);
    Ledger::new(receiver.clone(), key, clock, ambiguous, limits)
}

/// A topology whose ledger has so many places, and what it reports.
fn topology(
    receiver: &Arc<Receiver>,
    places: usize,
    ambiguous: Ambiguous,
) -> (Topology, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    let seen = notes.clone();
    let ledger =
        ledger(receiver, places, ambiguous).with_observer(Arc::new(move |event: &Event<'_>| {
            match event {
                Event::Resent { record, .. } => seen.note(format!("resent {}", record.offset)),
                Event::Parked(record) => seen.note(format!("parked {}", record.offset)),
                Event::NotExecuted(record) => seen.note(format!("not executed {}", record.offset)),
                _ => {}
            }
        }));
    (around(ledger, ambiguous), notes)
}

fn around(ledger: Ledger<Task, u64>, ambiguous: Ambiguous) -> Topology {
    let retry = Retry::new()
        .attempts(Some(2))
        .first_delay(Duration::from_secs(1))
        .attempt_timeout(Some(Duration::from_secs(30)))
        .ambiguous(ambiguous);
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(Arc::new(ledger))
        .ordered_by(|task: &Task| &task.id)
        .retry(retry)
        .encode(result)
        .with_limits(limits())
}

fn result(
    _: &ConsumerRecord,
    executed: Executed<Task, Recorded<u64>>,
) -> Result<Vec<ProducerRecord>, CodecError> {
    let outcome = executed.outcome.map_or_else(|error| error.kind().name(), |_| "done");
    let value = format!("{:03} {outcome} after {}", executed.input.id, executed.attempts);
    Ok(vec![ProducerRecord::to(RESULTS).value(value)])
}

/// What becomes of 20 jobs of which two hang, with two places.
async fn with_two_that_hang(receiver: Receiver, ambiguous: Ambiguous) -> (Vec<String>, Arc<Notes>) {
    let (broker, receiver) = (broker(1), Arc::new(receiver));
    (0..20).for_each(|id| produce(&broker, &Task::new(id)));
    let (topology, notes) = topology(&receiver, 2, ambiguous);
    run_to_the_end(&topology, &broker).await;
    (outcomes(&broker), notes)
}

#[tokio::test(start_paused = true)]
async fn two_jobs_that_hang_stop_a_ledger_with_two_places_for_the_time_of_an_attempt_alone() {
    let hanging = || Receiver { hanging: 2, ..Receiver::default() };
    let done: Vec<_> = (2..20).map(|id| format!("{id:03} done after 1")).collect();

    let (outcomes, notes) = with_two_that_hang(hanging(), Ambiguous::Resend).await;
    assert_eq!(outcomes[..2], ["000 ambiguous after 2", "001 ambiguous after 2"]);
    assert_eq!(outcomes[2..], done);
    assert_eq!(notes.all(), ["resent 0", "resent 1"], "each resend is counted");

    let (outcomes, notes) = with_two_that_hang(hanging(), Ambiguous::Park).await;
    assert_eq!(outcomes[..2], ["000 ambiguous after 1", "001 ambiguous after 1"]);
    assert_eq!(outcomes[2..], done);
    assert_eq!(notes.all(), ["parked 0", "parked 1"]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ends_at_its_limit_before_its_effect_leaves_nothing_in_doubt() {
    let receiver = Receiver { hanging: 2, hangs_early: true, ..Receiver::default() };
    let (outcomes, notes) = with_two_that_hang(receiver, Ambiguous::Park).await;
    assert_eq!(outcomes[..2], ["000 transient after 2", "001 transient after 2"]);
    assert_eq!(notes.with("not executed").len(), 4);
    assert!(notes.with("parked").is_empty());
}

/// The results of a job that comes twice, without a key and in two partitions.
async fn unkeyed(executes: bool) -> (Vec<String>, usize, usize) {
    let (broker, receiver) = (broker(2), Arc::new(Receiver::default()));
    for partition in 0..2 {
        let mut record = record(None, &Task::new(7));
        record.partition = Some(partition);
        broker.produce(record).unwrap();
    }
    let notes = Arc::new(Notes::default());
    let seen = notes.clone();
    let ledger =
        ledger(&receiver, 2, Ambiguous::Park).with_observer(Arc::new(move |event: &Event<'_>| {
            if let Event::Unkeyed(record) = event {
                seen.note(record.partition.to_string());
            }
        }));
    let ledger = if executes { ledger.executing_unkeyed() } else { ledger };
    run_to_the_end(&around(ledger, Ambiguous::Park), &broker).await;
    (outcomes(&broker), notes.all().len(), receiver.requests.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn a_job_without_a_key_is_refused_since_no_partition_of_the_ledger_is_its_own() {
    let refused = "007 permanent after 1".to_owned();
    assert_eq!(unkeyed(false).await, (vec![refused.clone(), refused], 2, 0));
    let done = "007 done after 1".to_owned();
    assert_eq!(unkeyed(true).await, (vec![done.clone(), done], 2, 2), "two jobs, and said so");
}

/// One refusal shuts the gate while others wait for a place, and while intents are written.
#[tokio::test(start_paused = true)]
async fn no_job_that_waits_in_the_ledger_goes_out_while_the_gate_is_shut() {
    for shuts_at in [1, 5, 17, 100] {
        let (broker, receiver) = (broker(1), Receiver { shuts_at, ..Receiver::default() });
        (0..200).for_each(|id| produce(&broker, &Task::new(id)));
        let receiver = Arc::new(receiver);
        let (topology, _) = topology(&receiver, 8, Ambiguous::Park);
        run_to_the_end(&topology, &broker).await;
        assert_eq!(receiver.begun_while_shut.load(Ordering::Relaxed), 0, "shut at {shuts_at}");
        assert_eq!(receiver.requests.load(Ordering::Relaxed), 201);
        assert!(outcomes(&broker).iter().all(|outcome| outcome.contains("done")));
    }
}

/// With one place each job needs a transaction for its intent, and one for its outcome.
#[tokio::test(start_paused = true)]
async fn the_intent_for_which_a_transaction_makes_a_place_goes_with_the_very_next_one() {
    const JOBS: u64 = 50;
    let (broker, receiver) = (broker(1), Arc::new(Receiver::default()));
    (0..JOBS).for_each(|id| produce(&broker, &Task::new(id)));
    let (topology, notes) = topology(&receiver, 1, Ambiguous::Resend);
    let seen = notes.clone();
    let observer = Arc::new(move |event: &topology::Event<'_>| {
        if matches!(event, topology::Event::Published { .. }) {
            seen.note("published".to_owned());
        }
    });
    run_to_the_end(&topology.with_observer(observer), &broker).await;
    assert_eq!(outcomes(&broker).len() as u64, JOBS);
    assert_eq!(notes.with("published").len() as u64, 2 * JOBS + 1, "and one for the last result");
}
