//! What the service waits for: brokers, hosts, its input topic.

use crate::broker::Broker;
use crate::load::{add, jobs, none_lost};
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
async fn a_broker_that_is_away_at_the_start_is_waited_for_with_a_line_a_change() {
    let broker = Broker::open().await;
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        broker.take_away();
        let mut service = stage.start("log");
        service.said("Kafka unavailable, waiting", 1).await;
        broker.bring_back();
        service.said("Kafka available", 1).await;
        let log = works(&stage, service).await;
        for (line, count) in [("Kafka unavailable, waiting", 1), ("Kafka available", 1)] {
            assert_eq!(log.matches(line).count(), count, "{line} in\n{log}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_unknown_is_waited_for_until_a_signal_ends_the_wait() {
    let server = inbox().await;
    let mut stage = Stage::without_topics(Broker::open().await, server.address());
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
#[ignore = "needs the right to mount"]
async fn hosts_that_become_known_are_used_with_a_line_a_change() {
    const JOBS: usize = 3;
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        let (_, port) = stage.broker.bootstrap.rsplit_once(':').expect("a port");
        let brokers = format!("kafka.invalid:{port}");
        stage.set("KAFKA_BROKERS", &brokers);
        stage.set("MAIL_SERVER_HOST", "mail.invalid");
        stage.set("JOB_DELIVERY", delivery);
        let knows = |hosts: &str| std::fs::write(stage.path("hosts"), hosts).unwrap();
        knows("127.0.0.1 localhost\n");
        let mut service = stage.start_with_hosts("log", "hosts");
        service.said("Kafka unavailable, waiting", 1).await;
        knows("127.0.0.1 localhost kafka.invalid\n");
        service.said("Kafka available", 1).await;
        service.said("Mail server unavailable, waiting", 1).await;
        add(&stage, 0..JOBS).await;
        knows("127.0.0.1 localhost kafka.invalid mail.invalid\n");
        none_lost(&stage.results_of(JOBS).await, JOBS);
        service.said("Mail server available", 1).await;
        let ended = service.terminate().await;
        ended.succeeded();
        for server in ["Kafka", "Mail server"] {
            for change in ["unavailable, waiting", "available"] {
                let line = format!("{server} {change}");
                assert_eq!(ended.log.matches(&line).count(), 1, "{line} in\n{}", ended.log);
            }
        }
        assert!(ended.log.contains("kafka.invalid"), "{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_topic_that_does_not_exist_yet_is_waited_for_and_found() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::without_topics(Broker::open().await, server.address());
        stage.set("JOB_DELIVERY", delivery);
        let mut service = stage.start("log");
        service.said("does not exist yet, waiting", 1).await;
        service.said("Worker 1 started", 1).await;
        stage.create("jobs", 3, &[]).await;
        let log = works(&stage, service).await;
        let (topic, waiting) = (stage.topic("jobs"), "does not exist yet, waiting");
        let told: Vec<_> =
            log.lines().filter(|line| line.contains("WARN") && line.contains(&topic)).collect();
        assert!(matches!(told[..], [line] if line.contains(waiting)), "{told:#?}");
    }
}
