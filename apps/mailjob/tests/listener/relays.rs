//! Two relays, of which the first goes away and comes back.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use jobstream_testkit::smtp::SmtpServer;
use serde_json::{Value, json};

use crate::load::{job, job_id};
use crate::metrics::shows;
use crate::page;
use crate::service::{is_ready, metrics_address};
use crate::stage::{Stage, inbox};

const JOBS: usize = 20;

/// Submits jobs with numbers from `first` on, and completes with the relay that each result names.
async fn relays_of(stage: &Stage, first: usize) -> Vec<String> {
    let jobs: Vec<_> = (first..first + JOBS).map(job).collect();
    stage.submit(&jobs.join("\n")).await;
    let results = stage.results_of(first + JOBS).await;
    let of_these = (first..first + JOBS).map(job_id).collect::<BTreeSet<_>>();
    let results = results.iter().filter(|result| of_these.contains(&result.outcome().id));
    results.map(|result| result.header("job-relay").expect("there are several")).collect()
}

/// Completes when the page shows which of the servers are away.
async fn are_away(page: SocketAddr, servers: [&SmtpServer; 2], away: [bool; 2]) {
    let names = servers.map(|server| server.address().to_string());
    let expected = |shown: &Value| {
        names.iter().zip(away).all(|(name, away)| {
            let all = shown["servers"].as_array().expect("all servers");
            let found = all.iter().find(|server| server["name"] == json!(name));
            found.is_some_and(|server| server["away"].is_string() == away)
        })
    };
    page::until(page, "who is away", |shown| expected(shown) && shown["away"].is_null()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_go_to_the_second_relay_while_the_first_is_away_and_everything_says_so() {
    let (first, second) = (inbox().await, inbox().await);
    let names = [&first, &second].map(|server| server.address().to_string());
    first.refuse_connections().await;
    let mut stage = Stage::new(first.address()).await;
    stage.set("MAIL_SERVER_HOST", &names.join(","));
    stage.unset("MAIL_SERVER_PORT");
    stage.set("METRICS_ADDRESS", "127.0.0.1:0");
    stage.set("PAGE_TOKEN", "open sesame, open");
    let mut service = stage.start_command("log", &["run", "--page", "127.0.0.1:0"]);
    let (metrics, page) = (metrics_address(&mut service).await, page::address(&mut service).await);
    let open = async |relay: usize, expected: f64| {
        let labels = [("relay", &*names[relay])];
        shows(metrics, "mailjob_smtp_circuit_open", &labels, expected).await;
    };

    let relays = relays_of(&stage, 0).await;
    assert!(relays.iter().all(|relay| *relay == names[1]), "{relays:?}");
    assert_eq!((first.inbox().count(), second.inbox().count()), (0, JOBS as u64));
    service.said(&format!("Mail server {} unavailable, another is used", names[0]), 1).await;
    open(0, 1.0).await;
    open(1, 0.0).await;
    is_ready(metrics, true).await;
    are_away(page, [&first, &second], [true, false]).await;

    first.admit_connections().await.unwrap();
    service.said(&format!("Mail server {} available", names[0]), 1).await;
    open(0, 0.0).await;
    are_away(page, [&first, &second], [false, false]).await;
    let relays = relays_of(&stage, JOBS).await;
    assert!(relays.iter().all(|relay| *relay == names[0]), "{relays:?}");
    service.terminate().await.succeeded();
    assert_eq!((first.inbox().count(), second.inbox().count()), (JOBS as u64, JOBS as u64));
}
