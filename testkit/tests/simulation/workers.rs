//! The topology under test: tasks that take their time and fail as they say.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::{CodecError, Json};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Executed, Retry, Topology};
use jobstream_testkit::simulation::{Delivery, Member, Search};
use tokio::time::sleep;

/// A task: its number, for how many milliseconds it works, how many attempts fail.
pub(crate) type Task = (u64, u64, u32);

/// Attempts of a task, at most.
const ATTEMPTS: u32 = 4;

/// Executes tasks; forgets what failed when it is dropped, as a process does.
#[derive(Default)]
pub(crate) struct Worker {
    failures: Mutex<std::collections::BTreeMap<u64, u32>>,
}

#[async_trait]
impl JobSink<Task, u64> for Worker {
    async fn execute(&self, task: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        let (number, takes_ms, failing) = *task;
        if takes_ms > 0 {
            sleep(Duration::from_millis(takes_ms)).await;
        }
        let mut failures = self.failures.lock().unwrap();
        let failed = failures.entry(number).or_default();
        *failed += 1;
        if *failed <= failing {
            return Err(JobError::transient("as the job demands"));
        }
        Ok(number)
    }
}

pub(crate) fn topology(member: &Member) -> Topology {
    let first_delay = Duration::from_millis(200);
    let retry = Retry::new().attempts(Some(ATTEMPTS)).first_delay(first_delay);
    Topology::builder("dead-letters")
        .decode(Json::<Task>::new())
        .filter("odd", |task: &Task| task.0 % 10 != 9)
        .execute(member.watched(Worker::default()))
        .retry(retry)
        .encode(result)
}

pub(crate) fn result(
    record: &ConsumerRecord,
    _: Executed<Task, u64>,
) -> Result<Vec<ProducerRecord>, CodecError> {
    let mut output = ProducerRecord::to("results").value(record.value.clone().unwrap_or_default());
    output.key.clone_from(&record.key);
    Ok(vec![output])
}

/// Jobs on few keys; some are slow, some fail at first or for ever, one is no task at all.
pub(crate) fn tasks(count: u64) -> Vec<ProducerRecord> {
    (0..count)
        .map(|number| {
            let failures = match number % 11 {
                4 => 2,
                8 => ATTEMPTS + 4,
                _ => 0,
            };
            let task: Task = (number, number % 4 * 70, failures);
            let value = serde_json::to_string(&task).unwrap();
            let value = if number == 5 { "no task".to_owned() } else { value };
            let record = ProducerRecord::to("tasks").value(value);
            if number % 5 == 4 { record } else { record.key(format!("key-{}", number % 5)) }
        })
        .collect()
}

/// By the value, which outputs repeat; what is skipped has none.
pub(crate) fn identity(record: &ConsumerRecord) -> Option<Bytes> {
    let value = record.value.clone()?;
    let task = serde_json::from_slice::<Task>(&value);
    (!task.is_ok_and(|task| task.0 % 10 == 9)).then_some(value)
}

pub(crate) fn search(delivery: Delivery, jobs: u64) -> Search {
    Search::new(topology)
        .workload("tasks", 3, move |_| tasks(jobs))
        .outputs("results", 2)
        .outputs("dead-letters", 1)
        .identified_by(identity)
        .delivery(delivery)
        .attempts_max(ATTEMPTS)
        .seed(number("SIMULATION_SEED").unwrap_or(0))
}

/// Schedules in a test; `SIMULATION_SCHEDULES` sets another number.
pub(crate) fn schedules(default: u64) -> u64 {
    number("SIMULATION_SCHEDULES").unwrap_or(default)
}

fn number(variable: &str) -> Option<u64> {
    let set = std::env::var(variable).ok()?;
    Some(set.parse().unwrap_or_else(|_| panic!("{variable}: found {set:?}, expected a number")))
}
