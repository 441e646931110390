//! A crash at any point: how often a job is executed is bounded, and no job is lost.

use std::sync::Arc;
use std::time::Duration;

use jobstream::sinks::{Ambiguous, JobErrorKind};
use jobstream_testkit::broker::{Broker, Fault, Isolation, Operation};
use proptest::prelude::*;

use crate::noting::{Post, ROOMY, outcomes, produce, results, topology};
use crate::support::stateful::{STATE, broker, pair, run_to_the_end};
use crate::support::{CrashAt, GROUP, JOBS, Task};

const TASKS: u64 = 8;

/// One in four fails at first, and one of them in a way that leaves open what it has done.
fn post() -> Arc<Post> {
    Post::new(|id, execution| match (id % 8, execution) {
        (3, 1) => Some(JobErrorKind::Transient),
        (5, 1) => Some(JobErrorKind::Unavailable),
        (6, 1) => Some(JobErrorKind::Ambiguous),
        _ => None,
    })
}

fn produce_some(broker: &Broker) {
    for id in 0..TASKS {
        produce(broker, &Task::new(id).takes(Duration::from_millis(id % 3 * 30)));
    }
}

/// Runs until the crash at the given poll; says whether the run ended before.
async fn run_until_crash(
    broker: &Broker,
    post: &Arc<Post>,
    policy: Ambiguous,
    poll: usize,
) -> bool {
    let topology = topology(post, policy);
    let (worker, member) = pair(broker, "first");
    let run = topology.run_worker(&worker, broker.caught_up(GROUP, JOBS));
    let ended = CrashAt::new(poll, run).await.is_some();
    broker.expire(member);
    ended
}

