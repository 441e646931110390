//! What the service waits for: brokers, hosts, its input topic.

use std::sync::Arc;

use crate::kafka_broker::Broker;
use crate::load::{jobs, none_lost};
use crate::service::Service;
use crate::stage::{DELIVERIES, Stage, inbox};

/// Three jobs are done.
async fn works(stage: &Stage, service: Service) -> String {
    stage.submit(&jobs(3)).await;
    none_lost(&stage.results_of(3).await, 3);
    let ended = service.terminate().await;
    ended.succeeded();
    ended.log
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_broker_that_is_away_at_the_start_is_waited_for_with_a_line_a_change() {
    let broker = Arc::new(Broker::start_with(&[]));
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        broker.node("kill");
        let mut service = stage.start("log");
        service.said("Kafka unavailable, waiting", 1).await;
        broker.node("resume");
        service.said("Kafka available", 1).await;
        let log = works(&stage, service).await;
        for (line, count) in [("Kafka unavailable, waiting", 1), ("Kafka available", 1)] {
            assert_eq!(log.matches(line).count(), count, "{line} in\n{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_host_that_is_unknown_is_waited_for_until_a_signal_ends_the_wait() {
    let server = inbox().await;
    let mut stage = Stage::without_topics(Broker::shared(), server.address());
    stage.set("KAFKA_BROKERS", "no-such-host.invalid:9092");
    let mut service = stage.start("log");
    service.said("Kafka unavailable, waiting", 1).await;
    let check = stage.ended(&["check"]).await;
    assert_eq!(check.status.code(), Some(1), "{check:?}");
    let ended = service.terminate().await;
    ended.succeeded();
    assert!(ended.log.contains("no-such-host.invalid"), "{}", ended.log);
    assert_eq!(ended.log.matches("Kafka unavailable").count(), 1, "{}", ended.log);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn an_input_topic_that_does_not_exist_yet_is_waited_for_and_found() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::without_topics(Broker::shared(), server.address());
        stage.set("JOB_DELIVERY", delivery);
        let mut service = stage.start("log");
        service.said("does not exist yet, waiting", 1).await;
        service.said("Worker 1 started", 1).await;
        stage.create("jobs", 3, &[]).await;
        let log = works(&stage, service).await;
        assert_eq!(log.matches("does not exist yet").count(), 1, "{log}");
    }
}
