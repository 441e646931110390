//! Several of each: two members of every service, of which some are killed and some terminated.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures::StreamExt as _;
use pizza::order_id::OrderId;
use pizza::orders::{Orders, SqliteOrders};
use pizza::status::Status;
use pizza::topics;
use tokio::time::timeout;

use crate::town::{LIMIT, Process, Town, pizza, text};

const SERVICES: [&str; 4] = ["assemble", "bake", "deliver", "status"];
/// Orders that are published at once.
const WAVE: u32 = 40;

/// The customers: what they have ordered, and the read model.
struct Customers<'a> {
    town: &'a Town,
    orders: SqliteOrders,
    ids: Vec<OrderId>,
}

impl Customers<'_> {
    /// Stores a wave of orders, publishes them and marks them, as a web app does.
    async fn order(&mut self) {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
        let first = self.town.run.wrapping_add(self.ids.len() as u32);
        let wave: Vec<_> = (0..WAVE).map(|n| OrderId::from_bits(first.wrapping_add(n))).collect();
        for id in &wave {
            self.orders.add(*id, &pizza(), now).await.unwrap();
        }
        self.town.order(&wave).await;
        for id in &wave {
            self.orders.mark_published(*id, now).await.unwrap();
        }
        self.ids.extend(wave);
    }

    /// Completes when all of their orders are delivered, but for so many.
    async fn delivered_but(&self, left: usize) {
        let mut changes = self.orders.changes();
        let delivered = async {
            loop {
                let mut found = 0;
                for id in &self.ids {
                    let track = self.orders.get(*id).await.unwrap().unwrap().track;
                    found += usize::from(track.progress.status == Status::DELIVERED);
                }
                if found + left >= self.ids.len() {
                    return;
                }
                changes.next().await.unwrap();
            }
        };
        timeout(LIMIT, delivered).await.expect("they are delivered");
    }
}

fn start(town: &Town, number: usize) -> Vec<Process> {
    let start = |service: &&str| town.start_as(service, &format!("{service}-{number}"));
    SERVICES.iter().map(start).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn two_of_every_service_deliver_each_order_once_though_one_is_killed_and_one_terminated() {
    let town = Town::new().await;
    let orders = SqliteOrders::open(town.path("pizza.db")).unwrap();
    let mut customers = Customers { town: &town, orders, ids: Vec::new() };
    let (first, second) = (start(&town, 1), start(&town, 2));
    // Until each has had something to do.
    let have_worked = || first.iter().chain(&second).all(|it| it.log().contains("Order '"));
    while !have_worked() {
        customers.order().await;
        customers.delivered_but(0).await;
    }

    // When some are delivered the others are anywhere on their way.
    customers.order().await;
    customers.delivered_but(WAVE as usize - 3).await;
    customers.order().await;
    for process in first {
        process.kill().await;
    }
    let first = start(&town, 1);
    customers.delivered_but(WAVE as usize).await;
    customers.order().await;
    for process in second {
        process.terminate().await;
    }
    let second = start(&town, 2);
    customers.delivered_but(0).await;
    for process in first.into_iter().chain(second) {
        process.terminate().await;
    }

    let once: BTreeMap<_, _> = customers.ids.iter().map(|id| (id.to_string(), 1)).collect();
    for (topic, value) in [
        (topics::ASSEMBLED, "baking_time"),
        (topics::BAKED, "null"),
        (topics::STATUS, r#"{"status":200}"#),
        (topics::STATUS, r#"{"status":300}"#),
        (topics::STATUS, r#"{"status":400}"#),
    ] {
        let mut counts = BTreeMap::new();
        for record in town.read(topic).await.iter().filter(|record| text(record).contains(value)) {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap()).into_owned();
            if once.contains_key(&key) {
                *counts.entry(key).or_default() += 1;
            }
        }
        assert_eq!(counts, once, "{topic}: {value}");
    }
}
