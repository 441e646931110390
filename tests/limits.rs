//! Back-pressure: in flight never above its limit, memory bounded whatever the input.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt, iter, once, pending};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ConsumerRecord, Header, Headers, ProducerRecord, Topic, TopicPartition};
use jobstream::sources::{Assignment, CommitError, Source, SourceError, SourceEvent};
use jobstream::topology::Event;
use jobstream_testkit::broker::Isolation;
use proptest::prelude::*;
use support::{
    Diary, GROUP, JOBS, Never, Notes, Task, broker, limits, produce, results, run_to_the_end,
    topology,
};
use tokio::time::{sleep, timeout};

async fn most_in_flight(tasks: &[(Option<u8>, u8, u8)], limit: usize) -> usize {
    let (broker, diary) = (broker(3), Diary::new());
    for (id, (key, takes, failures)) in tasks.iter().enumerate() {
        let takes = Duration::from_millis(u64::from(*takes));
        let task = Task::new(id as u64).takes(takes).fails(u32::from(*failures));
        produce(&broker, key.map(|key| key.to_string()).as_deref(), &task);
    }
    let in_flight = AtomicUsize::new(0);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let observer = Arc::new(move |event: &Event<'_>| match event {
        Event::Fetched(_) => {
            let now = in_flight.fetch_add(1, Ordering::Relaxed) + 1;
            seen.fetch_max(now, Ordering::Relaxed);
        }
        Event::Finished { .. } => drop(Some(in_flight.fetch_sub(1, Ordering::Relaxed))),
        _ => {}
    });
    let limits = limits().in_flight_records(limit);
    let topology = topology(diary.clone()).with_limits(limits).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(results(&broker).len(), tasks.len());
    assert!(diary.most_concurrent() <= most.load(Ordering::Relaxed));
    most.load(Ordering::Relaxed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_flight_is_never_above_its_limit_and_reaches_it(
        tasks in prop::collection::vec((prop::option::of(0_u8..4), 1_u8..50, 0_u8..2), 1..80),
        limit in 1_usize..40,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let most = runtime.block_on(most_in_flight(&tasks, limit));
        prop_assert_eq!(most, limit.min(tasks.len()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_input_and_a_sink_that_never_answers_take_in_no_more_than_the_limit() {
    let broker = broker(3);
    let fetched = Arc::new(AtomicUsize::new(0));
    let seen = fetched.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if matches!(event, Event::Fetched(_)) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let limits = limits().in_flight_records(100);
    let topology = topology(Arc::new(Never)).with_limits(limits).with_observer(observer);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let producer = broker.producer();
    let endless = async {
        for id in 0.. {
            produce(&broker, None, &Task::new(id));
            sleep(Duration::from_millis(100)).await;
        }
    };
    let run = topology.run(&source, &producer, std::future::pending());
    let both = timeout(Duration::from_secs(3600), futures::future::join(run, endless));
    assert!(both.await.is_err(), "expected that neither ends");
    assert_eq!(fetched.load(Ordering::Relaxed), 100);
}

#[tokio::test(start_paused = true)]
async fn no_more_records_than_the_limit_wait_for_a_job_sink_that_never_answers() {
    let broker = broker(3);
    for id in 0..500 {
        produce(&broker, None, &Task::new(id));
    }
    let fetched = Arc::new(AtomicUsize::new(0));
    let seen = fetched.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if matches!(event, Event::Fetched(_)) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let limits = limits().executing_records(100).in_flight_records(1_000);
    let topology = topology(Arc::new(Never)).with_limits(limits).with_observer(observer);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let producer = broker.producer();
    let run = topology.run(&source, &producer, std::future::pending());
    assert!(timeout(Duration::from_secs(3600), run).await.is_err(), "expected no end");
    assert_eq!(fetched.load(Ordering::Relaxed), 100);
}

#[tokio::test(start_paused = true)]
async fn intake_stops_at_the_limit_of_bytes_and_a_larger_record_still_passes() {
    let (broker, diary) = (broker(1), Diary::new());
    for id in 0..50 {
        produce(
            &broker,
            Some(&"k".repeat(1_000 + id)),
            &Task::new(id as u64).takes(Duration::from_secs(1)),
        );
    }
    let limits = limits().in_flight_bytes(4_000);
    run_to_the_end(&topology(diary.clone()).with_limits(limits), &broker).await;
    assert_eq!(diary.most_concurrent(), 4);
    assert_eq!(results(&broker).len(), 50);

    let diary = Diary::new();
    produce(&broker, Some(&"k".repeat(9_000)), &Task::new(99));
    run_to_the_end(&topology(diary.clone()).with_limits(limits), &broker).await;
    assert_eq!(diary.ended(), [99]);
}

#[tokio::test(start_paused = true)]
async fn headers_without_name_and_value_count_for_what_they_take_in_memory() {
    let (broker, diary) = (broker(1), Diary::new());
    let headers: Headers = (0..100).map(|_| Header { name: "".into(), value: None }).collect();
    let bytes = size_of_val(headers.as_slice());
    for id in 0..50 {
        let task = Task::new(id).takes(Duration::from_secs(1));
        let value = serde_json::to_vec(&task).unwrap();
        let headers = headers.clone();
        broker
            .produce(ProducerRecord { headers, ..ProducerRecord::to(JOBS).value(value) })
            .unwrap();
    }
    let limits = limits().in_flight_bytes(4 * bytes);
    run_to_the_end(&topology(diary.clone()).with_limits(limits), &broker).await;
    assert_eq!(diary.most_concurrent(), 4);
    assert_eq!(results(&broker).len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_frontier_that_stands_still_is_reported_once_a_record() {
    let (broker, notes) = (broker(1), Arc::new(Notes::default()));
    for id in 0..2 {
        produce(&broker, Some("a"), &Task::new(id).takes(Duration::from_secs(100)));
    }
    let seen = notes.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::Stuck { partition, offset, age } = event {
            seen.note(format!("{partition} @ {offset} after {} s", age.as_secs()));
        }
    });
    let limits = limits().stuck_after(Duration::from_secs(30));
    let topology = topology(Diary::new()).with_limits(limits).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(notes.all(), ["jobs[0] @ 0 after 30 s", "jobs[0] @ 1 after 30 s"]);
}

/// A source that learns with the assignment how little its commits can say; all records follow at once.
struct Learning {
    records: Vec<ConsumerRecord>,
    has_learnt: AtomicBool,
}

const LEARNT_WINDOW_OFFSETS: i64 = 5;

#[async_trait]
impl Source for Learning {
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>> {
        let partition = self.records[0].partition.clone();
        let assignment = Assignment { partition, generation: 1, position: None, reset: None };
        let assigned = once(async {
            self.has_learnt.store(true, Ordering::Relaxed);
            SourceEvent::Assigned(vec![assignment])
        });
        let records = iter(self.records.iter().cloned().map(SourceEvent::Record));
        assigned.chain(records).chain(pending()).map(Ok).boxed()
    }

    fn pause(&self, _: &[TopicPartition]) {}

    fn resume(&self, _: &[TopicPartition]) {}

    async fn commit(&self, _: &[PartitionPosition]) -> Result<(), CommitError> {
        Ok(())
    }

    fn window_offsets(&self) -> i64 {
        match self.has_learnt.load(Ordering::Relaxed) {
            true => LEARNT_WINDOW_OFFSETS,
            false => Position::WINDOW_OFFSETS,
        }
    }

    async fn release(&self, _: &[TopicPartition]) -> Result<(), SourceError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), SourceError> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_learnt_with_the_assignment_holds_for_its_first_records() {
    let (broker, diary) = (broker(1), Diary::new());
    for id in 0..20 {
        produce(&broker, None, &Task::new(id).takes(Duration::from_secs(u64::from(id == 0) * 60)));
    }
    let records = broker.records(&Topic::from(JOBS), Isolation::ReadUncommitted).into_iter();
    let records = records.map(|mut record| {
        record.generation = 1;
        record
    });
    let records = records.collect();
    let source = Learning { records, has_learnt: AtomicBool::new(false) };
    let limits = limits().shutdown_timeout(Duration::ZERO);
    let topology = topology(diary.clone()).with_limits(limits);
    topology.run(&source, &broker.producer(), sleep(Duration::from_secs(1))).await.unwrap();
    assert_eq!(diary.began().len() as i64, LEARNT_WINDOW_OFFSETS);
}
