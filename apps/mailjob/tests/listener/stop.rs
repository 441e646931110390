//! The end of a service: a signal, and a second one.

use crate::load::{jobs, none_lost, none_twice, one_mail_each};
use crate::stage::{DELIVERIES, Stage, inbox, mails};

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_under_load_drains_and_the_next_start_goes_on_without_a_repeat() {
    const JOBS: usize = 4_000;
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("TOPIC_JOB_RUN_CONSUMER_WORKER_COUNT", "2");
        stage.set("MAIL_RATE", "200");
        stage.set("JOB_IN_FLIGHT", "200");
        stage.submit(&jobs(JOBS)).await;
        let first = stage.start("first");
        mails(&server, 500).await;
        first.terminate().await.succeeded();
        let sent = mails(&server, 0).await;
        assert!(sent < JOBS, "it was stopped under load");
        none_lost(&stage.records("results").await, sent);

        stage.unset("MAIL_RATE");
        let second = stage.start("second");
        stage.results_of(JOBS).await;
        second.terminate().await.succeeded();
        one_mail_each(&server, JOBS);
        let results = stage.records("results").await;
        none_lost(&results, JOBS);
        none_twice(&results);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("MAIL_RATE", "1");
    stage.set("SHUTDOWN_TIMEOUT", "120");
    stage.submit(&jobs(200)).await;
    let mut service = stage.start("log");
    mails(&server, 1).await;
    service.signal("INT");
    service.said("Starting graceful shutdown...", 1).await;
    let ended = service.terminate().await;
    assert_eq!(ended.code, Some(130), "{}", ended.log);
    assert!(ended.log.ends_with("what was in flight will be done again\n"), "{}", ended.log);
}
