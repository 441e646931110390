//! Orders without progress.

use std::time::Duration;

use pizza::services::watchdog::PATIENCE;
use pizza::status::Status;
use pizza::topics;
use tokio::time::{Instant, sleep};

use crate::shop::{Shop, example, id};

#[tokio::test(start_paused = true)]
async fn an_order_that_nobody_works_on_is_lost_after_45_seconds() {
    for factor in [1, 10] {
        let shop = Shop::new().at_speed(factor);
        let order = id("3c91b");
        let [_, _, _, status] = shop.services();
        let began = Instant::now();
        shop.run(&[status], async {
            shop.order(order, &example()).await;
            shop.all_are(&[order], Status::LOST).await;
        })
        .await;
        let took = began.elapsed() * factor;
        assert!(took > PATIENCE && took < PATIENCE + Duration::from_secs(3), "found {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_later_status_replaces_a_loss() {
    let shop = Shop::new();
    let order = id("3c91b");
    let [_, _, _, status] = shop.services();
    shop.run(&[status], async {
        shop.order(order, &example()).await;
        shop.produce(topics::STATUS, "3c91b", Some(r#"{"status":200}"#));
        shop.all_are(&[order], Status::LOST).await;
        shop.produce(topics::STATUS, "3c91b", Some(r#"{"status":300}"#));
        shop.all_are(&[order], Status::OUT_FOR_DELIVERY).await;
        shop.all_are(&[order], Status::LOST).await;
        shop.produce(topics::STATUS, "3c91b", Some(r#"{"status":400}"#));
        shop.all_are(&[order], Status::DELIVERED).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_makes_progress_or_is_done_is_never_lost() {
    let shop = Shop::new();
    let (slow, done) = (id("3c91b"), id("00001"));
    let [_, _, _, status] = shop.services();
    shop.order(done, &example()).await;
    shop.order(slow, &example()).await;
    shop.produce(topics::STATUS, "00001", Some(r#"{"status":400}"#));
    shop.run(&[status], async {
        for code in [200, 300, -100] {
            sleep(PATIENCE - Duration::from_secs(5)).await;
            assert!(!matches!(shop.status(slow).await, Some(Status::LOST)));
            shop.produce(topics::STATUS, "3c91b", Some(&format!(r#"{{"status":{code}}}"#)));
        }
        shop.all_are(&[slow], Status::PENDING).await;
    })
    .await;
    assert_eq!(shop.status(done).await, Some(Status::DELIVERED));
}

/// The service was down; the last event of the backlog is the order's delivery, and the time between
/// the events before it is longer than the watchdog's patience.
#[tokio::test(start_paused = true)]
async fn a_backlog_that_is_still_being_read_fails_nobody() {
    let shop = Shop::new();
    let order = id("3c91b");
    let [_, _, _, status] = shop.services();
    shop.order(order, &example()).await;
    for code in [200, 300] {
        sleep(Duration::from_secs(30)).await;
        shop.produce(topics::STATUS, "3c91b", Some(&format!(r#"{{"status":{code}}}"#)));
    }
    sleep(Duration::from_secs(600)).await;
    shop.produce(topics::STATUS, "3c91b", Some(r#"{"status":400}"#));
    let mut seen = Vec::new();
    let mut changes = pizza::orders::Orders::changes(&*shop.orders);
    shop.run(&[status], async {
        while !seen.contains(&Status::DELIVERED) {
            futures::StreamExt::next(&mut changes).await.unwrap();
            seen.push(shop.status(order).await.unwrap());
        }
    })
    .await;
    assert!(!seen.contains(&Status::LOST), "{seen:?}");
}
