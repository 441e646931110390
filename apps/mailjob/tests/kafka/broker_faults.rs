//! Brokers that go away under load and come back.

use std::sync::Arc;

use crate::broker::Broker;
use crate::load::{jobs, none_lost, none_twice};
use crate::service::Service;
use crate::stage::{DELIVERIES, Stage, inbox, mails};
use crate::topics::{coordinator, replicated};

const JOBS: usize = 2_000;
const NODES: usize = 3;

/// Every job has a result; one only, in exactly-once mode.
async fn goes_on(stage: &Stage, service: Service, delivery: &str) {
    stage.results_of(JOBS).await;
    service.terminate().await.succeeded();
    let results = stage.records("results").await;
    none_lost(&results, JOBS);
    if delivery == "exactly-once" {
        none_twice(&results);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_service_goes_on_when_the_broker_restarts_under_load() {
    let broker = Arc::new(Broker::start_with(&[]));
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::with(broker.clone(), server.address(), 6).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("MAIL_RATE", "200");
        stage.submit(&jobs(JOBS)).await;
        let mut service = stage.start("log");
        mails(&server, 300).await;
        broker.node("kill");
        service.said("Kafka unavailable, waiting", 1).await;
        broker.node("resume");
        service.said("Kafka available", 1).await;
        goes_on(&stage, service, delivery).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_service_goes_on_when_its_coordinators_move_under_load() {
    let broker = Arc::new(Broker::start_with(&["--nodes", "3"]));
    for (delivery, coordinators, name) in [
        ("at-least-once", "__consumer_offsets", "group"),
        ("exactly-once", "__consumer_offsets", "group"),
        ("exactly-once", "__transaction_state", "group-one-1"),
    ] {
        let server = inbox().await;
        let mut stage = Stage::with(broker.clone(), server.address(), 6).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("INSTANCE_ID", "one");
        stage.set("TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS", "3");
        stage.set("MAIL_RATE", "200");
        stage.submit(&jobs(JOBS)).await;
        let service = stage.start("log");
        mails(&server, 300).await;
        let name = stage.topic(name);
        let node = coordinator(&broker.bootstrap, coordinators, &name).await;
        broker.one_node("kill", node);
        goes_on(&stage, service, delivery).await;
        let moved = coordinator(&broker.bootstrap, coordinators, &name).await;
        assert_ne!(moved, node, "the coordinator has moved");
        broker.one_node("resume", node);
        for topic in ["__consumer_offsets", "__transaction_state"] {
            if delivery == "exactly-once" || topic == coordinators {
                replicated(&broker.bootstrap, topic, NODES).await;
            }
        }
    }
}