/// Executions of a job that were neither its first nor after a failure that was certain.
fn extra(post: &Post) -> u64 {
    let of = |(id, count): (&u64, &u64)| count - 1 - u64::from([3, 5].contains(id) && *count > 1);
    post.executions().iter().map(of).sum()
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_point_a_job_is_executed_once_and_once_more_for_each_counted_resend() {
    let (mut poll, mut resends) = (0, 0);
    loop {
        let (broker, post) = (broker(2), post());
        produce_some(&broker);
        let ended = run_until_crash(&broker, &post, Ambiguous::Resend, poll).await;
        run_to_the_end(&topology(&post, Ambiguous::Resend), &broker).await;
        let results = results(&broker);
        assert!(results.values().eq(&[1; TASKS as usize]), "crash at poll {poll}: {results:?}");
        let (extra, counted) = (extra(&post), post.resends());
        assert!(extra <= counted, "crash at poll {poll}: {extra} extra, {counted} counted");
        // One of the resends needs no crash.
        assert!(extra <= 1 + ROOMY.in_doubt_max as u64, "crash at poll {poll}: {extra} extra");
        assert!(
            counted <= 1 + ROOMY.in_doubt_max as u64,
            "crash at poll {poll}: {counted} counted"
        );
        resends += counted;
        if ended {
            assert_eq!((extra, counted), (1, 1), "without a crash, the ambiguous one only");
            assert!(outcomes(&broker).contains(&"6 fresh after 1".to_owned()));
            break;
        }
        poll += 1;
    }
    assert!(poll > 40 && resends > poll as u64, "{poll} polls with {resends} resends");
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_at_any_point_a_job_is_executed_at_most_once_with_park() {
    let (mut poll, mut parked) = (0, 0);
    loop {
        let (broker, post) = (broker(2), post());
        produce_some(&broker);
        let ended = run_until_crash(&broker, &post, Ambiguous::Park, poll).await;
        run_to_the_end(&topology(&post, Ambiguous::Park), &broker).await;
        let results = results(&broker);
        assert!(results.values().eq(&[1; TASKS as usize]), "crash at poll {poll}: {results:?}");
        assert_eq!((extra(&post), post.resends()), (0, 0), "crash at poll {poll}");
        let outcomes = outcomes(&broker);
        parked += outcomes.iter().filter(|outcome| outcome.ends_with("Ambiguous")).count();
        if ended {
            assert_eq!(post.executions().len() as u64, TASKS);
            break;
        }
        poll += 1;
    }
    assert!(poll > 40 && parked > poll, "{poll} polls with {parked} parked");
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_a_job_waits_for_its_next_attempt_leaves_nothing_open() {
    for kind in [JobErrorKind::Transient, JobErrorKind::Unavailable] {
        let broker = broker(1);
        let post = Post::new(move |_, execution| (execution == 1).then_some(kind));
        produce(&broker, &Task::new(0));
        let topology = topology(&post, Ambiguous::Park);
        let (worker, member) = pair(&broker, "first");
        let crash = tokio::time::sleep(Duration::from_millis(300));
        let run = topology.run_worker(&worker, std::future::pending());
        tokio::select! {
            biased;
            ended = run => panic!("{ended:?}"),
            () = crash => {}
        }
        broker.expire(member);
        assert_eq!(post.notes.with("NotExecuted").len(), 1, "{kind:?}");
        run_to_the_end(&topology, &broker).await;
        assert_eq!(outcomes(&broker), ["0 fresh"], "{kind:?}");
        assert_eq!(post.executions()[&0], 2);
    }
}

async fn crash_often(polls: &[usize], tasks: u64, policy: Ambiguous) -> (Broker, Arc<Post>) {
    let (broker, post) = (broker(3), post());
    for id in 0..tasks {
        produce(&broker, &Task::new(id).takes(Duration::from_millis(id % 4 * 20)));
    }
    for poll in polls {
        run_until_crash(&broker, &post, policy, *poll).await;
    }
    run_to_the_end(&topology(&post, policy), &broker).await;
    (broker, post)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_crashes_how_often_the_ledger_holds(
        polls in prop::collection::vec(0_usize..150, 0..6),
        tasks in 1_u64..24,
        parks in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let policy = if parks { Ambiguous::Park } else { Ambiguous::Resend };
        let (broker, post) = runtime.block_on(crash_often(&polls, tasks, policy));
        prop_assert_eq!(results(&broker).len() as u64, tasks);
        prop_assert!(results(&broker).values().all(|count| *count == 1));
        let certain = |id: u64| u64::from(id % 8 == 3 || id % 8 == 5);
        let extra = |(id, count): (&u64, &u64)| (count - 1).saturating_sub(certain(*id));
        let extra: u64 = post.executions().iter().map(extra).sum();
        prop_assert!(extra <= post.resends(), "{} extra, {} counted", extra, post.resends());
        prop_assert!(!parks || post.resends() == 0);
    }
}

/// The worker is the only one who knows what the topic held.
#[tokio::test(start_paused = true)]
async fn what_was_known_when_the_topic_was_deleted_is_written_to_the_new_one() {
    let (broker, post) = (broker(1), Post::faithful());
    (0..3).for_each(|id| produce(&broker, &Task::new(id)));
    let resending = topology(&post, Ambiguous::Resend);
    let (worker, _) = pair(&broker, "only");
    let misfortune = async {
        broker.caught_up(GROUP, JOBS).await;
        broker.recreate_topic(STATE, 1);
        broker.fail(Operation::Publish, 1, Fault::Aborted);
        produce(&broker, &Task::new(3));
        // An intent, an outcome, and what was known of three.
        broker.until(|it| it.records(STATE, Isolation::ReadCommitted).len() == 5).await;
        broker.caught_up(GROUP, JOBS).await;
    };
    let drained = resending.run_worker(&worker, misfortune).await.unwrap();
    assert_eq!(drained.unfinished, 0);
    // The next one knows it.
    produce(&broker, &Task::new(1));
    run_to_the_end(&resending, &broker).await;
    assert_eq!(post.executions()[&1], 1);
}
