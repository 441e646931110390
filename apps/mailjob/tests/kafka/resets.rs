//! Topics that are created anew, and brokers that take little metadata.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test that waits for Kafka")]

use std::ops::Range;
use std::sync::Arc;

use jobstream::position::Position;
use jobstream_testkit::smtp::{Misfortune, Moment, SmtpServer};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::load::{SAMPLE, SAMPLE_ID, add, job_id, none_lost, none_twice, one_mail_each};
use crate::stage::{DELIVERIES, LIMIT, LOOK_AGAIN_AFTER, Stage, output_text};
use crate::topics::produce;

/// A client of the stage's group that is no member.
fn of_group(stage: &Stage) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &stage.broker.bootstrap).set("group.id", stage.topic("group"));
    config
}

/// Completes when the stage's group has committed that these offsets are finished.
async fn committed(stage: &Stage, finished: Range<i64>) {
    let (config, topic) = (of_group(stage), stage.topic("jobs"));
    let look = move || {
        let consumer: BaseConsumer = config.create().unwrap();
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&topic, 0);
        let committed = consumer.committed_offsets(asked, LIMIT).unwrap();
        let element = committed.find_partition(&topic, 0).unwrap();
        let Offset::Offset(offset) = element.offset() else { return false };
        let position = Position::from_commit(offset, element.metadata()).unwrap().position;
        finished.clone().all(|offset| position.is_finished(offset))
    };
    let committed = async {
        while !tokio::task::spawn_blocking(look.clone()).await.unwrap() {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    timeout(LIMIT, committed).await.expect("a commit");
}

/// The mails of the job with this recipient are put off.
async fn greylisting(recipient: &str) -> SmtpServer {
    let puts_off = Misfortune::at(Moment::Rcpt).to(recipient).reply(451, "4.7.1 later");
    SmtpServer::builder().misfortune(puts_off).listen().await.unwrap()
}

/// A job for another recipient than the others.
fn job_for(recipient: &str, number: usize) -> String {
    SAMPLE.replace(SAMPLE_ID, &job_id(number)).replace(
        r#""DestinationAddress":"example@"#,
        &format!(r#""DestinationAddress":"{recipient}@"#),
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topic_that_is_created_anew_under_work_is_worked_off_from_its_start() {
    for delivery in DELIVERIES {
        let server = greylisting("grey@example.com").await;
        let mut stage = Stage::with(Broker::shared(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        let grey = job_for("grey", 0);
        produce(&stage.broker.bootstrap, &stage.topic("jobs"), &[(None, Some(grey.as_bytes()))])
            .await;
        add(&stage, 1..15).await;
        let mut service = stage.start("log");
        // What is in flight when its topic goes is dropped.
        stage.results_of(14).await;
        stage.delete("jobs").await;
        stage.create("jobs", 1, &[]).await;
        add(&stage, 100..140).await;
        service.said("Partition begins anew", 1).await;
        let results = stage.results_of(14 + 40).await;
        none_lost(&results, 14 + 40);
        none_twice(&results);
        assert_eq!(
            server.inbox().count(),
            14 + 40,
            "nothing is done under the former topic's offsets"
        );
        let ended = service.terminate().await;
        ended.succeeded();
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        let service = stage.start("again");
        let number = server.inbox().count();
        add(&stage, 140..141).await;
        none_lost(&stage.results_of(14 + 41).await, 14 + 41);
        service.terminate().await.succeeded();
        assert_eq!(server.inbox().count(), number + 1, "a restart sends nothing again");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_broker_that_takes_little_metadata_costs_no_job_and_no_second_mail() {
    const JOBS: usize = 300;
    let broker = Arc::new(Broker::start_with(&[]));
    broker.restart_with("offset.metadata.max.bytes", "64");
    for delivery in DELIVERIES {
        let server = greylisting("grey@example.com").await;
        let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("JOB_RETRY_DELAY_MAX", "1");
        let check = stage.ended(&["check"]).await;
        assert!(output_text(&check).contains("takes 64 bytes"), "{check:?}");
        let grey = job_for("grey", 0);
        produce(&stage.broker.bootstrap, &stage.topic("jobs"), &[(None, Some(grey.as_bytes()))])
            .await;
        add(&stage, 1..JOBS).await;
        for start in 0..2 {
            let mut service = stage.start(&format!("log-{start}"));
            service.said("Brokers take little metadata", 1).await;
            let is_full = async {
                while server.inbox().count() < 47 {
                    sleep(LOOK_AGAIN_AFTER).await;
                }
            };
            timeout(LIMIT, is_full).await.expect("a full window");
            committed(&stage, 1..48).await;
            let ended = service.terminate().await;
            ended.succeeded();
            assert_eq!(ended.log.matches("Brokers take little metadata").count(), 1);
        }
        server.misfortunes().clear();
        let service = stage.start("last");
        none_lost(&stage.results_of(JOBS).await, JOBS);
        service.terminate().await.succeeded();
        one_mail_each(&server, JOBS);
        none_twice(&stage.records("results").await);
    }
}
