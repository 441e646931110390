//! How the context of a record goes on: to its outputs, and to where its job sink is polled.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, Headers, ProducerRecord, Topic};
use jobstream::sinks::{JobError, JobSink, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::{Event, Executed, Propagator, Topology, Worker};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use support::{DEAD_LETTERS, GROUP, JOBS, RESULTS, Task, broker, produce, result, run_to_the_end};
use tokio::time::sleep;

/// Marks outputs with the offset of their record and their topic, and knows whose poll it is.
#[derive(Default)]
struct Marks(Mutex<Option<i64>>);

impl Marks {
    fn polled(&self) -> Option<i64> {
        *self.0.lock().unwrap()
    }
}

impl Propagator for Marks {
    fn inject(&self, record: &ConsumerRecord, topic: &Topic, headers: &mut Headers) {
        headers.set("mark", format!("{} to {topic}", record.offset));
    }

    fn within(&self, record: &ConsumerRecord, poll: &mut dyn FnMut()) {
        let outer = self.0.lock().unwrap().replace(record.offset);
        poll();
        *self.0.lock().unwrap() = outer;
    }
}

/// Asserts at each of its steps that it is polled as its own record's job.
struct Asserting(Arc<Marks>);

impl Asserting {
    async fn work(&self, record: &ConsumerRecord) {
        for _ in 0..3 {
            assert_eq!(self.0.polled(), Some(record.offset));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(self.0.polled(), Some(record.offset));
    }
}

#[async_trait]
impl JobSink<Task, u64> for Asserting {
    async fn execute(&self, task: &Task, record: &ConsumerRecord) -> Result<u64, JobError> {
        self.work(record).await;
        Ok(task.id)
    }
}

#[async_trait]
impl StatefulJobSink<Task, u64> for Asserting {
    async fn execute(
        &self,
        task: &Task,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        self.work(record).await;
        state.put(b"last", task.id.to_string().as_bytes());
        Ok(task.id)
    }
}

fn marks(broker: &Broker, topic: &str) -> Vec<Option<String>> {
    let text = |mark: &Bytes| String::from_utf8(mark.to_vec()).unwrap();
    let records = broker.records(topic, Isolation::ReadCommitted);
    records.iter().map(|record| record.headers.get("mark").map(text)).collect()
}

fn mark(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test(start_paused = true)]
async fn every_poll_of_a_job_is_in_its_records_context_and_no_other_code_is() {
    let (broker, marks) = (broker(1), Arc::<Marks>::default());
    (0..20).for_each(|id| _ = produce(&broker, None, &Task::new(id)));
    let seen = marks.clone();
    let topology = support::topology(Arc::new(Asserting(marks.clone())))
        .with_propagator(marks)
        .with_observer(Arc::new(move |_: &Event<'_>| assert_eq!(seen.polled(), None)));
    run_to_the_end(&topology, &broker).await;
    assert_eq!(support::values(&broker, RESULTS, Isolation::ReadCommitted).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn results_dead_letters_and_what_goes_beside_them_carry_the_context_on() {
    let (broker, propagator) = (broker(1), Arc::<Marks>::default());
    produce(&broker, None, &Task::new(0));
    broker.produce(ProducerRecord::to(JOBS).value("no task")).unwrap();
    let topology = Topology::builder(DEAD_LETTERS)
        .beside_dead_letters(|_: &_| vec![ProducerRecord::to(RESULTS).value("refused")])
        .decode(Json::<Task>::new())
        .execute(support::Diary::new())
        .encode(result)
        .with_propagator(propagator);
    run_to_the_end(&topology, &broker).await;
    let mut results = marks(&broker, RESULTS);
    results.sort();
    assert_eq!(results, [mark("0 to results"), mark("1 to results")]);
    assert_eq!(marks(&broker, DEAD_LETTERS), [mark("1 to dead-letters")]);
}

#[tokio::test(start_paused = true)]
async fn the_dead_letter_of_an_output_that_is_too_large_carries_the_context_on() {
    let broker = Broker::new();
    broker.create_topic(JOBS, 1);
    broker.create_topic(RESULTS, TopicOptions::partitions(1).max_message_bytes(100));
    broker.create_topic(DEAD_LETTERS, 1);
    produce(&broker, None, &Task::new(0));
    let inflate = |_: &ConsumerRecord, _: Executed<Task, u64>| {
        Ok(vec![ProducerRecord::to(RESULTS).value(vec![b'x'; 200])])
    };
    let topology = Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute(support::Diary::new())
        .encode(inflate)
        .with_propagator(Arc::<Marks>::default());
    run_to_the_end(&topology, &broker).await;
    assert_eq!(marks(&broker, DEAD_LETTERS), [mark("0 to dead-letters")]);
}

#[tokio::test(start_paused = true)]
async fn keyed_state_carries_no_context() {
    let (broker, propagator) = (broker(1), Arc::<Marks>::default());
    broker.create_topic("state", TopicOptions::partitions(1));
    produce(&broker, None, &Task::new(0));
    let topology = Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(Arc::new(Asserting(propagator.clone())))
        .encode(result)
        .with_propagator(propagator);
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "worker");
    let store = Some(Box::new(broker.store("state")) as _);
    let worker = Worker { source: Box::new(source), sink: Box::new(sink), store };
    topology.run_worker(&worker, broker.caught_up(GROUP, JOBS)).await.unwrap();
    assert_eq!(marks(&broker, RESULTS), [mark("0 to results")]);
    assert_eq!(marks(&broker, "state"), [None]);
}
