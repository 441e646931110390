//! `mailjob dead-letters`: listed, shown, and sent back once, whatever interrupts it.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::collections::BTreeMap;

use bytes::Bytes;
use jobstream::kafka::KafkaConfig;
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use serde_json::Value;

use crate::load::SAMPLE;
use crate::stage::{DELIVERIES, Stage, error_text, inbox, output_text};
use crate::topics::{Found, produce};

const REDRIVES: &str = "dead-letter-redrives";

/// A stage whose dead letters are these values, with keys; its service has ended.
async fn stage_with(values: &[Vec<u8>]) -> Stage {
    let server = inbox().await;
    let stage = Stage::new(server.address()).await;
    let key = Some(&b"key"[..]);
    let records: Vec<_> = values.iter().map(|value| (key, Some(&**value))).collect();
    produce(&stage.broker.bootstrap, &stage.topic("jobs"), &records).await;
    work(&stage, values.len()).await;
    stage
}

/// Runs the service until there are so many dead letters.
async fn work(stage: &Stage, dead_letters: usize) {
    let mut service = stage.start(&format!("log-{dead_letters}"));
    service.said("Worker 1 started", 1).await;
    stage.records_of("dead-letters", dead_letters).await;
    service.terminate().await.succeeded();
}

async fn ended(stage: &Stage, arguments: &[&str]) -> (String, String) {
    let ended = stage.ended(arguments).await;
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", error_text(&ended));
    (output_text(&ended), error_text(&ended))
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// How often each value was sent back.
fn redriven(jobs: &[Found]) -> BTreeMap<Vec<u8>, usize> {
    let mut counts = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.header(REDRIVES).is_some()) {
        *counts.entry(job.value.clone().unwrap()).or_default() += 1;
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_redrive_goes_on_and_sends_nothing_twice() {
    const LETTERS: usize = 4_000;
    const KILLS: usize = 5;
    let values: Vec<_> =
        (0..LETTERS).map(|number| format!("no job {number}").into_bytes()).collect();
    let stage = stage_with(&values).await;
    let redrive = ["dead-letters", "redrive", "--run", "night", "--batch", "5"];
    for kill in 0..KILLS {
        let mut running = stage.start_command(&format!("redrive-{kill}"), &redrive);
        running.said(" sent", 20 + 7 * kill).await;
        running.kill().await;
    }
    let sent = redriven(&stage.records("jobs").await).len();
    assert!(sent >= KILLS * 100, "{sent} were sent by those that were killed");
    assert!(sent < LETTERS, "they were killed in the middle");

    let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", "night"]).await;
    assert!(said.ends_with("the run is complete\n"), "{said}");
    let counts = redriven(&stage.records("jobs").await);
    assert_eq!(counts.len(), LETTERS, "all are back");
    assert!(counts.values().all(|count| *count == 1), "none is back twice");
    assert!(values.iter().all(|value| counts.contains_key(value)), "byte for byte");

    let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", "night"]).await;
    assert!(said.contains("'night': 0 sent"), "{said}");
    assert_eq!(stage.records("jobs").await.len(), 2 * LETTERS);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_of_one_run_send_nothing_twice() {
    const LETTERS: usize = 2_000;
    let values: Vec<_> =
        (0..LETTERS).map(|number| format!("no job {number}").into_bytes()).collect();
    let stage = stage_with(&values).await;
    let redrive = ["dead-letters", "redrive", "--run", "both", "--batch", "1"];
    let mut first = stage.start_command("first", &redrive);
    first.said(" sent", 5).await;
    let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", "both"]).await;
    assert!(said.ends_with("the run is complete\n"), "{said}");
    first.end().await.failed_with("mailjob: run 'both': another process has taken", "--run both");
    let counts = redriven(&stage.records("jobs").await);
    assert_eq!(counts.len(), LETTERS, "all are back");
    assert!(counts.values().all(|count| *count == 1), "none is back twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_again_is_a_dead_letter_again_and_its_rounds_are_counted() {
    let stage = stage_with(&[b"no job".to_vec()]).await;
    // The second run covers the letter of the first round and its successor.
    for (run, sent, letters) in [("one", 1, 2), ("two", 2, 4)] {
        let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", run]).await;
        assert!(said.contains(&format!("'{run}': {sent} sent")), "{said}");
        work(&stage, letters).await;
    }
    let letters = stage.records("dead-letters").await;
    let mut rounds: Vec<_> = letters.iter().map(|letter| letter.header(REDRIVES)).collect();
    rounds.sort_unstable();
    let round = |number: &str| Some(number.to_owned());
    assert_eq!(rounds, [None, round("1"), round("1"), round("2")]);
    for letter in letters {
        assert_eq!(letter.value.as_deref(), Some(&b"no job"[..]));
        assert_eq!(letter.header("dead-letter-topic"), Some(stage.topic("jobs")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_what_would_be_sent_and_sends_nothing() {
    let stage = stage_with(&[b"\xff\x00".to_vec(), b"[]".to_vec()]).await;
    let dry = ["dead-letters", "redrive", "--dry-run", "--run", "a", "--json"];
    let (said, _) = ended(&stage, &dry).await;
    let lines = json_lines(&said);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["fate"], "would be sent");
    assert_eq!(lines[0]["value"]["base64"], "/wA=");
    assert_eq!(lines[0]["headers"][REDRIVES], "1");
    assert_eq!(stage.records("jobs").await.len(), 2, "nothing was sent");

    let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", "a", "--json"]).await;
    let sent = json_lines(&said);
    assert_eq!(sent[0]["fate"], "sent");
    let shown = |lines: &[Value]| -> Vec<_> {
        lines.iter().map(|line| (line["key"].clone(), line["value"].clone())).collect()
    };
    assert_eq!(shown(&sent), shown(&lines), "what was shown was sent");
    assert_eq!(stage.records("jobs").await.len(), 4);
    let letter = &stage.records("jobs").await[2];
    assert_eq!(letter.header("dead-letter-reason"), None);
    assert_eq!(letter.key.as_deref(), Some(&b"key"[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_ends_a_run_early_and_the_same_run_goes_on_behind_it() {
    let values: Vec<_> = (0..10).map(|number| format!("no job {number}").into_bytes()).collect();
    let stage = stage_with(&values).await;
    let limited = ["dead-letters", "redrive", "--run", "a", "--limit", "3"];
    let (said, _) = ended(&stage, &limited).await;
    assert!(said.ends_with("'a': 3 sent, 0 passed over; go on with --run a\n"), "{said}");
    let other = stage.ended(&["dead-letters", "redrive", "--run", "a", "--key", "k"]).await;
    assert_eq!(other.status.code(), Some(2));
    assert!(error_text(&other).contains("other filters"), "{}", error_text(&other));
    let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", "a"]).await;
    assert!(said.ends_with("'a': 7 sent, 0 passed over; the run is complete\n"), "{said}");
    let counts = redriven(&stage.records("jobs").await);
    assert_eq!(counts.len(), 10);
    assert!(counts.values().all(|count| *count == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_what_is_listed_and_one_is_shown_whole() {
    let stage = stage_with(&[b"\xff".to_vec(), b"a\x1b[2Jb".to_vec()]).await;
    let listed = async |more: &[&str]| {
        let mut arguments = vec!["dead-letters", "list", "--json"];
        arguments.extend(more);
        json_lines(&ended(&stage, &arguments).await.0).len()
    };
    assert_eq!(listed(&[]).await, 2);
    assert_eq!(listed(&["--limit", "1"]).await, 1);
    assert_eq!(listed(&["--reason", "undecodable", "--key", "key"]).await, 2);
    assert_eq!(listed(&["--reason", "too-large"]).await, 0);
    assert_eq!(listed(&["--key", "other"]).await, 0);
    assert_eq!(listed(&["--from", "1h"]).await, 2);
    assert_eq!(listed(&["--from", "2100-01-01"]).await, 0);
    assert_eq!(listed(&["--to", "1h"]).await, 0);

    let (table, _) = ended(&stage, &["dead-letters", "list"]).await;
    assert!(table.starts_with("AT "), "{table}");
    assert!(!table.contains('\x1b'), "no colour where nobody sees it:\n{table}");
    let (one, _) = ended(&stage, &["dead-letters", "show", "0:1"]).await;
    assert!(one.contains("dead-letter-reason      undecodable\n"), "{one}");
    assert!(one.ends_with("value, 6 bytes:\na\\u{1b}[2Jb\n"), "{one}");
    let (one, _) = ended(&stage, &["dead-letters", "show", "0:0", "--json"]).await;
    assert_eq!(json_lines(&one)[0]["value"]["base64"], "/w==");
    for missing in ["0:2", "7:0"] {
        let ended = stage.ended(&["dead-letters", "show", missing]).await;
        assert_eq!(ended.status.code(), Some(1), "{missing}");
        assert_eq!(error_text(&ended).lines().count(), 1, "{}", error_text(&ended));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_too_large_letter_is_read_at_its_origin_or_passed_over_with_a_line() {
    let server = inbox().await;
    let stage = Stage::new(server.address()).await;
    stage.create("results", 1, &[("max.message.bytes", "4000")]).await;
    // Long enough that its result is refused, whatever compresses it.
    let noise: String =
        (0_u64..400).map(|n| format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let large = SAMPLE.replace("\"message\"", &format!("\"{noise}\""));
    produce(&stage.broker.bootstrap, &stage.topic("jobs"), &[(None, Some(large.as_bytes()))]).await;
    work(&stage, 1).await;
    let letter = &stage.records("dead-letters").await[0];
    assert_eq!(letter.header("dead-letter-reason").as_deref(), Some("too-large"));
    assert_eq!(letter.value, None);
    gone(&stage).await;

    let (said, _) = ended(&stage, &["dead-letters", "redrive"]).await;
    let jobs = stage.topic("jobs");
    assert!(
        said.contains(&format!("can't be read any more at its origin {jobs}[0]@999\n")),
        "{said}"
    );
    assert!(said.contains(": 1 sent, 1 passed over; the run is complete"), "{said}");
    let counts = redriven(&stage.records("jobs").await);
    assert_eq!(counts, BTreeMap::from([(large.into_bytes(), 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_letter_is_sent_nowhere_but_where_the_operator_says() {
    let stage = stage_with(&[b"no job".to_vec()]).await;
    stage.create("payments", 2, &[]).await;
    let ours = &stage.records("dead-letters").await[0];
    assert_eq!(ours.header("dead-letter-group"), Some(stage.topic("group")));
    let pay = ("undecodable", "payments", "0");
    forge(&stage, pay, None, Some("pay")).await;
    // Its value would be read with the operator's rights, too.
    forge(&stage, ("too-large", "payments", "0"), None, None).await;
    forge(&stage, ("undecodable", "jobs", "0"), Some("webhooks"), Some("theirs")).await;

    let (said, _) = ended(&stage, &["dead-letters", "redrive", "--run", "a"]).await;
    let (jobs, payments) = (stage.topic("jobs"), stage.topic("payments"));
    let elsewhere = format!("it came from '{payments}', not '{jobs}'; see --to-topic\n");
    assert_eq!(said.matches(&elsewhere).count(), 2, "{said}");
    assert!(said.contains("it is of the group 'webhooks'"), "{said}");
    assert!(said.contains("'a': 1 sent, 3 passed over; the run is complete"), "{said}");
    assert_eq!(stage.records("jobs").await.len(), 2);
    assert_eq!(stage.records("payments").await.len(), 0);

    let own = ["dead-letters", "redrive", "--to-topic", &stage.topic("dead-letters")];
    assert_eq!(stage.ended(&own).await.status.code(), Some(2));
    let named = ["dead-letters", "redrive", "--run", "b", "--to-topic", &payments, "--dry-run"];
    let named = [&named[..], &["--group", "webhooks"]].concat();
    let (said, _) = ended(&stage, &named).await;
    assert!(said.contains("1 would be sent, 0 passed over"), "{said}");
    let (said, _) = ended(&stage, &named[..named.len() - 3]).await;
    assert!(said.contains("can't be read any more at its origin"), "{said}");
    assert!(said.contains("'b': 2 sent, 2 passed over"), "{said}");
    let mut paid: Vec<_> =
        stage.records("payments").await.into_iter().filter_map(|record| record.value).collect();
    paid.sort_unstable();
    assert_eq!(paid, [b"no job".to_vec(), b"pay".to_vec()]);
    let listed = ended(&stage, &["dead-letters", "list", "--json", "--group", "webhooks"]).await.0;
    assert_eq!(json_lines(&listed).len(), 1);
}

/// A too-large dead letter whose origin is not there any more.
async fn gone(stage: &Stage) {
    forge(stage, ("too-large", "jobs", "999"), None, None).await;
}

/// Produces what says of itself that it is a dead letter of a topic's partition 0, with this reason and
/// offset.
async fn forge(
    stage: &Stage,
    (reason, topic, offset): (&'static str, &str, &'static str),
    group: Option<&'static str>,
    value: Option<&'static str>,
) {
    let mut letter = ProducerRecord::to(stage.topic("dead-letters"));
    letter.value = value.map(Bytes::from);
    for (name, value) in [
        ("dead-letter-reason", reason.to_owned()),
        ("dead-letter-topic", stage.topic(topic)),
        ("dead-letter-partition", "0".to_owned()),
        ("dead-letter-offset", offset.to_owned()),
    ] {
        letter.headers.set(name, value);
    }
    if let Some(group) = group {
        letter.headers.set("dead-letter-group", group);
    }
    let sink = KafkaSink::new(&KafkaConfig::new(&stage.broker.bootstrap)).unwrap();
    sink.publish(&Batch { outputs: vec![letter], positions: Vec::new() }).await.unwrap();
    sink.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_dead_letters_that_is_compacted_fails_the_check_and_is_named_when_it_refuses_one()
 {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.create("dead-letters", 1, &[("cleanup.policy", "compact")]).await;
        let check = stage.ended(&["check"]).await;
        let topic = stage.topic("dead-letters");
        let found = format!("topic '{topic}': found cleanup.policy=compact, expected delete");
        let said = output_text(&check);
        assert!(said.contains(&format!("failed  {found}")), "{said}");
        produce(&stage.broker.bootstrap, &stage.topic("jobs"), &[(None, Some(b"no job"))]).await;
        stage.set("SHUTDOWN_TIMEOUT", "1");
        let mut service = stage.start("log");
        service.said(&found, 1).await;
        service.said(&format!("topic {topic} refuses a record"), 1).await;
        service.terminate().await.succeeded();
    }
}
