//! What the tests of the topology share: a small job, and a job sink that executes it as the job says
//! and keeps a diary.
#![allow(dead_code, reason = "every test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::{CodecError, Json};
use jobstream::position::PartitionPosition;
use jobstream::record::{ConsumerRecord, ProducerRecord, TopicPartition};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Event, Executed, Limits, Retry, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

pub(crate) mod stateful;

pub(crate) const JOBS: &str = "jobs";
pub(crate) const RESULTS: &str = "results";
pub(crate) const DEAD_LETTERS: &str = "dead-letters";
pub(crate) const GROUP: &str = "workers";

/// A job: its number, and how it is to be executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: u64,
    /// How long an attempt takes; 0 is at once.
    #[serde(default)]
    pub(crate) takes_ms: u64,
    /// How many attempts fail before one succeeds.
    #[serde(default)]
    pub(crate) failures: u32,
}

impl Task {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    pub(crate) fn takes(mut self, time: Duration) -> Self {
        self.takes_ms = u64::try_from(time.as_millis()).expect("a short time");
        self
    }

    pub(crate) fn fails(mut self, times: u32) -> Self {
        self.failures = times;
        self
    }
}

/// A broker with the topics of the tests.
pub(crate) fn broker(partitions: i32) -> Broker {
    with_topics(Broker::new(), partitions)
}

/// The same, on which every operation yields once before its effect and once after it, so that a run
/// can be dropped at each of these points.
pub(crate) fn yielding_broker(partitions: i32) -> Broker {
    with_topics(Broker::builder().yielding().build(), partitions)
}

fn with_topics(broker: Broker, partitions: i32) -> Broker {
    broker.create_topic(JOBS, partitions);
    broker.create_topic(RESULTS, 3);
    broker.create_topic(DEAD_LETTERS, 1);
    broker
}

/// Appends a job to the topic.
pub(crate) fn produce(broker: &Broker, key: Option<&str>, task: &Task) -> (i32, i64) {
    broker.produce(record(key, task)).unwrap()
}

/// The record of a job.
pub(crate) fn record(key: Option<&str>, task: &Task) -> ProducerRecord {
    let mut record = ProducerRecord::to(JOBS).value(serde_json::to_vec(task).unwrap());
    record.key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    record
}

/// What a job sink saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiaryEntry {
    Began { id: u64, key: Option<Bytes>, partition: i32, offset: i64 },
    Ended { id: u64 },
}

/// Executes tasks as they say, and keeps a diary.
#[derive(Debug, Default)]
pub(crate) struct Diary {
    entries: Mutex<Vec<DiaryEntry>>,
    attempts: Mutex<BTreeMap<u64, u32>>,
    concurrent: Mutex<(usize, usize)>,
}

struct Running<'a>(&'a Diary);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.concurrent.lock().unwrap().0 -= 1;
    }
}

impl Diary {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn entries(&self) -> Vec<DiaryEntry> {
        self.entries.lock().unwrap().clone()
    }

    /// The tasks in the order in which their executions began.
    pub(crate) fn began(&self) -> Vec<u64> {
        let id = |entry: &DiaryEntry| match entry {
            DiaryEntry::Began { id, .. } => Some(*id),
            DiaryEntry::Ended { .. } => None,
        };
        self.entries().iter().filter_map(id).collect()
    }

    /// The tasks whose execution succeeded, in that order.
    pub(crate) fn ended(&self) -> Vec<u64> {
        let id = |entry: &DiaryEntry| match entry {
            DiaryEntry::Ended { id } => Some(*id),
            DiaryEntry::Began { .. } => None,
        };
        self.entries().iter().filter_map(id).collect()
    }

    /// The most executions that were under way at once.
    pub(crate) fn most_concurrent(&self) -> usize {
        self.concurrent.lock().unwrap().1
    }

    fn begin(&self, task: &Task, record: &ConsumerRecord) -> (Running<'_>, u32) {
        let (partition, offset) = (record.partition.partition, record.offset);
        let began = DiaryEntry::Began { id: task.id, key: record.key.clone(), partition, offset };
        self.entries.lock().unwrap().push(began);
        let mut concurrent = self.concurrent.lock().unwrap();
        concurrent.0 += 1;
        concurrent.1 = concurrent.1.max(concurrent.0);
        let mut attempts = self.attempts.lock().unwrap();
        let attempt = attempts.entry(task.id).or_default();
        *attempt += 1;
        (Running(self), *attempt)
    }
}

#[async_trait]
impl JobSink<Task, u64> for Diary {
    async fn execute(&self, task: &Task, record: &ConsumerRecord) -> Result<u64, JobError> {
        let (_running, attempt) = self.begin(task, record);
        if task.takes_ms > 0 {
            sleep(Duration::from_millis(task.takes_ms)).await;
        }
        if attempt <= task.failures {
            return Err(JobError::transient(format!("attempt {attempt} fails")));
        }
        self.entries.lock().unwrap().push(DiaryEntry::Ended { id: task.id });
        Ok(task.id)
    }
}

