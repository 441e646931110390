//! Publishing: what is refused, aborted or broken, and what a reader sees of it.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{Batch, Commits, Published, Sink, SinkError};
use jobstream::topology::{Event, RunError, Topology, Worker};
use jobstream_testkit::broker::{Broker, Fault, Isolation, Operation, TopicOptions};
use support::{
    DEAD_LETTERS, Diary, GROUP, JOBS, RESULTS, Task, broker, limits, produce, results, topology,
    values,
};
use tokio::time::sleep;

const SMALL_BYTES: usize = 2_000;

/// A broker whose results take few bytes.
fn small_broker() -> Broker {
    let broker = Broker::new();
    broker.create_topic(JOBS, 1);
    let results = TopicOptions::partitions(1).max_message_bytes(SMALL_BYTES);
    broker.create_topic(RESULTS, results);
    broker.create_topic(DEAD_LETTERS, 1);
    broker
}

/// Results of as many bytes as the job says, and an audit record each.
fn inflate() -> Topology {
    Topology::builder(DEAD_LETTERS).decode(Json::<usize>::new()).encode(
        |_: &ConsumerRecord, size: usize| {
            let result = ProducerRecord::to(RESULTS).value("x".repeat(size));
            Ok(vec![ProducerRecord::to("audit").value(size.to_string()), result])
        },
    )
}

fn produce_sizes(broker: &Broker) {
    broker.create_topic("audit", 1);
    for size in ["10", "5000", "20"] {
        broker.produce(ProducerRecord::to(JOBS).key("k").value(size)).unwrap();
    }
}

fn check_too_large(broker: &Broker) {
    let sizes: Vec<_> = values(broker, RESULTS, Isolation::ReadCommitted);
    assert_eq!(sizes, ["x".repeat(10), "x".repeat(20)]);
    let dead = broker.records(DEAD_LETTERS, Isolation::ReadCommitted);
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].key.as_deref(), dead[0].value.as_deref()), (Some(&b"k"[..]), None));
    assert_eq!(dead[0].headers.get("dead-letter-reason").unwrap(), "too-large");
    assert_eq!(dead[0].headers.get("dead-letter-offset").unwrap(), "1");
    let mut audit = values(broker, "audit", Isolation::ReadCommitted);
    audit.sort();
    assert_eq!(audit, ["10", "20", "5000"]);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_too_large_is_a_dead_letter_without_value() {
    let broker = small_broker();
    produce_sizes(&broker);
    support::run_to_the_end(&inflate(), &broker).await;
    check_too_large(&broker);
}

#[tokio::test(start_paused = true)]
async fn in_exactly_once_mode_too_an_output_that_is_too_large_is_a_dead_letter() {
    let broker = small_broker();
    produce_sizes(&broker);
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
    inflate().run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
    check_too_large(&broker);
}

#[tokio::test(start_paused = true)]
async fn aborted_outputs_are_published_again_and_never_executed_again() {
    let (broker, diary) = (broker(2), Diary::new());
    for id in 0..20 {
        produce(&broker, Some(&(id % 3).to_string()), &Task::new(id));
    }
    broker.fail(Operation::EndTransaction, 3, Fault::Aborted);
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
    let topology = topology(diary.clone()).with_limits(limits());
    topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
    assert_eq!(diary.began().len(), 20);
    assert_eq!(results(&broker).len(), 20);
    assert!(results(&broker).values().all(|count| *count == 1));
}

/// A topic that is missing, for example: what is executed meanwhile would be executed again after a stop.
#[tokio::test(start_paused = true)]
async fn nothing_is_taken_in_while_outputs_are_refused_again_and_again() {
    const REFUSALS: usize = 12;
    let (broker, diary) = (broker(2), Diary::new());
    for id in 0..5_000 {
        produce(&broker, None, &Task { takes_ms: 5, ..Task::new(id) });
    }
    broker.fail(Operation::EndTransaction, REFUSALS, Fault::Aborted);
    let (seen, begun) = (diary.clone(), Arc::new(Mutex::new(Vec::new())));
    let counts = begun.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::PublishFailed(_) = event {
            counts.lock().unwrap().push(seen.began().len());
        }
    });
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
    let limits = limits().executing_records(8).in_flight_records(4_000);
    let topology = topology(diary.clone()).with_limits(limits).with_observer(observer);
    topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
    let begun = begun.lock().unwrap();
    assert_eq!(begun.len(), REFUSALS);
    assert_eq!(begun[3], begun[REFUSALS - 1], "{begun:?}");
    assert_eq!((diary.began().len(), results(&broker).len()), (5_000, 5_000));
}

/// A sink that counts its batches under way, and notes the outputs of each.
struct Counted<S> {
    sink: S,
    under_way: AtomicUsize,
    outputs: Mutex<Vec<usize>>,
}

impl<S> Counted<S> {
    fn new(sink: S) -> Self {
        Self { sink, under_way: 0.into(), outputs: Mutex::default() }
    }
}

