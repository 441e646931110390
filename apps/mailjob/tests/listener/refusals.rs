//! What ends the start: each with one clear line.

use jobstream_testkit::smtp::{SmtpServer, Tls};
use jobstream_testkit::wire::ListenerBuilder;
use jobstream_testkit::wire::faults::WireFault;

use crate::broker::Broker;
use crate::stage::{Stage, error_text, inbox, output_text, with_ledger};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_is_wrong() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    let ended = stage.ended(&["check"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}{}", output_text(&ended), error_text(&ended));
    stage.set("TOPIC_CREATE", "false");
    server.refuse_connections().await;
    let ended = stage.ended(&["check"]).await;
    assert_eq!(ended.status.code(), Some(1));
    let (results, said) = (stage.topic("results"), output_text(&ended));
    for line in [&*format!("failed  topic '{results}': missing"), "failed  mail server 127.0.0.1:"]
    {
        assert!(said.contains(line), "no line {line:?} in\n{said}");
    }
    let expected = format!("mailjob: the topic '{results}' is missing: ");
    stage.start("log").end().await.failed_with(&expected, "TOPIC_CREATE=true");
}

fn login(stage: &mut Stage, mechanism: &str, user: &str, password: &str) {
    stage.set("KAFKA_SASL_MECHANISM", mechanism);
    stage.set("KAFKA_SASL_USERNAME", user);
    stage.set("KAFKA_SASL_PASSWORD", password);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_and_a_wrong_authority_end_the_start_with_one_line() {
    let with_login = |listener: ListenerBuilder| listener.login("user", "password").tls([""; 0]);
    let broker = Broker::open_with(with_login).await;
    let server = inbox().await;
    let mut stage = Stage::without_topics(broker.clone(), server.address());
    std::fs::write(stage.path("ca.pem"), broker.ca_pem()).unwrap();
    let ca = stage.path("ca.pem").to_string_lossy().into_owned();
    stage.set("KAFKA_SECURITY_PROTOCOL", "SASL_SSL");
    stage.set("KAFKA_SSL_CA_LOCATION", &ca);
    login(&mut stage, "PLAIN", "user", "password");
    stage.create("jobs", 1, &[]).await;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        login(&mut stage, mechanism, "user", "password");
        let check = stage.ended(&["check"]).await;
        assert!(output_text(&check).contains("ok      Kafka"), "{}", output_text(&check));
        login(&mut stage, mechanism, "user", "wrong");
        let refused = stage.start("refused").end().await;
        refused.failed_with("mailjob: Kafka: ", "KAFKA_SASL_PASSWORD");
        assert_eq!(stage.ended(&["check"]).await.status.code(), Some(1));
    }
    stage.unset("KAFKA_SASL_PASSWORD");
    stage.set("KAFKA_SASL_PASSWORD_FILE", "password");
    std::fs::write(stage.path("password"), "password\n").unwrap();
    let check = stage.ended(&["check"]).await;
    assert!(output_text(&check).contains("ok      Kafka"), "{}", output_text(&check));

    let other = SmtpServer::builder().tls(Tls::Implicit).listen().await.unwrap();
    std::fs::write(stage.path("other.pem"), other.ca_pem().unwrap()).unwrap();
    stage.set("KAFKA_SSL_CA_LOCATION", "other.pem");
    let untrusted = stage.start("untrusted").end().await;
    untrusted.failed_with("mailjob: Kafka: ", "KAFKA_SSL_CA_LOCATION");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_with_what_it_is_for() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    with_ledger("resend").iter().for_each(|(name, value)| stage.set(name, value));
    stage.set("INSTANCE_ID", "one");
    let (owner, group) = (stage.topic("ledger") + ".owner", stage.topic("group"));
    let no_group =
        |group: &str| format!("find-coordinator group={group} error GROUP_AUTHORIZATION_FAILED");
    // Nobody is kept from the topic, and the service goes on.
    stage.broker.fault(&no_group(&owner));
    let mut service = stage.start("log");
    service.said(&format!("the right Read on group '{owner}' is missing"), 1).await;
    service.said("Worker 1 started", 1).await;
    service.terminate().await.succeeded();

    stage.broker.fault(&no_group(&group));
    let missing = format!("the right Read on group '{group}' is missing");
    let check = stage.ended(&["check"]).await;
    let said = output_text(&check);
    assert!(said.contains(&format!("failed  group '{group}': ")), "{said}");
    let mut service = stage.start("waits");
    service.said(&missing, 1).await;
    service.terminate().await.succeeded();

    let id = format!("{group}-one-1");
    let refused = "error TRANSACTIONAL_ID_AUTHORIZATION_FAILED";
    stage.broker.fault(&format!("init-producer-id transaction={id} {refused}"));
    let named = format!("transactional.id '{id}': ");
    stage.start("refused").end().await.failed_with("mailjob: Kafka: ", &named);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_what_brokers_would_not_let_the_service_do() {
    let server = inbox().await;
    let exactly_once = ("JOB_DELIVERY", "exactly-once");
    for (fault, settings, named) in [
        ("join-group error GROUP_AUTHORIZATION_FAILED", &[][..], "TOPIC_JOB_RUN_CONSUMER_GROUP_ID"),
        ("", &[("KAFKA_SESSION_TIMEOUT_MS", "5000")], "KAFKA_SESSION_TIMEOUT_MS"),
        (
            "init-producer-id error TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
            &[exactly_once],
            "JOB_DELIVERY",
        ),
        (
            "",
            &[exactly_once, ("KAFKA_TRANSACTION_TIMEOUT_MS", "1000000")],
            "KAFKA_TRANSACTION_TIMEOUT_MS",
        ),
    ] {
        let faults = WireFault::parse_script(fault).unwrap();
        let broker =
            Broker::open_with(|it| faults.into_iter().fold(it, ListenerBuilder::fault)).await;
        let mut stage = Stage::with(broker, server.address(), 1).await;
        settings.iter().for_each(|(name, value)| stage.set(name, value));
        let ended = stage.ended(&["check"]).await;
        let said = output_text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{said}");
        let failed: Vec<_> = said.lines().filter(|line| line.starts_with("failed")).collect();
        assert!(failed.len() == 1 && failed[0].contains(named), "no {named} alone in\n{said}");
    }
}

/// Nobody loses a partition to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_beside_the_running_service_finds_the_same_and_takes_nothing_from_it() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("JOB_DELIVERY", "exactly-once");
    let mut service = stage.start("log");
    service.said("Partition assigned", 6).await;
    let ended = stage.ended(&["check"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}", output_text(&ended));
    let ended = service.terminate().await;
    ended.succeeded();
    assert_eq!(ended.log.matches("Partition assigned").count(), 6, "{}", ended.log);
}
