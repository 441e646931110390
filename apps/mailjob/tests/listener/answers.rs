//! What is reported about brokers that can't be reached, and about a topic that has gone.

use crate::broker::Broker;
use crate::load::{add, jobs, none_lost};
use crate::stage::{DELIVERIES, Stage, error_text, inbox, output_text};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_names_the_host_that_a_broker_advertises_and_nobody_knows() {
    const HOST: &str = "no-such-host.invalid";
    let broker = Broker::open().await;
    let server = inbox().await;
    let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
    stage.create("dead-letters", 1, &[]).await;
    let lost = broker.again_with(|listener| listener.advertised_host(HOST)).await;
    let (_, port) = lost.bootstrap.rsplit_once(':').expect("a port");
    stage.set("KAFKA_BROKERS", &format!("127.0.0.1:{port}"));
    let unknown = format!("{HOST}:{port}");
    let ended = stage.ended(&["check"]).await;
    let said = output_text(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(!said.contains("ok      Kafka"), "{said}");
    let line = said.lines().find(|line| line.starts_with("failed  Kafka: ")).expect("a line");
    for word in ["Failed to resolve", "advertised.listeners", &unknown] {
        assert!(line.contains(word), "no {word:?} in {line}");
    }
    let mut service = stage.start("log");
    service.said(&format!("Failed to resolve '{unknown}'"), 1).await;
    service.terminate().await.succeeded();
    std::fs::write(stage.path("jobs"), jobs(1)).unwrap();
    for command in [&["submit", "jobs"][..], &["dead-letters", "list"]] {
        let ended = stage.ended(command).await;
        let errors = error_text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert!(errors.starts_with("mailjob: Kafka: ") && errors.contains(&unknown), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_topic_that_is_deleted_is_named_and_waited_for() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        let mut service = stage.start("log");
        add(&stage, 0..3).await;
        none_lost(&stage.results_of(3).await, 3);
        stage.delete("results").await;
        add(&stage, 3..6).await;
        let results = stage.topic("results");
        let line = format!("topic {results} does not exist: its outputs wait until it is created");
        service.said(&line, 1).await;
        stage.create("results", 1, &[]).await;
        let found = stage.records_of("results", 3).await;
        assert!(found.iter().all(|result| result.outcome().status == 4));
        service.terminate().await.succeeded();
        assert_eq!(server.inbox().count(), 6, "a mail that was sent is not sent again");
    }
}
