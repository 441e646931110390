//! The stream of events: no more than a person can see.

use tokio::time::{Instant, timeout};

use crate::client;
use crate::client::{head, next_event, open};
use crate::demo::{Demo, LIMIT};
use crate::job::job;

#[tokio::test]
async fn a_load_is_told_ten_times_a_second_at_most_and_to_its_end() {
    let demo = Demo::empty().await;
    let mut stream = open(demo.address, "GET", "/events", &[], "").await;
    assert_eq!(head(&mut stream).await.0, 200);
    next_event(&mut stream).await.expect("one at once");
    let begun = Instant::now();
    let values: Vec<_> = (0..300).map(|number| job("load", number)).collect();
    client::post(demo.address, "/jobs", &serde_json::json!({ "values": values })).await;
    let told = async {
        let mut told = 0_u32;
        loop {
            let shown = next_event(&mut stream).await.expect("the stream goes on");
            told += 1;
            let account = &shown["play"]["account"];
            if account["records"] == 300 && account["verdict"] == "balanced" {
                return told;
            }
        }
    };
    let told = timeout(LIMIT, told).await.expect("told in time");
    let tenths = begun.elapsed().as_millis() / 100;
    assert!(u128::from(told) <= tenths + 2, "told {told} times in {tenths} tenths of a second");
}
