//! The ledger: mails are counted by their `Message-ID`, whatever is killed or paused.
//!
//! `LEDGER_KILLS` and `LEDGER_PAUSES` say how often; the defaults are few, for a quick run.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::collections::BTreeSet;
use std::time::Duration;

use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
use tokio::time::{sleep, timeout};

use crate::account::Account;
use crate::arrivals::Arrivals;
use crate::kill::killed;
use crate::load::{SAMPLE, add, jobs, one_mail_each, under_load};
use crate::metrics::{address, is_ready};
use crate::postfix::Postfix;
use crate::relay::Relay;
use crate::scrape::probe;
use crate::service::Service;
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER, Stage, inbox, mails, output_text};

/// The jobs that a service may have in doubt: four for each connection of the default.
pub(crate) const IN_DOUBT: usize = 32;

/// A number of the environment, or its default.
fn times(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

type Settings = [(&'static str, &'static str); 4];

const fn with_ledger(policy: &'static str) -> Settings {
    [
        ("JOB_DELIVERY", "exactly-once"),
        ("JOB_LEDGER", "kafka"),
        ("JOB_LEDGER_IN_DOUBT", "32"),
        ("JOB_AMBIGUOUS", policy),
    ]
}

/// What has become of the jobs of a service with a ledger that is killed so often, on Postfix.
async fn killed_on_postfix(kills: usize, policy: &'static str) -> Account {
    let postfix = Postfix::start("example.com").await;
    let settings = [&with_ledger(policy)[..], &[("INSTANCE_ID", "one")]].concat();
    let (stage, jobs) = killed(&postfix, kills, &settings).await;
    Account::of(&stage, &postfix, jobs).await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_resend_no_job_is_lost_in_kills_and_every_extra_mail_is_counted() {
    let kills = times("LEDGER_KILLS", 4);
    killed_on_postfix(kills, "resend").await.every_extra_mail_is_counted(kills);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_park_no_job_is_lost_in_kills_and_none_has_two_mails() {
    let kills = times("LEDGER_KILLS", 4);
    killed_on_postfix(kills, "park").await.no_job_has_two_mails(kills);
}

/// What has become of the jobs of two services with a ledger, one of which is paused past its
/// session so many times under load and wakes, on Postfix.
async fn paused_on_postfix(pauses: usize, policy: &'static str) -> Account {
    let postfix = Postfix::start("example.com").await;
    let mut stage = Stage::new(postfix.address()).await;
    with_ledger(policy).iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("MAIL_RATE", "50");
    stage.set("JOB_IN_FLIGHT", "100");
    let (mut zombie, mut other) = (stage.start("zombie"), stage.start("other"));
    let pausing = async {
        other.said("Job finished", 20).await;
        for _ in 0..pauses {
            pause(&mut zombie, &mut other).await;
        }
    };
    let ((), jobs) = under_load(&stage, &postfix, pausing).await;
    zombie.terminate().await.succeeded();
    other.terminate().await.succeeded();
    stage.unset("MAIL_RATE");
    let last = stage.start("last");
    stage.results_of(jobs).await;
    last.terminate().await.succeeded();
    Account::of(&stage, &postfix, jobs).await
}

/// Stops a member in the middle of its work, and wakes it when the other one has done some of it.
async fn pause(zombie: &mut Service, other: &mut Service) {
    let worked = zombie.lines("Job finished");
    zombie.said("Job finished", worked + 20).await;
    let assigned = zombie.lines("Partition assigned");
    zombie.signal("STOP");
    let owned = |other: &Service| {
        let gone = other.lines("Partition given up") + other.lines("Partition lost");
        other.lines("Partition assigned") - gone
    };
    let replaced = async {
        while owned(other) < 6 {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let replaced = timeout(LIMIT, replaced).await;
    assert!(replaced.is_ok(), "{} partitions\n{}", owned(other), other.log());
    let done = other.lines("Job finished");
    other.said("Job finished", done + 20).await;
    zombie.signal("CONT");
    zombie.said("Partition assigned", assigned + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_resend_a_member_that_wakes_after_its_session_sends_what_it_had_in_doubt_at_most() {
    let pauses = times("LEDGER_PAUSES", 2);
    paused_on_postfix(pauses, "resend").await.every_extra_mail_is_counted(pauses);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn with_park_a_member_that_wakes_after_its_session_sends_no_mail_that_its_successor_sends() {
    let pauses = times("LEDGER_PAUSES", 2);
    paused_on_postfix(pauses, "park").await.no_job_has_two_mails(pauses);
}

/// Where Postfix has accepted a mail of every connection when the process is killed, and nothing else
/// was begun, bound, extra mails and counted resends are the same number.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn killed_at_the_final_dots_extra_mails_are_the_resends_that_were_counted() {
    // Fewer than 8, so that one job follows another: with more, intake waits for room for several.
    const CONNECTIONS: usize = 4;
    let kills = times("LEDGER_KILLS", 4);
    let postfix = Postfix::start("example.com").await;
    let relay = Relay::before(postfix.address()).await;
    let mut stage = Stage::new(relay.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("INSTANCE_ID", "one");
    let places = ["JOB_IN_FLIGHT", "JOB_LEDGER_IN_DOUBT", "MAIL_CONNECTIONS"];
    places.iter().for_each(|name| stage.set(name, &CONNECTIONS.to_string()));
    let killing = async {
        for kill in 0..kills {
            let before = postfix.total();
            let service = stage.start(&format!("log-{kill}"));
            postfix.arrived(before + CONNECTIONS + 20).await;
            relay.keep_answers();
            relay.has_kept(CONNECTIONS).await;
            service.kill().await;
            relay.give_answers();
        }
    };
    let ((), jobs) = under_load(&stage, &postfix, killing).await;
    places.iter().for_each(|name| stage.unset(name));
    let last = stage.start("last");
    stage.results_of(jobs).await;
    last.terminate().await.succeeded();
    let account = Account::of(&stage, &postfix, jobs).await;
    account.every_extra_mail_is_counted(kills);
    assert_eq!((account.extra(), account.resends()), (kills * CONNECTIONS, kills * CONNECTIONS));
}

/// The server is so slow that each stop cuts off jobs whose intents are written.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_clean_stop_parks_no_job_that_was_not_sent() {
    const JOBS: usize = 600;
    let slow = Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_millis(400)));
    let server = SmtpServer::builder().misfortune(slow).listen().await.unwrap();
    let mut stage = Stage::new(server.address()).await;
    with_ledger("park").iter().for_each(|(name, value)| stage.set(name, value));
    stage.unset("JOB_LEDGER_IN_DOUBT");
    stage.set("SHUTDOWN_TIMEOUT", "5");
    stage.submit(&jobs(JOBS)).await;
    for stop in 0..3 {
        let before = mails(&server, 0).await;
        let service = stage.start(&format!("stop-{stop}"));
        mails(&server, before + 20).await;
        let ended = service.terminate().await;
        ended.succeeded();
        assert!(ended.log.contains("Jobs were left unfinished"), "{}", ended.log);
    }
    stage.unset("SHUTDOWN_TIMEOUT");
    let last = stage.start("last");
    stage.results_of(JOBS).await;
    last.terminate().await.succeeded();
    let account = Account::of(&stage, &server, JOBS).await;
    account.no_job_has_two_mails(3);
    account.what_is_parked_was_sent();
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
    assert!(!ended.log.contains("reached end of partition"), "{}", ended.log);
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
async fn a_topic_that_can_hold_no_ledger_fails_the_check_and_ends_the_start_with_one_line() {
    let server = inbox().await;
    for (partitions, policy, expected) in [
        (6, "delete", "found cleanup.policy=delete, expected compact alone"),
        (6, "compact,delete", "expected compact alone"),
    ] {
        let mut stage = Stage::new(server.address()).await;
        with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
        stage.create("ledger", partitions, &[("cleanup.policy", policy)]).await;
        let check = stage.ended(&["check"]).await;
        assert_eq!(check.status.code(), Some(1));
        let failed = format!("failed  topic '{}': ", stage.topic("ledger"));
        let said = output_text(&check);
        let line = said.lines().find(|line| line.starts_with(&failed)).expect(&said);
        assert!(line.contains(expected), "{line}");
        let ended = stage.start("log").end().await;
        ended.failed_with("mailjob: the ledger can't be kept: ", expected);
    }
}

/// The jobs with the numbers from this one on, until each partition has one; gives how many there are.
async fn add_to_each(stage: &Stage, from: usize, partitions: usize) -> usize {
    let mut next = from;
    let has_all = async {
        loop {
            add(stage, next..next + 20).await;
            next += 20;
            let found = stage.records("jobs").await;
            let filled: BTreeSet<_> = found.iter().map(|found| found.partition).collect();
            if filled.len() == partitions {
                return;
            }
        }
    };
    timeout(LIMIT, has_all).await.expect("a job in each partition");
    next
}

/// How soon after the assignment of a partition its part of the ledger is there, or known to be missing.
const PROMPT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn where_the_input_grows_the_ledger_grows_with_it_and_nobody_ends() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS", "1000");
    let mut service = stage.start("log");
    service.said("Ledger restored", 6).await;
    stage.grow("jobs", 9).await;
    service.said("Partition assigned", 9).await;
    let restored = timeout(PROMPT, service.said("Ledger restored", 9)).await;
    assert!(restored.is_ok(), "not within {PROMPT:?}:\n{}", service.log());
    let jobs = add_to_each(&stage, 0, 9).await;
    stage.results_of(jobs).await;
    let ended = service.terminate().await;
    ended.succeeded();
    assert_eq!(ended.log.matches("has 9 partitions now").count(), 1, "{}", ended.log);
    assert!(!ended.log.contains("set TOPIC_CREATE"), "{}", ended.log);
    assert_eq!(stage.partitions("ledger").await, Some(9));
    one_mail_each(&server, jobs);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_partition_without_its_part_of_the_ledger_waits_and_the_others_go_on() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    let mut first = stage.start("first");
    first.said("Ledger restored", 6).await;
    first.terminate().await.succeeded();
    stage.set("TOPIC_CREATE", "false");
    stage.set("KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS", "1000");
    stage.set("METRICS_ADDRESS", "127.0.0.1:0");
    let mut service = stage.start("second");
    let metrics = address(&mut service).await;
    service.said("Ledger restored", 6).await;
    is_ready(metrics, true).await;
    stage.grow("jobs", 7).await;
    service.said("Partition assigned", 7).await;
    let line = "Ledger has no partition for this one, which waits";
    let said = timeout(PROMPT, service.said(line, 1)).await;
    assert!(said.is_ok(), "not within {PROMPT:?}:\n{}", service.log());
    let (ready, checks) = probe(metrics, "/readyz").await;
    let reason = format!("{}[6] waits for its part of the state", stage.topic("jobs"));
    assert!(!ready && checks["partitions"] == reason, "{checks:?}");
    let jobs = add_to_each(&stage, 0, 7).await;
    let found = stage.records("jobs").await;
    let waiting = found.iter().filter(|job| job.partition == 6).count();
    stage.results_of(jobs - waiting).await;
    let ended = service.terminate().await;
    ended.succeeded();
    assert_eq!(ended.log.matches(line).count(), 1, "{}", ended.log);
    assert_eq!(ended.log.matches("set TOPIC_CREATE=true").count(), 1, "{}", ended.log);
    // Nor does the next one end.
    let mut service = stage.start("third");
    service.said("those above wait", 1).await;
    service.said("Ledger restored", 6).await;
    service.said(line, 1).await;
    let check = stage.ended(&["check"]).await;
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    let (ledger, jobs_topic) = (stage.topic("ledger"), stage.topic("jobs"));
    let failed = format!(
        "failed  topic '{ledger}': found 6 partitions, expected at least the 7 of '{jobs_topic}'\n"
    );
    assert!(output_text(&check).contains(&failed), "{}", output_text(&check));
    stage.grow("ledger", 7).await;
    stage.results_of(jobs).await;
    service.terminate().await.succeeded();
    one_mail_each(&server, jobs);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_check_says_whether_the_topic_of_the_ledger_is_there_or_will_be() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    let name = stage.topic("ledger");
    let without = output_text(&stage.ended(&["check"]).await);
    assert!(!without.contains(&name), "{without}");
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    for (create, code, word, found) in
        [("true", 0, "ok    ", "missing, created by 'run'"), ("false", 1, "failed", "missing")]
    {
        stage.set("TOPIC_CREATE", create);
        let check = stage.ended(&["check"]).await;
        let line = format!("{word}  topic '{name}': {found}\n");
        assert!(output_text(&check).contains(&line), "no {line:?} in\n{}", output_text(&check));
        assert_eq!(check.status.code(), Some(code));
    }
    stage.set("TOPIC_CREATE", "true");
    let mut service = stage.start("log");
    service.said("Worker 1 started", 1).await;
    let check = stage.ended(&["check"]).await;
    let line = format!("ok      topic '{name}': 6 partitions\n");
    assert!(output_text(&check).contains(&line), "{}", output_text(&check));
    service.terminate().await.succeeded();
}