#[async_trait]
impl<S: Sink> Sink for Counted<S> {
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.outputs.lock().unwrap().push(batch.outputs.len());
        let published = self.sink.publish(batch).await;
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        published
    }

    fn commits(&self) -> Commits {
        self.sink.commits()
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.sink.close().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_beside_others_is_overtaken_by_no_job_of_its_keys() {
    let (broker, diary) = (broker(2), Diary::new());
    for id in 0..6 {
        let task = Task::new(id).takes(Duration::from_secs(1 + id % 3));
        produce(&broker, Some(&(id % 3).to_string()), &task);
    }
    let sink = Counted::new(broker.producer());
    let source = broker.consumer(GROUP, [JOBS]).build();
    let outage = async {
        sleep(Duration::from_millis(500)).await;
        broker.stop();
        broker.fail(Operation::Publish, 1, Fault::Aborted);
        sleep(Duration::from_secs(600)).await;
        let mut began = diary.began();
        began.sort_unstable();
        assert_eq!(began, [0, 1, 2], "the other jobs wait for their keys");
        assert_eq!(sink.under_way.load(Ordering::Relaxed), 3, "each job's batch");
        broker.start();
        broker.caught_up(GROUP, JOBS).await;
    };
    topology(diary.clone()).with_limits(limits()).run(&source, &sink, outage).await.unwrap();
    assert_eq!(diary.began()[3..], [4, 5, 3], "the batch of job 0 failed");
    assert_eq!(results(&broker), (0..6).map(|id| (id, 1)).collect());
}

#[tokio::test(start_paused = true)]
async fn beside_two_batches_outputs_gather_for_a_while() {
    let (broker, diary) = (broker(2), Diary::new());
    for id in 0..10 {
        let task = Task::new(id).takes(Duration::from_millis(1_000 + id));
        produce(&broker, Some(&id.to_string()), &task);
    }
    let sink = Counted::new(broker.producer());
    let source = broker.consumer(GROUP, [JOBS]).build();
    let outage = async {
        sleep(Duration::from_millis(500)).await;
        broker.stop();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(*sink.outputs.lock().unwrap(), [1, 1, 8]);
        broker.start();
        broker.caught_up(GROUP, JOBS).await;
    };
    topology(diary.clone()).with_limits(limits()).run(&source, &sink, outage).await.unwrap();
    assert_eq!(results(&broker).len(), 10);
}

#[tokio::test(start_paused = true)]
async fn positions_that_a_transaction_has_committed_are_not_committed_again() {
    let broker = broker(2);
    for id in 0..20 {
        produce(&broker, None, &Task::new(id).takes(Duration::from_secs(id)));
    }
    let batches = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let seen = batches.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        let (published, committed) = &mut *seen.lock().unwrap();
        match event {
            Event::Published { batch, .. } => published.push(batch.positions.clone()),
            Event::Committed { positions, .. } => committed.push(positions.to_vec()),
            _ => {}
        }
    });
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
    let topology = topology(Diary::new()).with_limits(limits()).with_observer(observer);
    topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
    assert_eq!(results(&broker).len(), 20);
    let (published, committed) = &*batches.lock().unwrap();
    assert_eq!(published.len(), 20);
    assert_eq!(committed, published, "with each batch, and none beside the transactions");
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_outputs_wait_and_nothing_is_dropped() {
    let (broker, diary) = (broker(2), Diary::new());
    for id in 0..20 {
        produce(&broker, None, &Task::new(id).takes(Duration::from_secs(id)));
    }
    let outage = async {
        sleep(Duration::from_secs(3)).await;
        broker.stop();
        sleep(Duration::from_secs(600)).await;
        broker.start();
        broker.caught_up(GROUP, JOBS).await;
    };
    let source = broker.consumer(GROUP, [JOBS]).build();
    let topology = topology(diary.clone()).with_limits(limits());
    topology.run(&source, &broker.producer(), outage).await.unwrap();
    assert_eq!(diary.ended().len(), 20);
    assert_eq!(results(&broker).len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_broken_sink_stops_the_run_and_says_so() {
    let broker = broker(1);
    produce(&broker, None, &Task::new(1));
    broker.fail(Operation::Publish, 1, Fault::Broken);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let never = std::future::pending();
    let error = topology(Diary::new()).run(&source, &broker.producer(), never).await.unwrap_err();
    assert!(matches!(error, RunError::Sink(_)), "{error}");
}

fn workers(broker: &Broker, count: usize) -> Vec<Worker> {
    let worker = |_| Worker {
        source: Box::new(broker.consumer(GROUP, [JOBS]).build()),
        sink: Box::new(broker.producer()),
        store: None,
    };
    (0..count).map(worker).collect()
}

#[tokio::test(start_paused = true)]
async fn several_workers_share_the_partitions() {
    let (broker, diary) = (broker(4), Diary::new());
    for id in 0..100 {
        produce(&broker, Some(&id.to_string()), &Task::new(id).takes(Duration::from_millis(50)));
    }
    let topology = topology(diary.clone()).with_limits(limits());
    let workers = workers(&broker, 3);
    let owners = |broker: &Broker| {
        broker.assignment(GROUP).into_values().collect::<std::collections::BTreeSet<_>>().len()
    };
    let all_share = async {
        broker.until(|broker| owners(broker) == 3).await;
        broker.caught_up(GROUP, JOBS).await;
    };
    topology.run_workers(&workers, all_share).await.unwrap();
    assert_eq!(diary.ended().len(), 100);
    assert!(results(&broker).values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn when_one_worker_breaks_the_others_are_drained_and_the_error_is_returned() {
    let (broker, diary) = (broker(2), Diary::new());
    let slow = Task::new(1).takes(Duration::from_secs(5));
    produce(&broker, None, &slow);
    let topology = topology(diary.clone()).with_limits(limits());
    let workers = workers(&broker, 2);
    let break_one = async {
        sleep(Duration::from_secs(1)).await;
        broker.fail(Operation::Fetch, 1, Fault::Broken);
        produce(&broker, None, &Task::new(2));
        std::future::pending::<()>().await;
    };
    let error = topology.run_workers(&workers, break_one).await.unwrap_err();
    assert!(matches!(error, RunError::Source(_)), "{error}");
}
