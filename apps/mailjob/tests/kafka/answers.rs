//! What is reported about brokers that do not answer, and about a topic that has gone.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::kafka_broker::Broker;
use crate::load::{add, jobs, none_lost};
use crate::metrics::{address, is_ready};
use crate::scrape::probe;
use crate::stage::{DELIVERIES, LIMIT, LOOK_AGAIN_AFTER, Stage, error_text, inbox, output_text};

/// Completes when somebody listens.
async fn listens(address: &str) {
    let listens = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, listens).await.expect("a listener");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn every_command_names_the_host_that_a_broker_advertises_and_nobody_knows() {
    const UNKNOWN: &str = "no-such-host.invalid:9092";
    let broker = Arc::new(Broker::start_with(&[]));
    let server = inbox().await;
    let stage = Stage::with(broker.clone(), server.address(), 1).await;
    stage.create("dead-letters", 1, &[]).await;
    broker.restart_with("advertised.listeners", &format!("CLIENT://{UNKNOWN}"));
    listens(&broker.bootstrap).await;
    let named = async {
        loop {
            let ended = stage.ended(&["check"]).await;
            let said = output_text(&ended);
            assert_eq!(ended.status.code(), Some(1), "{said}");
            assert!(!said.contains("ok      Kafka"), "{said}");
            // Until the broker knows itself and its topics.
            if said.contains(UNKNOWN) && !said.contains("missing") {
                return said;
            }
        }
    };
    let said = timeout(LIMIT, named).await.expect("the host's name");
    let line = said.lines().find(|line| line.starts_with("failed  Kafka: ")).expect("a line");
    assert!(line.contains("Failed to resolve") && line.contains("advertised.listeners"), "{line}");
    let mut service = stage.start("log");
    service.said(&format!("Failed to resolve '{UNKNOWN}'"), 1).await;
    service.terminate().await.succeeded();
    std::fs::write(stage.path("jobs"), jobs(1)).unwrap();
    for command in [&["submit", "jobs"][..], &["dead-letters", "list"]] {
        let ended = stage.ended(command).await;
        let errors = error_text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert!(errors.starts_with("mailjob: Kafka: ") && errors.contains(UNKNOWN), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

/// Completes when a probe of readiness says this of one of its checks.
async fn says(address: SocketAddr, check: &str, reason: &str) {
    let says = async {
        while !probe(address, "/readyz").await.1[check].contains(reason) {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let said = timeout(LIMIT, says).await;
    assert!(said.is_ok(), "no {reason:?}: {:?}", probe(address, "/readyz").await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn who_has_a_broker_that_hangs_is_not_ready_for_that_and_ready_again_when_it_answers() {
    for delivery in DELIVERIES {
        let broker = Arc::new(Broker::start_with(&[]));
        let server = inbox().await;
        let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("METRICS_ADDRESS", "127.0.0.1:0");
        stage.set("KAFKA_STATISTICS_INTERVAL_MS", "200");
        // The broker waits that long for members whose requests it finds when it goes on, and whose
        // connections have gone.
        stage.set("KAFKA_MAX_POLL_INTERVAL_MS", "25000");
        let mut owner = stage.start("owner");
        owner.said("Partition assigned", 1).await;
        let mut spare = stage.start("spare");
        let addresses = [address(&mut owner).await, address(&mut spare).await];
        for address in addresses {
            is_ready(address, true).await;
        }
        broker.signal("STOP");
        for address in addresses {
            says(address, "broker", "expected at most 30 s").await;
            says(address, "partitions", "no partition is assigned").await;
            is_ready(address, false).await;
            assert!(probe(address, "/healthz").await.0, "a restart mends nothing");
        }
        let check = stage.ended(&["check"]).await;
        let said = output_text(&check);
        assert!(said.contains("failed  Kafka: ") && said.contains(&broker.bootstrap), "{said}");
        broker.signal("CONT");
        for address in addresses {
            is_ready(address, true).await;
        }
        add(&stage, 0..3).await;
        none_lost(&stage.results_of(3).await, 3);
        owner.terminate().await.succeeded();
        spare.terminate().await.succeeded();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
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