/// A sink that never answers.
#[derive(Debug)]
pub(crate) struct Never;

#[async_trait]
impl JobSink<Task, u64> for Never {
    async fn execute(&self, _: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        std::future::pending().await
    }
}

/// Decode, execute, encode the task's number as its result.
pub(crate) fn topology(sink: Arc<dyn JobSink<Task, u64>>) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(sink)
        .retry(Retry::new().first_delay(Duration::from_secs(1)))
        .encode(result)
}

pub(crate) fn result(
    record: &ConsumerRecord,
    executed: Executed<Task, u64>,
) -> Result<Vec<ProducerRecord>, CodecError> {
    let value = match executed.outcome {
        Ok(id) => id.to_string(),
        Err(error) => format!("{} failed after {}: {error}", executed.input.id, executed.attempts),
    };
    let mut output = ProducerRecord::to(RESULTS).value(value);
    output.key.clone_from(&record.key);
    Ok(vec![output])
}

/// The values of a topic, as text, by partition and offset.
pub(crate) fn values(broker: &Broker, topic: &str, isolation: Isolation) -> Vec<String> {
    let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
    let records = broker.records(topic, isolation);
    records.iter().map(|r| r.value.as_ref().map(text).unwrap_or_default()).collect()
}

/// The numbers of the tasks that have a result, and how many each has.
pub(crate) fn results(broker: &Broker) -> BTreeMap<u64, usize> {
    let mut results = BTreeMap::new();
    for value in values(broker, RESULTS, Isolation::ReadCommitted) {
        *results.entry(value.parse().unwrap()).or_default() += 1;
    }
    results
}

/// Runs a topology as a plain member of the group until the group has caught up.
pub(crate) async fn run_to_the_end(topology: &Topology, broker: &Broker) {
    let source = broker.consumer(GROUP, [JOBS]).build();
    let drained = topology.run(&source, &broker.producer(), broker.caught_up(GROUP, JOBS)).await;
    assert_eq!(drained.unwrap().unfinished, 0);
}

/// Limits that are small enough for a test to reach them.
pub(crate) fn limits() -> Limits {
    Limits::new().commit_interval(Duration::from_millis(500))
}

/// Collects the events of a run, in words.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<Vec<String>>);

impl Notes {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn with(&self, word: &str) -> Vec<String> {
        self.all().into_iter().filter(|event| event.contains(word)).collect()
    }

    pub(crate) fn note(&self, event: String) {
        self.0.lock().unwrap().push(event);
    }
}

/// The highest frontier that each partition has committed.
pub(crate) fn frontiers(broker: &Broker) -> BTreeMap<i32, i64> {
    let committed = broker.committed(GROUP);
    committed.iter().map(|(p, committed)| (p.partition, committed.offset)).collect()
}

/// An observer that notes records which were committed as finished before they were.
#[derive(Debug, Default)]
pub(crate) struct CommitWatch {
    finished: Mutex<BTreeSet<(TopicPartition, i64)>>,
    fetched: Mutex<BTreeSet<(TopicPartition, i64)>>,
}

impl CommitWatch {
    pub(crate) fn on(&self, event: &Event<'_>) {
        let at = |record: &ConsumerRecord| (record.partition.clone(), record.offset);
        match event {
            Event::Fetched(record) => drop(self.fetched.lock().unwrap().insert(at(record))),
            Event::Finished { record, .. } | Event::AlreadyFinished(record) => {
                self.finished.lock().unwrap().insert(at(record));
            }
            Event::Committed { positions, .. } => self.check(positions),
            _ => {}
        }
    }

    fn check(&self, positions: &[PartitionPosition]) {
        let finished = self.finished.lock().unwrap();
        for (partition, offset) in self.fetched.lock().unwrap().iter() {
            let position = positions.iter().find(|position| position.partition == *partition);
            let committed = position.is_some_and(|p| p.position.is_finished(*offset));
            let done = finished.contains(&(partition.clone(), *offset));
            assert!(!committed || done, "{partition} @ {offset} is committed and not finished");
        }
    }
}

/// A future that is dropped, as by a crash, when it is about to be polled for the given time.
#[derive(Debug)]
pub(crate) struct CrashAt<F> {
    future: Option<Pin<Box<F>>>,
    polls_left: usize,
}

impl<F: Future> CrashAt<F> {
    pub(crate) fn new(poll: usize, future: F) -> Self {
        Self { future: Some(Box::pin(future)), polls_left: poll }
    }
}

impl<F: Future> Future for CrashAt<F> {
    /// What it completed with, or `None` if it crashed before.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.polls_left -= 1;
        let future = self.future.as_mut().expect("polled after its end");
        future.as_mut().poll(cx).map(Some)
    }
}
