//! The ledger: mails are counted by their `Message-ID`, whatever is killed or paused.
//!
//! `LEDGER_KILLS` and `LEDGER_PAUSES` say how often; the defaults are few, for a quick run.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::collections::BTreeMap;

use jobstream_testkit::smtp::SmtpServer;
use tokio::time::{sleep, timeout};

use crate::kill::killed;
use crate::load::{SAMPLE, jobs, none_lost, none_twice, one_mail_each};
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER, Stage, inbox, mails};
use crate::topics::{Found, results_by_id};

/// The default of `MAIL_CONNECTIONS`.
const CONNECTIONS: usize = 8;

/// A number of the environment, or its default.
fn times(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn with_ledger(policy: &'static str) -> [(&'static str, &'static str); 3] {
    [("JOB_DELIVERY", "exactly-once"), ("JOB_LEDGER", "kafka"), ("JOB_AMBIGUOUS", policy)]
}

/// The resends that the results tell.
fn counted(results: &[Found]) -> usize {
    let resends = results.iter().filter_map(|result| result.header("job-resends"));
    resends.map(|resends| resends.parse::<usize>().unwrap()).sum()
}

/// Every job has one result, which is a success; extra mails are bounded, and counted.
#[expect(clippy::print_stdout, reason = "figures are for whoever runs the test")]
fn bounded(server: &SmtpServer, results: &[Found], jobs: usize, faults: usize) {
    none_lost(results, jobs);
    none_twice(results);
    let counts = server.inbox().counts();
    let total: u64 = counts.values().sum();
    let extra = usize::try_from(total).unwrap() - counts.len();
    let counted = counted(results);
    println!("resend, {faults} faults: {extra} extra mails of {jobs}, {counted} resends counted");
    assert_eq!(counts.len(), jobs, "jobs with a mail");
    assert!(extra <= counted, "{extra} extra mails, {counted} resends counted");
    assert!(extra <= faults * CONNECTIONS, "{extra} extra mails in {faults} faults");
}

/// Every job has one result: a success with one mail, or parked with at most one.
#[expect(clippy::print_stdout, reason = "figures are for whoever runs the test")]
fn at_most_one_mail_each(server: &SmtpServer, results: &[Found], jobs: usize, faults: usize) {
    assert_eq!(results_by_id(results).len(), jobs, "jobs with a result");
    none_twice(results);
    let counts = server.inbox().counts();
    assert!(counts.values().all(|count| *count == 1), "a job with several mails");
    let mut outcomes = BTreeMap::<_, usize>::new();
    for result in results {
        let outcome = (result.outcome().status, result.header("job-outcome").unwrap());
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("park, {faults} faults: {} mails of {jobs} jobs, {outcomes:?}", counts.len());
    let of = |status, outcome: &str| outcomes.get(&(status, outcome.to_owned())).copied();
    // What was killed between outcome and result has its result as a duplicate.
    let accepted = of(4, "accepted").unwrap_or(0) + of(4, "duplicate").unwrap_or(0);
    let parked = of(5, "ambiguous").unwrap_or(0);
    assert_eq!(accepted + parked, jobs, "{outcomes:?}");
    assert!((accepted..=accepted + parked).contains(&counts.len()), "{outcomes:?}");
    assert!(parked <= faults * 8 * CONNECTIONS, "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_resend_no_job_is_lost_in_kills_and_extra_mails_are_bounded_and_counted() {
    let kills = times("LEDGER_KILLS", 6);
    let settings = [&with_ledger("resend")[..], &[("INSTANCE_ID", "one")]].concat();
    let (stage, server, count) = killed(kills, &settings).await;
    bounded(&server, &stage.records("results").await, count, kills);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_park_no_job_is_lost_in_kills_and_none_has_two_mails() {
    let kills = times("LEDGER_KILLS", 6);
    let settings = [&with_ledger("park")[..], &[("INSTANCE_ID", "one")]].concat();
    let (stage, server, count) = killed(kills, &settings).await;
    at_most_one_mail_each(&server, &stage.records("results").await, count, kills);
}

/// Pauses a member past its session so many times under load, and wakes it.
async fn paused(pauses: usize, policy: &'static str) -> (SmtpServer, Vec<Found>, usize) {
    let count = 1_500 * pauses;
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger(policy).iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("MAIL_RATE", "50");
    stage.set("JOB_IN_FLIGHT", "100");
    stage.set("KAFKA_SESSION_TIMEOUT_MS", "6000");
    stage.set("KAFKA_HEARTBEAT_INTERVAL_MS", "1000");
    stage.submit(&jobs(count)).await;
    let (mut zombie, mut other) = (stage.start("zombie"), stage.start("other"));
    other.said("Job finished", 20).await;
    for pause in 0..pauses {
        let worked = zombie.lines("Job finished");
        zombie.said("Job finished", worked + 20).await;
        let assigned = zombie.lines("Partition assigned");
        zombie.signal("STOP");
        let owned = || {
            let gone = other.lines("Partition given up") + other.lines("Partition lost");
            other.lines("Partition assigned") - gone
        };
        let replaced = async {
            while owned() < 6 {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        let replaced = timeout(LIMIT, replaced).await;
        assert!(replaced.is_ok(), "pause {pause}: {} partitions\n{}", owned(), other.log());
        let done = other.lines("Job finished");
        other.said("Job finished", done + 20).await;
        assert!(server.inbox().counts().len() < count, "it was paused under load");
        zombie.signal("CONT");
        zombie.said("Partition assigned", assigned + 1).await;
    }
    stage.results_of(count).await;
    zombie.terminate().await.succeeded();
    other.terminate().await.succeeded();
    let results = stage.records("results").await;
    (server, results, count)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_resend_a_member_that_wakes_after_its_session_sends_a_mail_a_connection_at_most() {
    let pauses = times("LEDGER_PAUSES", 2);
    let (server, results, count) = paused(pauses, "resend").await;
    bounded(&server, &results, count, pauses);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_park_a_member_that_wakes_after_its_session_sends_no_mail_that_its_successor_sends() {
    let pauses = times("LEDGER_PAUSES", 2);
    let (server, results, count) = paused(pauses, "park").await;
    at_most_one_mail_each(&server, &results, count, pauses);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_job_that_comes_again_after_a_restart_has_its_result_again_and_no_mail() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.submit(SAMPLE).await;
    let first = stage.start("first");
    stage.results_of(1).await;
    first.terminate().await.succeeded();
    one_mail_each(&server, 1);

    stage.submit(SAMPLE).await;
    let mut second = stage.start("second");
    second.said("fate=duplicate", 1).await;
    let ended = second.terminate().await;
    ended.succeeded();
    let restored = |line: &&str| line.contains("Ledger restored") && line.contains("entries=1 ");
    assert_eq!(ended.log.lines().filter(restored).count(), 1, "{}", ended.log);
    let results = stage.records("results").await;
    let outcomes: Vec<_> = results.iter().filter_map(|found| found.header("job-outcome")).collect();
    assert_eq!(outcomes, ["accepted", "duplicate"]);
    assert!(results.iter().all(|found| found.outcome().status == 4));
    assert_eq!(mails(&server, 0).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topic_that_can_hold_no_ledger_ends_the_start_with_one_line() {
    let server = inbox().await;
    for (partitions, policy, expected) in [
        (5, "compact", "found 5 partitions, expected at least the 6 of"),
        (6, "delete", "found cleanup.policy=delete, expected compact alone"),
        (6, "compact,delete", "expected compact alone"),
    ] {
        let mut stage = Stage::new(server.address()).await;
        with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
        let ledger = stage.topic("ledger");
        stage.set("TOPIC_JOB_RUN_LEDGER", &ledger);
        stage.create("ledger", partitions, &[("cleanup.policy", policy)]).await;
        let ended = stage.start("log").end().await;
        ended.failed_with("mailjob: the ledger can't be kept: ", expected);
    }
}
