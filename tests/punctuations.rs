//! Timers: a punctuator is called for every assigned partition, and for no other.

#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::{FutureExt as _, join, join3, pending};
use jobstream::record::ProducerRecord;
use jobstream::topology::{Punctuation, Punctuator, Topology};
use jobstream_testkit::broker::{Broker, Fault, Isolation, Operation};
use support::{Diary, GROUP, JOBS, RESULTS, Task, broker, limits, produce, topology, values};
use tokio::time::{Instant, sleep};

const SECOND: Duration = Duration::from_secs(1);

/// Keeps each call, with the second at which it began; takes its time, and gives what a test has set.
#[derive(Debug)]
struct Calls {
    began: Instant,
    calls: Mutex<Vec<(u64, Punctuation)>>,
    takes: Duration,
    gives: fn(&Punctuation) -> Vec<ProducerRecord>,
    ended: Mutex<u32>,
}

impl Calls {
    fn new() -> Self {
        let (calls, ended) = Default::default();
        Self { began: Instant::now(), calls, takes: Duration::ZERO, gives: |_| Vec::new(), ended }
    }

    fn seconds(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    fn all(&self) -> Vec<(u64, Punctuation)> {
        self.calls.lock().unwrap().clone()
    }

    /// The seconds at which calls for a partition began.
    fn of(&self, partition: i32) -> Vec<u64> {
        let calls = self.all();
        let own = calls.iter().filter(|(_, call)| call.partition.partition == partition);
        own.map(|(second, _)| *second).collect()
    }
}

#[async_trait]
impl Punctuator for Calls {
    async fn punctuate(&self, punctuation: &Punctuation) -> Vec<ProducerRecord> {
        self.calls.lock().unwrap().push((self.seconds(), punctuation.clone()));
        if !self.takes.is_zero() {
            sleep(self.takes).await;
        }
        *self.ended.lock().unwrap() += 1;
        (self.gives)(punctuation)
    }
}

fn punctuated(calls: &Arc<Calls>) -> Topology {
    topology(Diary::new()).with_limits(limits()).with_punctuator(SECOND, calls.clone())
}

async fn run_for(seconds: u64, topology: &Topology, broker: &Broker) {
    let (source, sink) = (broker.consumer(GROUP, [JOBS]).build(), broker.producer());
    let drained = topology.run(&source, &sink, sleep(Duration::from_secs(seconds))).await;
    assert_eq!(drained.unwrap().unfinished, 0);
}

/// A tick of its partition, as a result.
fn tick(punctuation: &Punctuation) -> Vec<ProducerRecord> {
    let partition = punctuation.partition.partition;
    vec![ProducerRecord::to(RESULTS).value(format!("tick of {partition}"))]
}

#[tokio::test(start_paused = true)]
async fn every_assigned_partition_is_punctuated_at_every_interval() {
    let (broker, calls) = (broker(2), Arc::new(Calls::new()));
    run_for(4, &punctuated(&calls), &broker).await;
    assert_eq!((calls.of(0), calls.of(1)), (vec![1, 2, 3], vec![1, 2, 3]));
    let (_, last) = calls.all().pop().unwrap();
    let Punctuation { assigned_for, last_event, event_time, .. } = last;
    assert_eq!((assigned_for, last_event, event_time), (3 * SECOND, None, None));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_partition_is_that_of_its_last_finished_record_and_goes_on_from_there() {
    let (broker, calls) = (broker(2), Arc::new(Calls::new()));
    let mut record = ProducerRecord::to(JOBS);
    record.value = Some(serde_json::to_vec(&Task::new(0).takes(SECOND / 2)).unwrap().into());
    record.timestamp = Some(70_000);
    record.partition = Some(1);
    broker.produce(record).unwrap();
    run_for(4, &punctuated(&calls), &broker).await;
    let times = |partition| {
        let calls = calls.all().into_iter().filter(|(_, c)| c.partition.partition == partition);
        calls.map(|(_, call)| (call.last_event, call.event_time)).collect::<Vec<_>>()
    };
    let last = Some(70_000);
    assert_eq!(times(1), [70_500, 71_500, 72_500].map(|time| (last, Some(time))));
    assert_eq!(times(0), [(None, None); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_delays_only_the_next_one_of_its_partition_and_holds_up_no_record() {
    let broker = broker(1);
    let calls = Arc::new(Calls { takes: 5 * SECOND, ..Calls::new() });
    let diary = Diary::new();
    let topology =
        topology(diary.clone()).with_limits(limits()).with_punctuator(SECOND, calls.clone());
    let records = async {
        sleep(2 * SECOND).await;
        produce(&broker, Some("a"), &Task::new(0));
        broker.caught_up(GROUP, JOBS).await;
        calls.seconds()
    };
    let ((), finished_at) = join(run_for(9, &topology, &broker), records).await;
    assert!(finished_at < 6, "found {finished_at} s, expected it to finish during the call");
    assert_eq!((diary.ended(), calls.of(0)), (vec![0], vec![1, 7]));
}

#[tokio::test(start_paused = true)]
async fn a_timer_moves_with_its_partition_and_the_call_under_way_is_dropped() {
    let broker = broker(1);
    let [old, new] = [0; 2].map(|_| Arc::new(Calls { takes: 4 * SECOND, ..Calls::new() }));
    let worker = |calls: &Arc<Calls>| {
        let (topology, source) = (punctuated(calls), broker.consumer(GROUP, [JOBS]).build());
        let (member, sink) = (source.member(), broker.producer());
        let run = async move { topology.run(&source, &sink, sleep(20 * SECOND)).await.unwrap() };
        (member, run)
    };
    let ((_, first), (second, other)) = (worker(&old), worker(&new));
    let partition = broker.partitions(JOBS).remove(0);
    let moved = async {
        sleep(3 * SECOND).await;
        broker.reassign(GROUP, &partition, second);
    };
    join3(first, other, moved).await;
    assert_eq!((old.of(0), *old.ended.lock().unwrap()), (vec![1], 0));
    assert_eq!((new.of(0), *new.ended.lock().unwrap()), (vec![4, 9, 14, 19], 3));
}

#[tokio::test(start_paused = true)]
async fn what_a_call_gives_is_published_and_the_next_one_waits_for_the_acknowledgement() {
    let broker = broker(1);
    let calls = Arc::new(Calls { gives: tick, ..Calls::new() });
    let outage = async {
        sleep(SECOND + SECOND / 2).await;
        broker.hold(Operation::Publish);
        sleep(5 * SECOND).await;
        broker.release(Operation::Publish);
    };
    join(run_for(10, &punctuated(&calls), &broker), outage).await;
    assert_eq!(calls.of(0), [1, 2, 7, 8, 9], "one is held from 2.0 to 6.5 s");
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), vec!["tick of 0"; 5]);
}

#[tokio::test(start_paused = true)]
async fn what_is_aborted_is_published_again_and_what_is_too_large_is_dropped() {
    let broker = broker(1);
    let huge = |_: &Punctuation| {
        let large = ProducerRecord::to(RESULTS).value(vec![b'x'; 8 << 20]);
        vec![large, ProducerRecord::to(RESULTS).value("small")]
    };
    let calls = Arc::new(Calls { gives: huge, ..Calls::new() });
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "worker");
    broker.fail(Operation::Publish, 1, Fault::Aborted);
    punctuated(&calls).run(&source, &sink, sleep(3 * SECOND + SECOND / 2)).await.unwrap();
    assert_eq!(calls.of(0).len(), 3);
    assert_eq!(values(&broker, RESULTS, Isolation::ReadCommitted), vec!["small"; 3]);
}

/// A member that sleeps while its partition moves publishes nothing for it when it wakes up.
#[tokio::test(start_paused = true)]
async fn what_a_zombie_gives_is_refused() {
    let broker = broker(1);
    let calls = |gives| Arc::new(Calls { takes: SECOND / 2, gives, ..Calls::new() });
    let zombies = calls(|_| vec![ProducerRecord::to(RESULTS).value("brains")]);
    let owners = calls(tick);
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "zombie");
    let member = source.member();
    let zombie = punctuated(&zombies);
    let zombie = zombie.run(&source, &sink, sleep(300 * SECOND)).map(Result::unwrap);
    let sleeps = async {
        sleep(SECOND + SECOND / 4).await;
        broker.suspend(member);
        sleep(200 * SECOND).await;
        let brains = |it: &String| it == "brains";
        assert!(!values(&broker, RESULTS, Isolation::ReadUncommitted).iter().any(brains));
        broker.wake(member);
    };
    let owner = async {
        sleep(2 * SECOND).await;
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "owner");
        let run = punctuated(&owners);
        run.run(&source, &sink, sleep(298 * SECOND)).await.unwrap();
    };
    join3(zombie, sleeps, owner).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for value in values(&broker, RESULTS, Isolation::ReadCommitted) {
        *counts.entry(value).or_default() += 1;
    }
    assert!(counts["tick of 0"] > 100, "{counts:?}");
    assert_eq!(counts.get("brains"), None);
}

#[tokio::test(start_paused = true)]
async fn no_call_begins_after_the_shutdown() {
    let (broker, calls) = (broker(1), Arc::new(Calls::new()));
    produce(&broker, Some("a"), &Task::new(0).takes(10 * SECOND));
    let limits = limits().shutdown_timeout(60 * SECOND);
    let topology = punctuated(&calls).with_limits(limits);
    run_for(3, &topology, &broker).await;
    assert_eq!((calls.of(0), calls.seconds()), (vec![1, 2], 10));
}

#[tokio::test]
#[should_panic = "there is time between two punctuations"]
async fn an_interval_of_nothing_is_refused() {
    drop(topology(Diary::new()).with_punctuator(Duration::ZERO, Arc::new(Calls::new())));
    pending::<()>().await;
}
