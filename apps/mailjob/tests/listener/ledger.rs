//! The ledger of a service that is stopped and started again, and its topic.

use std::collections::BTreeSet;
use std::time::Duration;

use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
use tokio::time::timeout;

use crate::account::Account;
use crate::load::{SAMPLE, add, jobs, one_mail_each};
use crate::scrape::probe;
use crate::service::{is_ready, metrics_address};
use crate::stage::{LIMIT, Stage, inbox, mails, output_text, with_ledger};

/// The server is so slow that each stop cuts off jobs whose intents are written.
#[tokio::test(flavor = "multi_thread")]
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
        let partitions = ended.log.matches("Partition assigned").count();
        let cut_off = ended.log.matches("Drain cut off").count();
        assert!((1..=partitions).contains(&cut_off), "{}", ended.log);
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
    let metrics = metrics_address(&mut service).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_topic_that_another_service_uses_ends_the_start_and_fails_the_check() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("TOPIC_JOB_RUN_CONSUMER_WORKER_COUNT", "2");
    let mut first = stage.start("first");
    first.said("Worker 2 started", 1).await;
    let beside = stage.start("beside");
    let own = stage.topic("group");
    stage.set("TOPIC_JOB_RUN_CONSUMER_GROUP_ID", &stage.topic("others"));
    let expected = format!("which the service of the group '{own}' uses");
    let other = stage.start("other").end().await;
    other.failed_with("mailjob: the ledger can't be kept: TOPIC_JOB_RUN_LEDGER: found ", &expected);
    let check = stage.ended(&["check"]).await;
    assert_eq!(check.status.code(), Some(1));
    assert!(output_text(&check).contains(&expected), "{}", output_text(&check));
    // Another topic is its own, and processes of one service share one.
    stage.set("TOPIC_JOB_RUN_LEDGER", &stage.topic("others-ledger"));
    let mut other = stage.start("other-ledger");
    other.said("Worker 2 started", 1).await;
    for service in [first, beside, other] {
        service.terminate().await.succeeded();
    }
}

/// What the ledger knew is in the process's memory: it is written again.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_topic_that_is_deleted_under_work_is_created_again_and_costs_no_second_mail() {
    const JOBS: usize = 300;
    for policy in ["resend", "park"] {
        // So slow that there is always something in doubt.
        let slow = Misfortune::at(Moment::Dot).then(Act::Delay(Duration::from_millis(400)));
        let server = SmtpServer::builder().misfortune(slow).listen().await.unwrap();
        let mut stage = Stage::new(server.address()).await;
        with_ledger(policy).iter().for_each(|(name, value)| stage.set(name, value));
        stage.submit(&jobs(JOBS)).await;
        let service = stage.start("log");
        mails(&server, 100).await;
        stage.delete("ledger").await;
        stage.results_of(JOBS).await;
        service.terminate().await.succeeded();
        // The note of the topic's id was made anew.
        let mut again = stage.start("again");
        again.said("Ledger restored", 6).await;
        again.terminate().await.succeeded();
        let account = Account::of(&stage, &server, JOBS).await;
        match policy {
            "resend" => account.every_extra_mail_is_counted(1),
            _ => account.no_job_has_two_mails(1),
        }
    }
}

/// A process that starts knows nothing of what was in doubt.
#[tokio::test(flavor = "multi_thread")]
async fn a_ledgers_topic_that_was_deleted_while_nothing_ran_ends_the_start_until_an_operator_decides()
 {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.submit(SAMPLE).await;
    let first = stage.start("first");
    stage.results_of(1).await;
    first.terminate().await.succeeded();
    stage.delete("ledger").await;
    let ledger = stage.topic("ledger");
    let named = format!("delete the group '{ledger}.owner'");
    for start in ["second", "third"] {
        let ended = stage.start(start).end().await;
        ended.failed_with("mailjob: the ledger can't be kept: TOPIC_JOB_RUN_LEDGER: ", &named);
    }
    let check = stage.ended(&["check"]).await;
    assert_eq!(check.status.code(), Some(1));
    assert!(output_text(&check).contains(&named), "{}", output_text(&check));
    stage.delete_group(&format!("{ledger}.owner")).await;
    let mut last = stage.start("last");
    last.said("Ledger restored", 6).await;
    last.terminate().await.succeeded();
}
