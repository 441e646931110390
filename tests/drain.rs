//! The drain: what is in flight finishes, nothing else starts, and nothing is repeated.

mod support;
mod wrapped;

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobstream::sources::SourceEvent;
use jobstream::topology::{Event, Limits};
use jobstream_testkit::broker::{Broker, Fault, Operation};
use support::{
    CommitWatch, Diary, GROUP, JOBS, Task, broker, frontiers, limits, produce, results,
    run_to_the_end, topology,
};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};
use wrapped::{Watch, Wrapped};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Keyless tasks that take the given seconds, one each.
fn produce_all(broker: &Broker, takes: &[u64]) {
    for (id, takes) in takes.iter().enumerate() {
        produce(broker, None, &Task::new(id as u64).takes(seconds(*takes)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_finishes_what_is_in_flight_and_starts_nothing_else() {
    let (broker, diary) = (broker(1), Diary::new());
    produce_all(&broker, &[5, 5, 5, 5, 5]);
    let limits = limits().in_flight_records(3);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let topology = topology(diary.clone()).with_limits(limits);
    let drained = topology.run(&source, &broker.producer(), sleep(seconds(2))).await.unwrap();
    assert_eq!(drained.unfinished, 0);
    assert_eq!(diary.began(), [0, 1, 2]);
    assert_eq!(diary.ended(), [0, 1, 2]);
    assert_eq!(frontiers(&broker)[&0], 3);
    assert!(broker.members(GROUP).is_empty(), "the member has not left its group");
}

/// Counts the records that a source yields.
#[derive(Default)]
struct Records(AtomicUsize);

impl Watch for Records {
    fn on(&self, event: &SourceEvent) {
        self.0.fetch_add(usize::from(matches!(event, SourceEvent::Record(_))), Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_after_the_shutdown_began() {
    let (broker, diary) = (broker(2), Diary::new());
    produce_all(&broker, &[5; 3_000]);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let source = Wrapped { source, with: Records::default() };
    let (records, at_shutdown) = (&source.with.0, AtomicUsize::new(0));
    let limits = limits().executing_records(8_192);
    let topology = topology(diary.clone()).with_limits(limits);
    // The shutdown begins within a backlog, with room for all of it.
    let shutdown = async {
        while records.load(Relaxed) == 0 {
            yield_now().await;
        }
        at_shutdown.store(records.load(Relaxed), Relaxed);
    };
    topology.run(&source, &broker.producer(), shutdown).await.unwrap();
    assert_eq!(records.load(Relaxed), at_shutdown.load(Relaxed));
    assert_eq!(diary.ended().len(), records.load(Relaxed), "each that was fetched is executed");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_wait_in_line_or_for_a_retry_are_in_flight_and_finish_too() {
    let (broker, diary) = (broker(1), Diary::new());
    produce(&broker, Some("a"), &Task::new(0).takes(seconds(1)).fails(2));
    produce(&broker, Some("a"), &Task::new(1).takes(seconds(1)));
    let source = broker.consumer(GROUP, [JOBS]).build();
    let topology = topology(diary.clone()).with_limits(limits());
    topology.run(&source, &broker.producer(), sleep(seconds(1))).await.unwrap();
    assert_eq!(diary.ended(), [0, 1]);
    assert_eq!(frontiers(&broker)[&0], 2);
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_repeats_nothing_also_with_jobs_finished_above_an_unfinished_one() {
    let (broker, diary) = (broker(1), Diary::new());
    produce_all(&broker, &[1, 90, 1, 90, 1]);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let topology = topology(diary.clone()).with_limits(limits());
    let started = Instant::now();
    let drained = topology.run(&source, &broker.producer(), sleep(seconds(10))).await.unwrap();
    assert_eq!(drained.unfinished, 2);
    assert_eq!(started.elapsed(), seconds(10) + Limits::default().shutdown_timeout);
    assert_eq!(frontiers(&broker)[&0], 1);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(diary.began(), [0, 1, 2, 3, 4, 1, 3]);
    assert!(results(&broker).values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_to_a_live_member_repeats_nothing() {
    let (broker, diary) = (broker(2), Diary::new());
    produce_all(&broker, &[3; 40]);
    let topology = topology(diary.clone()).with_limits(limits());
    let first = broker.consumer(GROUP, [JOBS]).build();
    let producer = broker.producer();
    let done = || broker.caught_up(GROUP, JOBS);
    let second = async {
        sleep(seconds(1)).await;
        let second = broker.consumer(GROUP, [JOBS]).build();
        topology.run(&second, &producer, done()).await
    };
    let (one, other) = tokio::join!(topology.run(&first, &producer, done()), second);
    assert_eq!((one.unwrap().unfinished, other.unwrap().unfinished), (0, 0));
    assert_eq!(diary.ended().len(), 40);
    assert!(results(&broker).values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_takes_too_long_is_cut_off_and_what_finished_stays_in_the_position() {
    let (broker, diary) = (broker(1), Diary::new());
    produce_all(&broker, &[500, 5, 5]);
    let cut_off = Arc::new(Mutex::new(Vec::new()));
    let seen = cut_off.clone();
    let started = Instant::now();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::CutOff { unfinished, .. } = event {
            seen.lock().unwrap().push((*unfinished, started.elapsed()));
        }
    });
    let limits = limits().drain_timeout(seconds(20));
    let topology = topology(diary.clone()).with_limits(limits).with_observer(observer);
    let (first, second) =
        (broker.consumer(GROUP, [JOBS]).build(), broker.consumer(GROUP, [JOBS]).build());
    let producer = broker.producer();
    let hand_over = async {
        sleep(seconds(2)).await;
        let partition = &broker.partitions(JOBS)[0];
        let to = if broker.assignment(GROUP)[partition] == first.member() {
            second.member()
        } else {
            first.member()
        };
        broker.reassign(GROUP, partition, to);
    };
    let done = || broker.caught_up(GROUP, JOBS);
    let (one, other, ()) = tokio::join!(
        topology.run(&first, &producer, done()),
        topology.run(&second, &producer, done()),
        hand_over
    );
    assert_eq!(one.unwrap().unfinished + other.unwrap().unfinished, 1);
    assert_eq!(*cut_off.lock().unwrap(), [(1, seconds(22))]);
    assert_eq!(diary.began(), [0, 1, 2, 0]);
    assert!(results(&broker).values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn after_a_partition_is_lost_nothing_more_is_started_for_it() {
    let (broker, diary) = (broker(1), Diary::new());
    produce(&broker, Some("a"), &Task::new(0).takes(seconds(10)));
    produce(&broker, Some("a"), &Task::new(1).takes(seconds(10)));
    produce(&broker, Some("b"), &Task::new(2).fails(3));
    let source = broker.consumer(GROUP, [JOBS]).build();
    let member = source.member();
    let topology = topology(diary.clone()).with_limits(limits());
    let lose = async {
        sleep(Duration::from_millis(100)).await;
        broker.hold(Operation::Join);
        broker.expire(member);
        sleep(seconds(600)).await;
    };
    let producer = broker.producer();
    let drained = topology.run(&source, &producer, lose).await.unwrap();
    assert_eq!(drained.unfinished, 0);
    assert_eq!(diary.began(), [0, 2]);
    assert!(results(&broker).is_empty());
    assert!(frontiers(&broker).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_in_time_also_while_the_broker_is_away() {
    let (broker, diary) = (broker(1), Diary::new());
    produce_all(&broker, &[1, 1]);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let away = async {
        sleep(Duration::from_millis(500)).await;
        broker.stop();
        sleep(seconds(5)).await;
    };
    let topology = topology(diary.clone()).with_limits(limits());
    let started = Instant::now();
    let drained = topology.run(&source, &broker.producer(), away).await.unwrap();
    assert_eq!(drained.unfinished, 2);
    let Limits { shutdown_timeout, close_timeout, .. } = limits();
    let longest = Duration::from_millis(5_500) + shutdown_timeout + close_timeout * 2;
    assert!(started.elapsed() <= longest, "{:?}", started.elapsed());
    broker.start();
    broker.expire(source.member());
    run_to_the_end(&topology, &broker).await;
    assert_eq!(results(&broker).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_fails_for_now_is_made_again() {
    let (broker, diary) = (broker(1), Diary::new());
    produce_all(&broker, &[0; 10]);
    broker.fail(Operation::Commit, 3, Fault::Transient);
    let failed = Arc::new(Mutex::new(0));
    let seen = failed.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if matches!(event, Event::CommitFailed(_)) {
            *seen.lock().unwrap() += 1;
        }
    });
    let topology = topology(diary.clone()).with_limits(limits()).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(*failed.lock().unwrap(), 3);
    assert_eq!(frontiers(&broker)[&0], 10);
}

#[tokio::test(start_paused = true)]
async fn the_last_commit_of_a_shutdown_is_made_again_if_it_fails_for_now() {
    let (broker, diary) = (broker(1), Diary::new());
    produce_all(&broker, &[0; 10]);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let stop = async {
        sleep(Duration::from_millis(100)).await;
        broker.fail(Operation::Commit, 5, Fault::Transient);
    };
    let topology = topology(diary.clone()).with_limits(limits());
    topology.run(&source, &broker.producer(), stop).await.unwrap();
    assert_eq!(frontiers(&broker)[&0], 10);
}

#[tokio::test(start_paused = true)]
async fn outputs_of_an_older_assignment_finish_no_record_of_the_newer_one() {
    let (broker, diary) = (broker(1), Diary::new());
    for id in 0..3 {
        produce(&broker, None, &Task::new(id));
    }
    broker.hold(Operation::Publish);
    let source = broker.consumer(GROUP, [JOBS]).build();
    let member = source.member();
    let watch = Arc::new(CommitWatch::default());
    let observer = Arc::new(move |event: &Event<'_>| watch.on(event));
    let topology = topology(diary.clone()).with_limits(limits()).with_observer(observer);
    let lose_and_regain = async {
        sleep(seconds(1)).await;
        broker.expire(member);
        broker.until(|broker| broker.assignment(GROUP).len() == 1).await;
        sleep(seconds(1)).await;
        broker.release(Operation::Publish);
        broker.hold(Operation::Publish);
        sleep(seconds(1)).await;
        assert!(frontiers(&broker).is_empty(), "found {:?}", frontiers(&broker));
        broker.release(Operation::Publish);
        broker.caught_up(GROUP, JOBS).await;
    };
    let drained = topology.run(&source, &broker.producer(), lose_and_regain).await.unwrap();
    assert_eq!(drained.unfinished, 0);
    assert_eq!(diary.ended(), [0, 1, 2, 0, 1, 2]);
    assert_eq!(frontiers(&broker)[&0], 3);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_source_is_a_shutdown() {
    use async_trait::async_trait;
    use futures::StreamExt;
    use futures::stream::{self, BoxStream};
    use jobstream::position::{PartitionPosition, Position};
    use jobstream::record::{ConsumerRecord, TopicPartition};
    use jobstream::sources::{Assignment, CommitError, Source, SourceError, SourceEvent};

    /// Three records, and no more.
    struct Finite(Mutex<Vec<PartitionPosition>>, Notify);

    #[async_trait]
    impl Source for Finite {
        fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>> {
            let partition = TopicPartition::new(JOBS, 0);
            let assigned = Assignment {
                partition: partition.clone(),
                generation: 1,
                position: None,
                reset: None,
            };
            let records = (0..3).map(move |offset| {
                ConsumerRecord::new(partition.clone(), offset, 1)
                    .value(serde_json::to_vec(&Task::new(offset as u64)).unwrap())
            });
            let events = [SourceEvent::Assigned(vec![assigned])].into_iter();
            stream::iter(events.chain(records.map(SourceEvent::Record)).map(Ok)).boxed()
        }
        fn pause(&self, _: &[TopicPartition]) {}
        fn resume(&self, _: &[TopicPartition]) {}
        async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
            self.0.lock().unwrap().extend_from_slice(positions);
            Ok(())
        }
        fn window_offsets(&self) -> i64 {
            Position::WINDOW_OFFSETS
        }
        async fn release(&self, _: &[TopicPartition]) -> Result<(), SourceError> {
            Ok(())
        }
        async fn close(&self) -> Result<(), SourceError> {
            self.1.notify_one();
            Ok(())
        }
    }

    let source = Finite(Mutex::default(), Notify::new());
    let (broker, diary) = (broker(1), Diary::new());
    let never = std::future::pending();
    topology(diary.clone()).run(&source, &broker.producer(), never).await.unwrap();
    assert_eq!(diary.ended(), [0, 1, 2]);
    assert_eq!(source.0.lock().unwrap().last().unwrap().position.frontier(), 3);
    source.1.notified().await;
}
