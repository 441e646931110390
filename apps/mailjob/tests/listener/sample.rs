//! The documented sample: submitted, through the service, to a mail and a result.

use crate::load::{SAMPLE, SAMPLE_ID, sample_result};
use crate::stage::{DELIVERIES, Stage, inbox, mails};

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_sample_submitted_becomes_a_mail_a_result_and_lines_of_log() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("KAFKA_PORT", "tcp://10.0.0.1:9092");
        let service = stage.start("log");
        stage.submit(SAMPLE).await;
        mails(&server, 1).await;
        let results = stage.results_of(1).await;
        assert_eq!(results[0].value.as_deref(), Some(sample_result().as_bytes()), "{delivery}");
        assert_eq!(results[0].key.as_deref(), Some(SAMPLE_ID.as_bytes()));

        let ended = service.terminate().await;
        ended.succeeded();
        let (results, jobs) = (stage.topic("results"), stage.topic("jobs"));
        for line in [
            "Creating job-executor app",
            "KAFKA_PORT: unknown setting",
            &format!("Topic '{results}' created successfully."),
            "Starting email job consumers with 1 workers...",
            "Worker 1 started for consuming job events...",
            &format!("Job finished id={SAMPLE_ID} topic={jobs} partition="),
            "fate=succeeded",
            "Starting graceful shutdown...",
            "Closing consumer group...",
            "Consumer group successfully closed",
            "Graceful shutdown completed",
        ] {
            assert!(ended.log.contains(line), "no line {line:?} in\n{}", ended.log);
        }
        assert!(!ended.log.contains('@'), "an address in\n{}", ended.log);
    }
}
