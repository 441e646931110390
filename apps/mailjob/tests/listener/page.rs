//! The live page beside a service on Kafka: read-only, and only with the token.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::net::SocketAddr;

use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::client::{Answer, ask};
use crate::load::jobs;
use crate::service::Service;
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER, Stage, inbox};

const BEARER: (&str, &str) = ("authorization", "Bearer open sesame, open");

/// Where the service says that its page is.
pub(crate) async fn address(service: &mut Service) -> SocketAddr {
    const WORDS: &str = "The live page is on http://";
    service.said(WORDS, 1).await;
    let log = service.log();
    let (_, rest) = log.split_once(WORDS).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

async fn snapshot(address: SocketAddr) -> Answer {
    ask(address, "GET", "/snapshot", &[BEARER], "").await
}

/// Completes when the page shows what is wanted.
pub(crate) async fn until(
    address: SocketAddr,
    what: &str,
    is_so: impl Fn(&Value) -> bool + Send + Sync,
) {
    let mut shown = Value::Null;
    let looked = async {
        loop {
            shown = snapshot(address).await.json();
            if is_so(&shown) {
                return;
            }
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let is_shown = timeout(LIMIT, looked).await.is_ok();
    assert!(is_shown, "{what}: {shown:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_service_shows_fates_and_lag_and_no_content_to_who_has_the_token() {
    const JOBS: u64 = 30;
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("PAGE_TOKEN", "open sesame, open");
    stage.set("KAFKA_STATISTICS_INTERVAL_MS", "200");
    stage.submit(&jobs(JOBS as usize)).await;
    let mut service = stage.start_command("log", &["run", "--page", "127.0.0.1:0"]);
    let address = address(&mut service).await;
    until(address, "all fates", |shown| shown["counts"]["succeeded"] == JOBS).await;
    until(address, "no lag", |shown| {
        let partitions = shown["partitions"].as_array().unwrap();
        partitions.len() == 6 && partitions.iter().all(|partition| partition["lag"] == 0)
    })
    .await;
    let answer = snapshot(address).await;
    assert_eq!(answer.json()["fates"]["count"], JOBS);
    assert!(!answer.body.contains("example"), "what is in a job: {}", answer.body);

    for (headers, status) in [
        (&[][..], 401),
        (&[("authorization", "Bearer guess")], 401),
        (&[BEARER, ("origin", "https://evil.example")], 403),
    ] {
        let answer = ask(address, "GET", "/snapshot", headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}");
    }
    let json = ("content-type", "application/json");
    let job = r#"{"values":["x"]}"#;
    assert_eq!(ask(address, "POST", "/jobs", &[BEARER, json], job).await.status, 403);
    service.terminate().await.succeeded();
}
