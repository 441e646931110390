//! How long and how many: retention, and the limits.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jobstream::record::ProducerRecord;
use jobstream::sinks::Ambiguous;
use jobstream::state::Store as _;
use tokio::time::sleep;

use crate::noting::{Post, ROOMY, outcomes, produce, topology, with_limits};
use crate::support::Task;
use crate::support::stateful::{STATE, broker, pair, run_to_the_end};

#[tokio::test(start_paused = true)]
async fn an_entry_is_kept_for_the_retention_and_removed_after_it() {
    let (broker, post) = (broker(1), Post::faithful());
    let topology = topology(&post, Ambiguous::Resend);
    let comes = async |id| {
        produce(&broker, &Task::new(id));
        run_to_the_end(&topology, &broker).await;
    };
    comes(0).await;
    comes(1).await;
    post.wall_clock_seconds.fetch_add(600, Ordering::Relaxed);
    comes(2).await;
    comes(0).await;
    assert_eq!((post.executions()[&0], post.notes.with("Pruned").len()), (1, 0), "it is known");

    post.wall_clock_seconds.fetch_add(1, Ordering::Relaxed);
    comes(3).await;
    let stored = broker.store(STATE).restore(0).await.unwrap();
    assert_eq!(stored.len(), 2, "the first two are gone");
    comes(0).await;
    assert_eq!(post.executions()[&0], 2, "forgotten, it is another job");
}

#[tokio::test(start_paused = true)]
async fn entries_of_records_that_may_be_delivered_again_are_kept_however_old() {
    let (broker, post) = (broker(1), Post::faithful());
    produce(&broker, &Task::new(0).takes(Duration::from_secs(100)));
    (1..20).for_each(|id| produce(&broker, &Task::new(id)));
    let topology = topology(&post, Ambiguous::Resend);
    let (worker, member) = pair(&broker, "first");
    let crash = async {
        sleep(Duration::from_secs(10)).await;
        // The clock jumps: everything is too old, and nothing is below the frontier.
        post.wall_clock_seconds.fetch_add(1_000_000, Ordering::Relaxed);
        (20..30).for_each(|id| produce(&broker, &Task::new(id)));
        sleep(Duration::from_secs(10)).await;
    };
    tokio::select! {
        biased;
        ended = topology.run_worker(&worker, std::future::pending()) => panic!("{ended:?}"),
        () = crash => {}
    }
    broker.expire(member);
    assert_eq!(post.executions().len(), 30);
    assert!(post.notes.with("Pruned").is_empty());
    assert_eq!(broker.store(STATE).restore(0).await.unwrap().len(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_full_ledger_makes_jobs_wait_and_says_so_once_until_entries_are_old_enough() {
    let (broker, post) = (broker(1), Post::faithful());
    let limits = ROOMY.entries_max(10).in_doubt_max(1);
    let topology = with_limits(&post, Ambiguous::Resend, limits);
    (0..10).for_each(|id| produce(&broker, &Task::new(id)));
    run_to_the_end(&topology, &broker).await;
    (10..15).for_each(|id| produce(&broker, &Task::new(id)));
    produce(&broker, &Task::new(3));
    let time = async {
        sleep(Duration::from_secs(300)).await;
        assert_eq!(post.executions().len(), 10, "nothing is executed");
        assert_eq!(post.notes.with("Full").len(), 1);
        post.wall_clock_seconds.fetch_add(601, Ordering::Relaxed);
    };
    let run = run_to_the_end(&topology, &broker);
    futures::future::join(run, time).await;
    assert_eq!(post.executions().len(), 15, "none has failed for it");
    assert!(outcomes(&broker).iter().all(|outcome| !outcome.contains("navailable")));
    assert_eq!(post.notes.with("HasRoom").len(), 1);
    assert!(broker.store(STATE).restore(0).await.unwrap().len() <= 10);
}

#[tokio::test(start_paused = true)]
async fn attempts_between_intent_and_end_have_a_limit() {
    let (broker, post) = (broker(1), Post::faithful());
    (0..20).for_each(|id| produce(&broker, &Task::new(id).takes(Duration::from_secs(10))));
    let topology = topology(&post, Ambiguous::Resend);
    let (worker, member) = pair(&broker, "first");
    tokio::select! {
        biased;
        ended = topology.run_worker(&worker, std::future::pending()) => panic!("{ended:?}"),
        () = sleep(Duration::from_secs(5)) => {}
    }
    broker.expire(member);
    assert_eq!(post.notes.with("Intended").len(), ROOMY.in_doubt_max);
    assert_eq!(broker.store(STATE).restore(0).await.unwrap().len(), ROOMY.in_doubt_max);
    assert_eq!(post.executions().len(), ROOMY.in_doubt_max);
}

#[tokio::test(start_paused = true)]
async fn what_another_program_has_written_is_reported_once_for_its_partition() {
    let (broker, post) = (broker(1), Post::faithful());
    for key in ["one", "other"] {
        broker.produce(ProducerRecord::to(STATE).key(key).value("no entry")).unwrap();
    }
    (0..20).for_each(|id| produce(&broker, &Task::new(id)));
    run_to_the_end(&topology(&post, Ambiguous::Resend), &broker).await;
    assert_eq!(post.executions().len(), 20);
    assert_eq!(post.notes.with("Unreadable").len(), 1);
}
