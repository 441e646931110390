//! Orders that come again, as a web app may publish them that has crashed.

use std::time::Duration;

use jobstream::record::{ProducerRecord, Timestamp};
use jobstream::state::Store as _;
use pizza::order::{Order, OrderEvent};
use pizza::order_id::OrderId;
use pizza::services::{assemble, deliver};
use pizza::status::Status;
use pizza::topics;
use tokio::time::sleep;

use crate::shop::{START, Shop, example, id};

const HOUR_MS: i64 = 3_600_000;

/// Publishes an order at a time of its own.
fn publish(shop: &Shop, id: OrderId, order: &Order, timestamp: Timestamp) {
    let event = OrderEvent::new(order.clone(), timestamp);
    let mut record = ProducerRecord::to(topics::ORDERED).key(id.to_string());
    record.value = Some(serde_json::to_vec(&event).unwrap().into());
    record.timestamp = Some(timestamp);
    shop.broker.produce(record).unwrap();
}

/// How many entries a service remembers.
async fn remembered(shop: &Shop, topic: &'static str) -> usize {
    let mut count = 0;
    for partition in shop.broker.partitions(topic) {
        count += shop.broker.store(topic).restore(partition.partition).await.unwrap().len();
    }
    count
}

#[tokio::test(start_paused = true)]
async fn an_order_that_comes_again_at_any_time_of_its_way_is_baked_and_delivered_once() {
    for second in 0..34 {
        let shop = Shop::new();
        let order = id("3c91b");
        shop.order(order, &example()).await;
        shop.run(&shop.services(), async {
            sleep(Duration::from_secs(second)).await;
            publish(&shop, order, &example(), START);
            shop.all_are(&[order], Status::DELIVERED).await;
            shop.broker.caught_up("pizza-assemble", topics::ORDERED).await;
            shop.broker.caught_up("pizza-deliver", topics::ORDERED).await;
            // Long enough for whatever came of it.
            sleep(Duration::from_secs(60)).await;
        })
        .await;
        assert_eq!(shop.records(topics::ORDERED).len(), 2);
        let once = [topics::ASSEMBLED, topics::BAKED].map(|topic| shop.records(topic).len());
        assert_eq!(once, [1, 1], "again after {second} s");
        let statuses: Vec<_> = shop.events(topics::STATUS).into_iter().map(|it| it.3).collect();
        assert_eq!(statuses, [200, 300, 400].map(|code| format!(r#"{{"status":{code}}}"#)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pizza_that_is_baked_again_is_delivered_once() {
    for order_first in [true, false] {
        let shop = Shop::new();
        let order = id("3c91b");
        let [_, _, deliver, status] = shop.services();
        shop.store(order, &example()).await;
        if order_first {
            shop.publish(order, &example()).await;
        }
        shop.run(&[deliver, status], async {
            for _ in 0..2 {
                shop.produce(topics::BAKED, "3c91b", None);
                shop.broker.caught_up("pizza-deliver", topics::BAKED).await;
            }
            if !order_first {
                shop.publish(order, &example()).await;
            }
            shop.all_are(&[order], Status::DELIVERED).await;
            shop.produce(topics::BAKED, "3c91b", None);
            shop.broker.caught_up("pizza-deliver", topics::BAKED).await;
        })
        .await;
        let statuses: Vec<_> = shop.events(topics::STATUS).into_iter().map(|it| it.3).collect();
        let expected: &[i64] = if order_first { &[400] } else { &[-100, 400] };
        let expected: Vec<_> =
            expected.iter().map(|code| format!(r#"{{"status":{code}}}"#)).collect();
        assert_eq!(statuses, expected);
    }
}

/// One order an hour for some months; a memory holds those of two days, and few besides.
#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_orders_that_are_done_is_bounded() {
    const DAYS: i64 = 80;
    let shop = Shop::new();
    let services = [assemble::service(shop.speed), deliver::service(shop.speed)];
    // Ids as random ones lie.
    let id = |hour: i64| OrderId::from_bits((hour as u32).wrapping_mul(0x9e37_79b1) >> 12);
    let caught_up = async || {
        shop.broker.caught_up("pizza-assemble", topics::ORDERED).await;
        shop.broker.caught_up("pizza-deliver", topics::ORDERED).await;
        shop.broker.caught_up("pizza-deliver", topics::BAKED).await;
    };
    shop.run(&services, async {
        for hour in 0..DAYS * 24 {
            publish(&shop, id(hour), &example(), START + hour * HOUR_MS);
            let mut baked = ProducerRecord::to(topics::BAKED).key(id(hour).to_string());
            baked.timestamp = Some(START + hour * HOUR_MS);
            shop.broker.produce(baked).unwrap();
            if hour % 24 == 23 {
                caught_up().await;
            }
        }
        // Known still: it was ordered a day before the last one.
        publish(&shop, id((DAYS - 1) * 24), &example(), START + DAYS * 24 * HOUR_MS);
        caught_up().await;
    })
    .await;
    assert_eq!(shop.records(topics::ASSEMBLED).len() as i64, DAYS * 24);
    for topic in [topics::ASSEMBLIES, topics::DELIVERIES] {
        let count = remembered(&shop, topic).await;
        assert!((48..200).contains(&count), "{topic}: found {count} entries");
    }
}
