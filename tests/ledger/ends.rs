//! What the end of an attempt means for the job when it comes again.

use jobstream::sinks::{Ambiguous, JobErrorKind};
use jobstream_testkit::broker::{Broker, Isolation};

use crate::noting::{Post, outcomes, produce, produce_again, topology};
use crate::support::stateful::{STATE, broker, run_to_the_end};
use crate::support::{Task, stateful};

/// Runs until a task is settled, that comes so often.
async fn comes(broker: &Broker, post: &std::sync::Arc<Post>, policy: Ambiguous, times: usize) {
    for _ in 0..times {
        produce(broker, &Task::new(0));
        run_to_the_end(&topology(post, policy), broker).await;
    }
}

fn records(broker: &Broker) -> usize {
    broker.records(STATE, Isolation::ReadCommitted).len()
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_executed_comes_again_and_its_result_is_given_again() {
    let (broker, post) = (broker(1), Post::faithful());
    comes(&broker, &post, Ambiguous::Resend, 1).await;
    assert_eq!(records(&broker), 2, "an intent and an outcome");
    comes(&broker, &post, Ambiguous::Park, 2).await;
    assert_eq!(outcomes(&broker), ["0 duplicate", "0 duplicate", "0 fresh"]);
    assert_eq!((post.executions()[&0], post.notes.with("Duplicate").len()), (1, 2));
    assert_eq!(records(&broker), 2, "a duplicate writes nothing");
}

#[tokio::test(start_paused = true)]
async fn two_of_one_job_at_once_are_executed_once() {
    let (broker, post) = (broker(1), Post::faithful());
    (0..2).for_each(|_| produce(&broker, &Task::new(0)));
    run_to_the_end(&topology(&post, Ambiguous::Resend), &broker).await;
    assert_eq!(outcomes(&broker), ["0 duplicate", "0 fresh"]);
    assert_eq!(post.executions()[&0], 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_refused_or_has_failed_comes_again_and_is_executed_again() {
    let post = Post::new(|_, execution| (execution == 1).then_some(JobErrorKind::Permanent));
    let broker = broker(1);
    comes(&broker, &post, Ambiguous::Park, 2).await;
    assert_eq!(outcomes(&broker), ["0 Permanent", "0 fresh"]);

    let broker = stateful::broker(1);
    let post = Post::new(|_, execution| (execution <= 8).then_some(JobErrorKind::Transient));
    comes(&broker, &post, Ambiguous::Park, 2).await;
    assert_eq!(outcomes(&broker), ["0 Transient", "0 fresh"]);
    assert_eq!((post.executions()[&0], post.resends()), (9, 0));
    assert_eq!(post.notes.with("NotExecuted").len(), 8, "each before the wait");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_an_intent_of_its_own() {
    let post = Post::new(|_, execution| (execution < 4).then_some(JobErrorKind::Transient));
    let broker = broker(1);
    comes(&broker, &post, Ambiguous::Resend, 1).await;
    assert_eq!(post.notes.with("Intended").len(), 4);
    assert_eq!(records(&broker), 8);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_end_is_parked_and_stays_so_whatever_the_policy_until_it_is_overruled() {
    let post = Post::new(|_, execution| (execution == 1).then_some(JobErrorKind::Ambiguous));
    let broker = broker(1);
    comes(&broker, &post, Ambiguous::Park, 2).await;
    comes(&broker, &post, Ambiguous::Resend, 1).await;
    assert_eq!(outcomes(&broker), ["0 Ambiguous"; 3]);
    assert_eq!((post.executions()[&0], post.notes.with("StaysParked").len()), (1, 2));
    assert_eq!(post.notes.with("Parked").len(), 3);

    produce_again(&broker, &Task::new(0));
    run_to_the_end(&topology(&post, Ambiguous::Park), &broker).await;
    assert_eq!(outcomes(&broker)[3], "0 fresh");
    comes(&broker, &post, Ambiguous::Park, 1).await;
    assert_eq!(outcomes(&broker)[3..], ["0 duplicate", "0 fresh"]);
    assert_eq!(post.executions()[&0], 2);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_end_is_followed_by_a_counted_resend() {
    let post = Post::new(|_, execution| (execution <= 2).then_some(JobErrorKind::Ambiguous));
    let broker = broker(1);
    comes(&broker, &post, Ambiguous::Resend, 1).await;
    assert_eq!(outcomes(&broker), ["0 fresh after 2"]);
    assert_eq!((post.executions()[&0], post.resends()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_resend_stays_counted_when_a_certain_failure_follows() {
    let post = Post::new(|_, execution| match execution {
        1 => Some(JobErrorKind::Ambiguous),
        2 => Some(JobErrorKind::Transient),
        _ => None,
    });
    let broker = broker(1);
    comes(&broker, &post, Ambiguous::Resend, 1).await;
    assert_eq!(outcomes(&broker), ["0 fresh after 1"]);
    assert_eq!((post.executions()[&0], post.resends()), (3, 1));
}
