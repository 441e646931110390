//! Commits of other programs.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that waits for the service"
)]

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::broker::Broker;
use crate::load::{add, none_lost, none_twice, one_mail_each};
use crate::stage::{DELIVERIES, Stage, inbox};

/// A client of the stage's group that is no member.
fn of_group(stage: &Stage) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &stage.broker.bootstrap).set("group.id", stage.topic("group"));
    config
}

/// Commits for the stage's group as another client does, while it has no member.
async fn commit(stage: &Stage, offset: i64, metadata: &str) {
    let config = of_group(stage);
    let mut list = TopicPartitionList::new();
    {
        let mut element = list.add_partition(&stage.topic("jobs"), 0);
        element.set_offset(Offset::Offset(offset)).unwrap();
        element.set_metadata(metadata);
    }
    let commit = move || {
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    };
    tokio::task::spawn_blocking(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_commit_of_another_program_hides_a_job() {
    for (delivery, metadata) in DELIVERIES.into_iter().zip(["AgAAAaDEUGwA", "metadata"]) {
        let server = inbox().await;
        let mut stage = Stage::with(Broker::open().await, server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        add(&stage, 0..60).await;
        commit(&stage, 0, metadata).await;
        let service = stage.start("log");
        none_lost(&stage.results_of(60).await, 60);
        let ended = service.terminate().await;
        ended.succeeded();
        one_mail_each(&server, 60);
        assert_eq!(ended.log.matches("A commit of another program").count(), 1, "{}", ended.log);
        assert!(ended.log.contains(metadata), "{}", ended.log);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_beyond_the_end_is_worked_off_once() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::with(Broker::open().await, server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        add(&stage, 0..5).await;
        commit(&stage, 100_000, "IA==").await;
        for start in ["first", "second"] {
            let mut service = stage.start(start);
            service.said("Worker 1 started", 1).await;
            none_lost(&stage.results_of(5).await, 5);
            let ended = service.terminate().await;
            ended.succeeded();
            let resets = usize::from(start == "first");
            let line = "Partition begins anew";
            assert_eq!(ended.log.matches(line).count(), resets, "{}", ended.log);
        }
        one_mail_each(&server, 5);
        none_twice(&stage.records("results").await);
    }
}
