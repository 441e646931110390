//! Rights that Kafka grants, or does not.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::sync::Arc;

use jobstream_testkit::smtp::SmtpServer;
use tokio::process::Command;

use crate::broker::{Broker, script};
use crate::load::{SAMPLE, none_lost};
use crate::stage::{DELIVERIES, Stage, error_text, inbox};

/// A stage on a Kafka with SASL and TLS, as the user that may do everything.
async fn secured(broker: &Arc<Broker>, server: &SmtpServer) -> Stage {
    let mut stage = Stage::without_topics(broker.clone(), server.address());
    for (name, value) in
        [("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"), ("KAFKA_SSL_CA_LOCATION", &broker.file("ca.pem"))]
    {
        stage.set(name, value);
    }
    login(&mut stage, "PLAIN", "user", "password");
    stage.create("jobs", 1, &[]).await;
    stage
}

fn login(stage: &mut Stage, mechanism: &str, user: &str, password: &str) {
    stage.set("KAFKA_SASL_MECHANISM", mechanism);
    stage.set("KAFKA_SASL_USERNAME", user);
    stage.set("KAFKA_SASL_PASSWORD", password);
}

/// Lets the user "scram" do something.
async fn grant(stage: &Stage, resource: &str, name: &str, operations: &[&str]) {
    let python = script("peers").arg("python").output().unwrap();
    assert!(python.status.success(), "scripts/peers python: {}", error_text(&python));
    let granted = Command::new(String::from_utf8(python.stdout).unwrap().trim())
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/clients/grant.py"))
        .args([&stage.broker.bootstrap, &stage.broker.file("ca.pem"), resource, name])
        .args(operations)
        .status();
    assert!(granted.await.unwrap().success(), "no grant of {operations:?} on {resource} {name}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn rights_that_are_missing_end_the_start_with_one_line_and_it_works_with_all_of_them() {
    let broker = Arc::new(Broker::start_with(&["--sasl-ssl", "--acl"]));
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = secured(&broker, &server).await;
        stage.submit(SAMPLE).await;
        login(&mut stage, "SCRAM-SHA-512", "scram", "password");
        stage.set("JOB_DELIVERY", delivery);
        stage.set("INSTANCE_ID", "one");
        let [results, letters, jobs, group] =
            ["results", "dead-letters", "jobs", "group"].map(|name| stage.topic(name));
        let transactional = format!("{group}-one-1");
        let refused = stage.start("log").end().await;
        refused.failed_with("mailjob: Kafka: ", &results);
        // It may see and fill what is there, but create nothing.
        grant(&stage, "TOPIC", &results, &["DESCRIBE", "WRITE"]).await;
        let refused = stage.start("log").end().await;
        refused.failed_with("mailjob: Kafka: ", &results);
        for output in [&results, &letters] {
            grant(&stage, "TOPIC", output, &["DESCRIBE", "WRITE", "CREATE"]).await;
        }
        let refused = stage.start("log").end().await;
        refused.failed_with("mailjob: Kafka: ", &jobs);
        grant(&stage, "TOPIC", &jobs, &["DESCRIBE", "READ"]).await;
        if delivery == "exactly-once" {
            let refused = stage.start("log").end().await;
            refused.failed_with("mailjob: Kafka: ", "ransactional");
            grant(&stage, "TRANSACTIONAL_ID", &transactional, &["DESCRIBE", "WRITE"]).await;
        }
        // The group may be granted later: it is waited for.
        let mut service = stage.start("log");
        service.said("Group authorization failed", 1).await;
        grant(&stage, "GROUP", &group, &["READ"]).await;
        service.said("fate=succeeded", 1).await;
        service.terminate().await.succeeded();
        assert_eq!(server.inbox().count(), 1);
        login(&mut stage, "PLAIN", "user", "password");
        none_lost(&stage.results_of(1).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_ledger_that_may_not_be_grown_is_logged_once_and_restored_once_an_operator_has_grown_it()
{
    let broker = Arc::new(Broker::start_with(&["--sasl-ssl", "--acl"]));
    let server = inbox().await;
    let mut stage = secured(&broker, &server).await;
    for (name, value) in [
        ("JOB_DELIVERY", "exactly-once"),
        ("JOB_LEDGER", "kafka"),
        ("INSTANCE_ID", "one"),
        ("KAFKA_TOPIC_METADATA_REFRESH_INTERVAL_MS", "1000"),
    ] {
        stage.set(name, value);
    }
    let group = stage.topic("group");
    for output in ["results", "dead-letters"] {
        grant(&stage, "TOPIC", &stage.topic(output), &["DESCRIBE", "WRITE", "CREATE"]).await;
    }
    let of_ledger = ["DESCRIBE", "WRITE", "CREATE", "READ", "DESCRIBE_CONFIGS"];
    grant(&stage, "TOPIC", &stage.topic("ledger"), &of_ledger).await;
    grant(&stage, "TOPIC", &stage.topic("jobs"), &["DESCRIBE", "READ"]).await;
    for id in ["one-1", "one-1-second"] {
        grant(&stage, "TRANSACTIONAL_ID", &format!("{group}-{id}"), &["DESCRIBE", "WRITE"]).await;
    }
    grant(&stage, "GROUP", &group, &["READ"]).await;
    login(&mut stage, "SCRAM-SHA-512", "scram", "password");
    let mut service = stage.start("log");
    service.said("Ledger restored", 1).await;
    login(&mut stage, "PLAIN", "user", "password");
    stage.grow("jobs", 2).await;
    let (refused, waits) = ("was not given its partitions", "Ledger has no partition for this one");
    service.said(refused, 1).await;
    service.said(waits, 1).await;
    // Whenever the part is found missing again, the service tries again, each time by a new client.
    // The third one shows that the second has been refused.
    service.starts_threads("kafka-topics", 3).await;
    stage.grow("ledger", 2).await;
    service.said("Ledger restored", 2).await;
    let ended = service.terminate().await;
    ended.succeeded();
    for line in [refused, waits] {
        assert_eq!(ended.log.matches(line).count(), 1, "{line} in\n{}", ended.log);
    }
}
