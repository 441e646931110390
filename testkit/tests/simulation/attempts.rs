//! What executors ask for: a gate, an end of each attempt, a wait that the receiver has asked for,
//! limits by a key, batches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::{CodecError, Json};
use jobstream::record::{ConsumerRecord, Generation, ProducerRecord};
use jobstream::sinks::{
    BatchJob, BatchJobSink, BatchLimits, Batches, Effect, JobError, JobErrorKind, JobSink,
};
use jobstream::topology::{Executed, KeyLimits, Retry, Topology};
use jobstream_testkit::simulation::{Delivery, Member, Search};
use tokio::time::{Instant, sleep, sleep_until};

use crate::promises::passes;
use crate::workers::schedules;

/// A call: its number, and its host.
type Call = (u64, u64);

/// How a call goes, by its number.
enum Goes {
    Well,
    /// Its first attempt never ends.
    Hangs,
    /// Its first attempt is refused, with a pause for everything.
    ShutsTheGate,
    /// Its first attempt is refused, with a pause for itself.
    AsksForAPause,
}

impl Goes {
    const fn of(number: u64) -> Self {
        match number % 10 {
            3 => Self::Hangs,
            5 => Self::ShutsTheGate,
            7 => Self::AsksForAPause,
            _ => Self::Well,
        }
    }
}

const ATTEMPTS: u32 = 4;
const TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_secs(2);
const OF_A_HOST: usize = 2;

/// Answers as the calls say.
#[derive(Default)]
struct Receiver {
    attempts: Mutex<BTreeMap<u64, u32>>,
    shut_until: Mutex<Option<Instant>>,
}

impl Receiver {
    fn shut_until(&self) -> Option<Instant> {
        self.shut_until.lock().unwrap().filter(|until| *until > Instant::now())
    }

    async fn answer(&self, (number, _): Call) -> Result<u64, JobError> {
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap();
            let attempt = attempts.entry(number).or_default();
            *attempt += 1;
            *attempt
        };
        sleep(Duration::from_millis(number % 3 * 50)).await;
        match Goes::of(number) {
            Goes::Hangs if attempt == 1 => std::future::pending().await,
            Goes::ShutsTheGate if attempt == 1 => {
                *self.shut_until.lock().unwrap() = Some(Instant::now() + PAUSE);
                Err(JobError::unavailable("all pause"))
            }
            Goes::AsksForAPause if attempt == 1 => {
                Err(JobError::transient("a pause").not_before(PAUSE))
            }
            _ => Ok(number),
        }
    }
}

#[async_trait]
impl JobSink<Call, u64> for Receiver {
    async fn execute(&self, call: &Call, _: &ConsumerRecord) -> Result<u64, JobError> {
        self.answer(*call).await
    }
}

#[async_trait]
impl BatchJobSink<Call, u64> for Receiver {
    async fn execute(&self, jobs: &[BatchJob<Call>]) -> Vec<Result<u64, JobError>> {
        futures::future::join_all(jobs.iter().map(|job| self.answer(job.input))).await
    }
}

/// Panics where an attempt begins too early.
struct Judge {
    receiver: Arc<Receiver>,
    sink: Arc<dyn JobSink<Call, u64>>,
    /// By call and assignment: in a new one the job begins anew.
    earliest: Mutex<BTreeMap<(u64, Generation), Instant>>,
}

#[async_trait]
impl JobSink<Call, u64> for Judge {
    async fn execute(&self, call: &Call, record: &ConsumerRecord) -> Result<u64, JobError> {
        self.execute_with_effect(call, record, &Effect::new()).await
    }

    async fn execute_with_effect(
        &self,
        call: &Call,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<u64, JobError> {
        assert!(self.receiver.shut_until().is_none(), "an attempt begins while the gate is shut");
        let under = (call.0, record.generation);
        let earliest = self.earliest.lock().unwrap().get(&under).copied();
        assert!(earliest <= Some(Instant::now()), "an attempt begins before its time");
        let outcome = self.sink.execute_with_effect(call, record, effect).await;
        if let Some(wait) = outcome.as_ref().err().and_then(JobError::earliest) {
            self.earliest.lock().unwrap().insert(under, Instant::now() + wait);
        }
        outcome
    }

    async fn ready(&self) {
        while let Some(until) = self.receiver.shut_until() {
            sleep_until(until).await;
        }
    }
}

/// In every second run the calls go out in batches.
fn topology(member: &Member) -> Topology {
    let receiver = Arc::new(Receiver::default());
    let sink = match member.world().seed() % 2 {
        0 => member.watched(Shared(receiver.clone())),
        _ => {
            let limits = BatchLimits::new().jobs(3).wait(Duration::from_millis(20));
            member.watched(Batches::new(receiver.clone(), limits))
        }
    };
    let judge = Judge { receiver, sink, earliest: Mutex::default() };
    let retry = Retry::new()
        .attempts(Some(ATTEMPTS))
        .first_delay(Duration::from_millis(200))
        .attempt_timeout(Some(TIMEOUT));
    Topology::builder("dead-letters")
        .decode(Json::<Call>::new())
        .execute(Arc::new(judge))
        .limited_by(|call: &Call| &call.1, KeyLimits::new().executing_jobs(Some(OF_A_HOST)))
        .retry(retry)
        .encode(result)
}

struct Shared(Arc<Receiver>);

#[async_trait]
impl JobSink<Call, u64> for Shared {
    async fn execute(&self, call: &Call, record: &ConsumerRecord) -> Result<u64, JobError> {
        JobSink::execute(&*self.0, call, record).await
    }
}

/// The outcome is the job's own. In a batch with one that hangs, all end at the time limit.
fn result(
    record: &ConsumerRecord,
    executed: Executed<Call, u64>,
) -> Result<Vec<ProducerRecord>, CodecError> {
    match executed.outcome {
        Ok(number) => assert_eq!(number, executed.input.0, "the outcome of another job"),
        Err(error) => assert_eq!(error.kind(), JobErrorKind::Ambiguous, "{error}"),
    }
    let mut output = ProducerRecord::to("results").value(record.value.clone().unwrap_or_default());
    output.key.clone_from(&record.key);
    Ok(vec![output])
}

fn calls() -> Vec<ProducerRecord> {
    let call = |number| {
        let call: Call = (number, number % 7 / 3);
        let record = ProducerRecord::to("calls").value(serde_json::to_string(&call).unwrap());
        if number % 4 == 0 { record } else { record.key(format!("key-{}", number % 12)) }
    };
    (0..30).map(call).collect()
}

fn host(record: &ConsumerRecord) -> Option<Bytes> {
    let (_, host): Call = serde_json::from_slice(record.value.as_ref()?).ok()?;
    Some(host.to_string().into())
}

#[test]
fn what_executors_ask_for_is_kept_under_any_schedule() {
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let schedules = schedules(60);
        let search = Search::new(topology)
            .workload("calls", 3, |_| calls())
            .outputs("results", 2)
            .outputs("dead-letters", 1)
            .delivery(delivery)
            .attempts_max(ATTEMPTS)
            .attempt_timeout(TIMEOUT)
            .limited_by(host, OF_A_HOST);
        assert_eq!(passes(search.schedules(schedules).run()).schedules, schedules);
    }
}
