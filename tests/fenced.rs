//! Producers that are fenced: what was executed is published, and not executed again.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jobstream::topology::Event;
use jobstream_testkit::broker::{Fault, Operation};
use support::{Diary, GROUP, JOBS, Task, broker, limits, produce, results, topology};
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn a_fenced_producer_publishes_what_was_executed_and_executes_nothing_again() {
    for operation in [Operation::BeginTransaction, Operation::Publish, Operation::EndTransaction] {
        let (broker, diary) = (broker(2), Diary::new());
        for id in 0..20 {
            produce(&broker, Some(&(id % 3).to_string()), &Task::new(id));
        }
        broker.fail(operation, 3, Fault::Fenced);
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
        let (lost, aborted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (lost.clone(), aborted.clone());
        let observer = Arc::new(move |event: &Event<'_>| match event {
            Event::Lost(_) => _ = counts.0.fetch_add(1, Ordering::Relaxed),
            Event::PublishFailed(_) => _ = counts.1.fetch_add(1, Ordering::Relaxed),
            _ => {}
        });
        let topology = topology(diary.clone()).with_limits(limits()).with_observer(observer);
        topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
        assert_eq!(lost.load(Ordering::Relaxed), 0, "{operation:?}");
        assert_eq!(aborted.load(Ordering::Relaxed), 3, "{operation:?}");
        assert_eq!(diary.began().len(), 20, "{operation:?}: executed again");
        assert_eq!(results(&broker).len(), 20);
        assert!(results(&broker).values().all(|count| *count == 1), "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_member_has_finished_meanwhile_is_not_published_again() {
    let (broker, diary) = (broker(1), Diary::new());
    for id in 0..5 {
        produce(&broker, None, &Task::new(id));
    }
    broker.fail(Operation::EndTransaction, 1_000, Fault::Aborted);
    let (first, first_sink) = broker.exactly_once(GROUP, [JOBS], "one");
    let (second, second_sink) = broker.exactly_once(GROUP, [JOBS], "two");
    let member = first.member();
    let topology = topology(diary.clone()).with_limits(limits());
    let over = async {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(diary.began().len(), 5);
        broker.suspend(member);
        broker.release(Operation::EndTransaction);
        let owned = |broker: &jobstream_testkit::broker::Broker| {
            broker.assignment(GROUP).into_values().any(|owner| owner != member)
        };
        let other = topology.run(&second, &second_sink, broker.caught_up(GROUP, JOBS));
        other.await.unwrap();
        assert!(!owned(&broker), "the second has left");
        broker.wake(member);
        produce(&broker, None, &Task::new(5));
        broker.caught_up(GROUP, JOBS).await;
    };
    topology.run(&first, &first_sink, over).await.unwrap();
    assert_eq!(results(&broker).len(), 6);
    assert!(results(&broker).values().all(|count| *count == 1));
    assert_eq!(diary.began().len(), 11, "five by the second, which can't know");
}
