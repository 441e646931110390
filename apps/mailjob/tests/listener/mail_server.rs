//! A mail server that is away, or lets nobody in.

use std::time::Duration;

use jobstream_testkit::smtp::{Misfortune, Moment, SmtpServer};
use tokio::time::sleep;

use crate::load::{jobs, none_lost, none_twice};
use crate::stage::{Stage, inbox, mails};

/// For how long the mail server is away: longer than a job may be tried, [`DEADLINE_SECONDS`].
const AWAY: Duration = Duration::from_secs(6);
const DEADLINE_SECONDS: &str = "3";

#[tokio::test(flavor = "multi_thread")]
async fn no_job_fails_while_the_mail_server_is_away_for_longer_than_a_job_is_tried() {
    const JOBS: usize = 2_000;
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("JOB_RETRY_ATTEMPTS", "3");
    stage.set("JOB_RETRY_DEADLINE", DEADLINE_SECONDS);
    stage.set("MAIL_RATE", "200");
    stage.submit(&jobs(JOBS)).await;
    let mut service = stage.start("log");
    mails(&server, 300).await;
    server.refuse_connections().await;
    server.disconnect_all();
    service.said("Mail server unavailable, waiting", 1).await;
    let sent = mails(&server, 0).await;
    sleep(AWAY).await;
    assert_eq!(mails(&server, 0).await, sent);
    server.admit_connections().await.unwrap();

    none_lost(&stage.results_of(JOBS).await, JOBS);
    let ended = service.terminate().await;
    ended.succeeded();
    none_twice(&stage.records("results").await);
    assert_eq!(ended.log.matches("Mail server available").count(), 1);
    // A reason may follow another one; none is repeated.
    let told = ended.log.matches("Mail server unavailable").count();
    assert!(told <= 3, "{told} lines that the server is away");
}

fn with_login(password: &str) -> jobstream_testkit::smtp::SmtpServerBuilder {
    SmtpServer::builder().login("user@example.com", password).require_login()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_job_fails_while_a_password_is_refused_and_a_new_one_is_read_from_its_file() {
    const JOBS: usize = 2_000;
    let old = with_login("old").listen().await.unwrap();
    let address = old.address();
    let mut stage = Stage::new(address).await;
    for (name, value) in [
        ("SMTP_USER", "user@example.com"),
        ("SMTP_PASSWORD_FILE", "password"),
        ("MAIL_ALLOW_PLAINTEXT_AUTH", "true"),
        ("MAIL_RATE", "200"),
        ("JOB_RETRY_ATTEMPTS", "3"),
        ("JOB_RETRY_DEADLINE", "15"),
    ] {
        stage.set(name, value);
    }
    std::fs::write(stage.path("password"), "old\n").unwrap();
    stage.submit(&jobs(JOBS)).await;
    let mut service = stage.start("log");
    mails(&old, 300).await;

    // Refused for a while, and accepted again.
    let refusal = Misfortune::at(Moment::Auth).reply(535, "5.7.8 not now");
    let refusal = old.misfortunes().push(refusal);
    old.disconnect_all();
    let refused = "found reply 535, expected 235";
    service.said(refused, 1).await;
    old.misfortunes().remove(refusal);
    service.said("Mail server available", 1).await;
    let before = mails(&old, 0).await;
    mails(&old, before + 100).await;

    // Rotated: the server knows the new one only, the file follows.
    old.shutdown().await;
    let new = with_login("new").listen_on(address).await.unwrap();
    service.said(refused, 2).await;
    assert_eq!(new.inbox().count(), 0);
    std::fs::write(stage.path("password"), "new\n").unwrap();
    mails(&new, 100).await;

    none_lost(&stage.results_of(JOBS).await, JOBS);
    let ended = service.terminate().await;
    ended.succeeded();
    none_twice(&stage.records("results").await);
    let told = ended.log.matches("The login of the mail server has changed").count();
    assert_eq!(told, 1, "{}", ended.log);
    assert!(!ended.log.contains("new\n") && !ended.log.contains("old\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_is_not_there_at_the_start_is_waited_for() {
    let server = inbox().await;
    server.refuse_connections().await;
    let stage = Stage::new(server.address()).await;
    let mut service = stage.start("log");
    stage.submit(&jobs(3)).await;
    service.said("Mail server unavailable, waiting", 1).await;
    server.admit_connections().await.unwrap();
    none_lost(&stage.results_of(3).await, 3);
    service.said("Mail server available", 1).await;
    let ended = service.terminate().await;
    ended.succeeded();
    assert_eq!(ended.log.matches("Mail server available").count(), 1, "{}", ended.log);
}
