//! Several of each: two members of every service, of which some are killed and some terminated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use futures::StreamExt as _;
use pizza::order_id::OrderId;
use pizza::orders::{Orders, SqliteOrders};
use pizza::status::Status;
use pizza::topics;
use tokio::time::timeout;

use crate::town::{LIMIT, Process, Town, pizza, text};

const SERVICES: [&str; 4] = ["assemble", "bake", "deliver", "status"];
/// Orders of each of three waves.
const WAVE: u32 = 40;

/// Stores orders, publishes them and marks them, as a web app does.
async fn order(town: &Town, orders: &dyn Orders, ids: &[OrderId]) {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64;
    for id in ids {
        orders.add(*id, &pizza(), now).await.unwrap();
    }
    town.order(ids).await;
    for id in ids {
        orders.mark_published(*id, now).await.unwrap();
    }
}

/// Completes when so many of the orders are delivered.
async fn delivered(orders: &dyn Orders, ids: &[OrderId], count: usize) {
    let mut changes = orders.changes();
    let delivered = async {
        loop {
            let mut found = 0;
            for id in ids {
                let track = orders.get(*id).await.unwrap().unwrap().track;
                found += usize::from(track.progress.status == Status::DELIVERED);
            }
            if found >= count {
                return;
            }
            changes.next().await.unwrap();
        }
    };
    timeout(LIMIT, delivered).await.expect("they are delivered");
}

fn start(town: &Town, number: usize) -> Vec<Process> {
    let start = |service: &&str| town.start_as(service, &format!("{service}-{number}"));
    SERVICES.iter().map(start).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn two_of_every_service_deliver_each_order_once_though_one_is_killed_and_one_terminated() {
    let town = Town::new().await;
    let orders = Arc::new(SqliteOrders::open(town.path("pizza.db")).unwrap());
    let ids: Vec<_> = (0..3 * WAVE).map(|n| OrderId::from_bits(town.run.wrapping_add(n))).collect();
    let waves: Vec<_> = ids.chunks(WAVE as usize).collect();
    let (first, second) = (start(&town, 1), start(&town, 2));

    // When some are delivered the others are anywhere on their way.
    order(&town, &*orders, waves[0]).await;
    delivered(&*orders, waves[0], 3).await;
    order(&town, &*orders, waves[1]).await;
    for process in first {
        process.kill().await;
    }
    let first = start(&town, 1);
    delivered(&*orders, &ids[..waves[0].len() + waves[1].len()], WAVE as usize).await;
    order(&town, &*orders, waves[2]).await;
    for process in second {
        process.terminate().await;
    }
    let second = start(&town, 2);
    delivered(&*orders, &ids, ids.len()).await;

    let mut logs = BTreeMap::new();
    for (name, process) in SERVICES.iter().cycle().zip(first.into_iter().chain(second)) {
        logs.entry(name).or_insert_with(Vec::new).push(process.terminate().await);
    }
    let once: BTreeMap<_, _> = ids.iter().map(|id| (id.to_string(), 1)).collect();
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
    for (service, logs) in logs {
        let worked = |log: &String| log.contains("Order '");
        assert!(logs.iter().all(worked), "one {service} has done all the work:\n{logs:?}");
    }
}
