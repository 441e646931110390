//! `mailjob parked`: jobs of which nobody knows whether their mail was sent.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use jobstream_testkit::smtp::{Misfortune, Moment, SmtpServer};
use serde_json::Value;

use crate::load::{job, job_id as id};
use crate::service::Service;
use crate::stage::{Stage, error_text, inbox, output_text};
use crate::topics::Found;

/// A running service, and so many jobs whose result is that nobody knows.
async fn parked(jobs: usize) -> (Stage, SmtpServer, Service) {
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("JOB_AMBIGUOUS", "park");
    let silence = Misfortune::at(Moment::Dot).reply(999, "what?");
    let silence = server.misfortunes().push(silence);
    stage.submit(&(0..jobs).map(job).collect::<String>()).await;
    let service = stage.start("log");
    let results = stage.results_of(jobs).await;
    assert_eq!(outcomes(&results), vec!["ambiguous"; jobs]);
    server.misfortunes().remove(silence);
    (stage, server, service)
}

fn outcomes(results: &[Found]) -> Vec<String> {
    results.iter().map(|result| result.header("job-outcome").unwrap()).collect()
}

async fn said(stage: &Stage, arguments: &[&str]) -> String {
    let ended = stage.ended(arguments).await;
    assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {}", error_text(&ended));
    output_text(&ended)
}

/// The Ids that are listed.
async fn listed(stage: &Stage) -> Vec<String> {
    let lines = said(stage, &["parked", "list", "--json"]).await;
    let id = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let job: Value = serde_json::from_str(line["value"].as_str().unwrap()).unwrap();
        job["Id"].as_str().unwrap().to_owned()
    };
    let mut ids: Vec<_> = lines.lines().map(id).collect();
    ids.sort_unstable();
    ids
}

/// The last results, once there are so many.
async fn results(stage: &Stage, count: usize) -> Vec<Found> {
    stage.records_of("results", count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_job_is_sent_again_once_it_is_resent() {
    let (stage, server, service) = parked(2).await;
    assert_eq!(listed(&stage).await, [id(0), id(1)]);
    let mails = server.inbox().count();
    let text = said(&stage, &["parked", "resend", &id(1)]).await;
    assert!(
        text.contains("1 job produced") && text.ends_with("job-resolution: resend\n"),
        "{text}"
    );
    let results = results(&stage, 3).await;
    assert_eq!(outcomes(&results), ["ambiguous", "ambiguous", "accepted"]);
    assert_eq!(results[2].outcome().id, id(1));
    assert_eq!(results[2].outcome().status, 4);
    assert_eq!(server.inbox().count(), mails + 1);
    assert_eq!(listed(&stage).await, [id(0)]);
    service.terminate().await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_settled_either_way_without_a_mail() {
    let (stage, server, service) = parked(3).await;
    let mails = server.inbox().count();
    said(&stage, &["parked", "settle", "--accepted", &id(0)]).await;
    results(&stage, 4).await;
    said(&stage, &["parked", "settle", "--rejected", &id(1)]).await;
    let results = results(&stage, 5).await;
    assert_eq!(outcomes(&results)[3..], ["accepted", "rejected"]);
    let statuses: Vec<_> = results[3..].iter().map(|result| result.outcome().status).collect();
    assert_eq!(statuses, [4, 5]);
    assert_eq!(results[3].header("job-message-id"), None, "no mail was sent here");
    assert_eq!(results[4].header("job-error").as_deref(), Some("settled as rejected"));
    assert_eq!(server.inbox().count(), mails, "no mail");
    assert_eq!(listed(&stage).await, [id(2)]);
    service.terminate().await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_not_made_twice_while_its_owner_is_away() {
    let (stage, server, service) = parked(1).await;
    service.terminate().await.succeeded();
    let mails = server.inbox().count();
    said(&stage, &["parked", "resend", "--all"]).await;
    let table = said(&stage, &["parked", "list"]).await;
    assert!(table.contains("resend awaited"), "{table}");
    let again = said(&stage, &["parked", "resend", "--all"]).await;
    assert!(again.contains("passed over") && again.contains("0 jobs produced"), "{again}");
    assert_eq!(stage.records("jobs").await.len(), 2);

    let service = stage.start("second");
    results(&stage, 2).await;
    assert_eq!(server.inbox().count(), mails + 1);
    assert_eq!(listed(&stage).await, Vec::<String>::new());
    service.terminate().await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_parked_is_refused_and_nothing_is_produced() {
    let (stage, _server, service) = parked(1).await;
    let refused = stage.ended(&["parked", "resend", &id(0), "other"]).await;
    assert_eq!(refused.status.code(), Some(1));
    let text = error_text(&refused);
    assert_eq!(text, "mailjob: other: no such job is parked; nothing was produced\n");
    assert_eq!(stage.records("jobs").await.len(), 1);
    service.terminate().await.succeeded();
}
