//! Topics that are created, and what a cluster of several brokers makes of them.

use std::sync::Arc;

use jobstream::kafka::{KafkaConfig, Topics};

use crate::broker::Broker;
use crate::stage::{Stage, inbox};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topic_with_one_replica_on_several_brokers_is_warned_of_and_replicas_in_sync_are_set() {
    let broker = Arc::new(Broker::start_with(&["--nodes", "3"]));
    let server = inbox().await;
    let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
    stage.set("TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS", "3");
    stage.set("TOPIC_JOB_RUN_RESULT_CREATE_MIN_INSYNC_REPLICAS", "2");
    stage.set("TOPIC_JOB_RUN_DEAD_LETTER_CREATE_REPLICAS", "1");
    // First they are created, then they are there.
    for log in ["created", "existed"] {
        let mut service = stage.start(log);
        service.said("Worker 1 started", 1).await;
        service.terminate().await.succeeded();
        let text = std::fs::read_to_string(stage.path(log)).unwrap();
        let warned = format!(
            "WARN  [main {}] Topic '{}' has 1 replica on a cluster of 3 brokers",
            text.split_once("[main ").unwrap().1.split(']').next().unwrap(),
            stage.topic("dead-letters")
        );
        assert!(text.contains(&warned), "{text}");
        assert_eq!(text.matches("on a cluster of").count(), 1, "{text}");
    }
    let topics = Topics::new(&KafkaConfig::new(&broker.bootstrap)).unwrap();
    for (topic, in_sync) in [("results", "2"), ("dead-letters", "1")] {
        let set = topics.setting(&stage.topic(topic), "min.insync.replicas").await.unwrap();
        assert_eq!(set.as_deref(), Some(in_sync), "{topic}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn on_one_broker_one_replica_is_all_that_there_can_be() {
    let server = inbox().await;
    let stage = Stage::new(server.address()).await;
    let mut service = stage.start("log");
    service.said("Worker 1 started", 1).await;
    service.terminate().await.succeeded();
    let text = std::fs::read_to_string(stage.path("log")).unwrap();
    assert!(!text.contains("on a cluster of"), "{text}");
}
