//! Several web apps on one store: each order is published by one of them, and by another if that
//! one dies.

use std::future::pending;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{FutureExt as _, join};
use jobstream_testkit::broker::{Broker, Operation};
use pizza::order_id::OrderId;
use pizza::orders::{Orders as _, PUBLISHED_WITHIN};
use pizza::status::Status;
use pizza::topics;
use tokio::time::{sleep, timeout};

use crate::shop::{Shop, crash_at, example, id, web_app};

/// Longer than a hold lasts, several times.
const LONG: Duration = Duration::from_secs(300);

fn ordered(shop: &Shop) -> usize {
    shop.records(topics::ORDERED).len()
}

/// Completes when the order is published.
async fn published(shop: &Shop, order: OrderId) {
    let mut changes = shop.orders.changes();
    while !shop.orders.get(order).await.unwrap().unwrap().track.is_published {
        changes.next().await.unwrap();
    }
}

/// Orders that two web apps find, and one of them holds while the broker is away, are published once.
#[tokio::test(start_paused = true)]
async fn an_order_that_one_web_app_holds_is_not_published_by_another() {
    let shop = Shop::new();
    let order = id("3c91b");
    shop.store(order, &example()).await;
    shop.broker.hold(Operation::Publish);
    let apps = join(web_app(&shop, pending()), web_app(&shop, pending()));
    let outage = async {
        sleep(LONG).await;
        assert_eq!(ordered(&shop), 0);
        shop.broker.release(Operation::Publish);
        published(&shop, order).await;
        sleep(LONG).await;
    };
    tokio::select! {
        biased;
        ended = apps => panic!("{ended:?}"),
        () = outage => {}
    }
    assert_eq!(ordered(&shop), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_web_app_held_when_it_died_is_published_by_one_that_lives() {
    let shop = Shop::new();
    let order = id("3c91b");
    shop.store(order, &example()).await;
    shop.broker.hold(Operation::Publish);
    // It has taken the order over, and publishes it, when it dies.
    let first = web_app(&shop, pending());
    assert!(timeout(LONG, first).await.is_err());
    assert!(shop.orders.hold(&[order], shop.hold_of_another()).await.unwrap().is_empty());
    shop.broker.release(Operation::Publish);
    tokio::select! {
        biased;
        ended = web_app(&shop, pending()) => panic!("{ended:?}"),
        () = published(&shop, order) => {}
    }
    assert_eq!(ordered(&shop), 1);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_never_published_has_failed_after_a_day() {
    let shop = Shop::new();
    let (order, orders) = (id("3c91b"), [id("3c91b")]);
    shop.store(order, &example()).await;
    sleep(PUBLISHED_WITHIN).await;
    tokio::select! {
        biased;
        ended = web_app(&shop, pending()) => panic!("{ended:?}"),
        () = shop.all_are(&orders, Status::FAILED) => {}
    }
    assert_eq!(ordered(&shop), 0);
}

/// A crash at every poll of a web app that publishes: the kitchen may see the order twice, and bakes
/// it once.
#[tokio::test(start_paused = true)]
async fn a_crash_of_the_web_app_at_any_point_bakes_nothing_twice() {
    let mut published_twice = 0;
    for polls in 0.. {
        let shop = Shop::with(Broker::builder().yielding());
        let (order, orders) = (id("3c91b"), [id("3c91b")]);
        shop.store(order, &example()).await;
        let run = async {
            tokio::select! {
                biased;
                ended = web_app(&shop, pending()) => panic!("{ended:?}"),
                () = published(&shop, order) => {}
            }
        };
        let ended = crash_at(polls, run.boxed()).await;
        let kitchen = shop.services();
        // The kitchen opens late, so that nobody tells the next web app that the order is there.
        let delivered = async {
            published(&shop, order).await;
            shop.run(&kitchen, shop.all_are(&orders, Status::DELIVERED)).await;
        };
        tokio::select! {
            biased;
            ended = web_app(&shop, pending()) => panic!("{ended:?}"),
            () = delivered => {}
        }
        published_twice += usize::from(ordered(&shop) == 2);
        let once = [topics::ASSEMBLED, topics::BAKED].map(|topic| shop.records(topic).len());
        assert_eq!(once, [1, 1], "crash at poll {polls}");
        if ended {
            break;
        }
    }
    assert!(published_twice > 0, "no crash came between the acknowledgement and the mark");
}
