//! The stream of events: only what is news, for as long as the page is open.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use crate::client::{self, head, next_event, open};
use crate::service;

/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(180);

#[tokio::test]
async fn what_has_not_changed_is_not_told_again() {
    let page = service::open(None, service::Shows::Nothing).await;
    let mut stream = open(page.address, "GET", "/events", &[], "").await;
    head(&mut stream).await;
    let mut frames: Vec<Value> = Vec::new();
    for round in 0..5 {
        page.work(&format!("round-{round}"), 1).await;
        // What was told before this round may come first.
        loop {
            let shown = timeout(LIMIT, next_event(&mut stream)).await.unwrap().unwrap();
            frames.push(shown);
            if frames.last().unwrap()["fates"]["count"] == round + 1 {
                break;
            }
        }
    }
    frames.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1]));
}

#[tokio::test]
async fn open_streams_end_with_the_page() {
    let page = service::open(None, service::Shows::Nothing).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = open(page.address, "GET", "/events", &[], "").await;
        head(&mut stream).await;
        next_event(&mut stream).await.unwrap();
        streams.push(stream);
    }
    timeout(LIMIT, page.close()).await.expect("the page ends");
    for mut stream in streams {
        while timeout(LIMIT, next_event(&mut stream)).await.unwrap().is_some() {}
    }
}

#[tokio::test]
async fn one_stream_too_many_of_a_client_is_refused_and_has_room_when_another_ends() {
    let page = service::open(None, service::Shows::Nothing).await;
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = open(page.address, "GET", "/events", &[], "").await;
        assert_eq!(head(&mut stream).await.0, 200);
        streams.push(stream);
    }
    assert_eq!(client::get(page.address, "/events").await.status, 503);
    streams.clear();
    let again = async {
        loop {
            let mut stream = open(page.address, "GET", "/events", &[], "").await;
            if head(&mut stream).await.0 == 200 {
                return;
            }
            // The server learns that a browser has gone when it tells it something.
            page.work("news", 1).await;
        }
    };
    timeout(LIMIT, again).await.expect("room in time");
}
