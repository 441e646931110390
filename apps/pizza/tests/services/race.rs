//! The two topics of deliver, which have no order between them.

use pizza::services::{Service, deliver, status};
use pizza::status::Status;
use pizza::topics;

use crate::shop::{Shop, example, id};

fn deliver_and_status(shop: &Shop) -> [Service; 2] {
    let [_, _, deliver, status] = shop.services();
    assert_eq!((deliver.name, status.name), (deliver::NAME, status::NAME));
    [deliver, status]
}

fn statuses(shop: &Shop) -> Vec<String> {
    shop.events(topics::STATUS).into_iter().map(|event| event.3).collect()
}

/// For how many seconds a pizza is on its way, from the later of its two events on.
fn seconds_on_the_way(shop: &Shop, last: &'static str) -> f64 {
    let at = |topic| shop.events(topic).pop().expect("an event").0;
    at(topics::STATUS) - at(last)
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_known_is_delivered_when_it_is_baked() {
    for value in [None, Some("")] {
        let shop = Shop::new();
        let order = id("3c91b");
        shop.order(order, &example()).await;
        shop.run(&deliver_and_status(&shop), async {
            shop.broker.caught_up(deliver::GROUP, topics::ORDERED).await;
            shop.produce(topics::BAKED, "3c91b", value);
            shop.all_are(&[order], Status::DELIVERED).await;
        })
        .await;
        assert_eq!(statuses(&shop), [r#"{"status":400}"#]);
        assert_eq!(seconds_on_the_way(&shop, topics::BAKED), 10.0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_pizza_whose_order_comes_later_is_pending_and_delivered_in_double_time() {
    let shop = Shop::new();
    let order = id("3c91b");
    shop.store(order, &example()).await;
    shop.produce(topics::BAKED, "3c91b", None);
    shop.run(&deliver_and_status(&shop), async {
        shop.broker.caught_up(deliver::GROUP, topics::BAKED).await;
        shop.publish(order, &example()).await;
        shop.all_are(&[order], Status::DELIVERED).await;
    })
    .await;
    assert_eq!(statuses(&shop), [r#"{"status":-100}"#, r#"{"status":400}"#]);
    assert_eq!(seconds_on_the_way(&shop, topics::ORDERED), 20.0);
}

#[tokio::test(start_paused = true)]
async fn what_deliver_remembers_survives_its_crash_whichever_came_first() {
    for baked_first in [false, true] {
        let shop = Shop::new();
        let order = id("3c91b");
        let [deliver, status] = deliver_and_status(&shop);
        shop.store(order, &example()).await;
        if baked_first {
            shop.produce(topics::BAKED, "3c91b", None);
        } else {
            shop.publish(order, &example()).await;
        }
        {
            let worker = pizza::in_memory::worker(&shop.broker, &deliver, "1");
            let topic = if baked_first { topics::BAKED } else { topics::ORDERED };
            tokio::select! {
                biased;
                () = shop.broker.caught_up(deliver.group, topic) => {}
                ended = deliver.run(worker, std::future::pending()) => panic!("{ended:?}"),
            }
        }
        shop.broker.members(deliver.group).iter().for_each(|member| shop.broker.expire(*member));
        if baked_first {
            shop.publish(order, &example()).await;
        } else {
            shop.produce(topics::BAKED, "3c91b", None);
        }
        shop.run(&[deliver, status], shop.all_are(&[order], Status::DELIVERED)).await;
        let codes = statuses(&shop);
        let expected: &[&str] = if baked_first {
            &[r#"{"status":-100}"#, r#"{"status":400}"#]
        } else {
            &[r#"{"status":400}"#]
        };
        assert_eq!(codes, expected);
        let (.., remembered) = shop.events(topics::DELIVERIES).pop().unwrap();
        assert!(remembered.ends_with(" done"), "{remembered}");
    }
}
