//! The example, second by second.

use pizza::status::Status;
use pizza::topics;
use serde_json::Value;

use crate::shop::{Shop, example, id};

#[tokio::test(start_paused = true)]
async fn the_example_is_delivered_after_31_seconds_on_partition_5() {
    let shop = Shop::new();
    let order = id("3c91b");
    shop.order(order, &example()).await;
    shop.run(&shop.services(), shop.all_are(&[order], Status::DELIVERED)).await;

    let event = |second: f64, value: &str| (second, 5, "3c91b".to_owned(), value.to_owned());
    assert_eq!(shop.events(topics::ASSEMBLED), [event(4.0, r#"{"baking_time":17}"#)]);
    assert_eq!(shop.events(topics::BAKED), [event(21.0, "null")]);
    assert_eq!(
        shop.events(topics::STATUS),
        [(4.0, 200), (21.0, 300), (31.0, 400)]
            .map(|(second, code)| event(second, &format!(r#"{{"status":{code}}}"#)))
    );
    let ordered = shop.events(topics::ORDERED);
    let expected = r#"{"status":100,"timestamp":1676235639159,"order":{"extra_toppings":
        ["Mushroom","Black olives","Green pepper"],"customer_id":"d94a6c43d9f487c1bef659f05c002213",
        "name":"Italo","sauce":"Tomato","cheese":"Mozzarella","main_topping":"Pepperoni"}}"#;
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!((ordered[0].0, ordered[0].1, ordered.len()), (0.0, 5, 1));
    assert_eq!(json(&ordered[0].3), json(expected));
    assert!(shop.events(topics::DEAD_LETTER).is_empty());
}

#[tokio::test(start_paused = true)]
async fn speed_shortens_every_wait() {
    let shop = Shop::new().at_speed(20);
    let order = id("3c91b");
    shop.order(order, &example()).await;
    shop.run(&shop.services(), shop.all_are(&[order], Status::DELIVERED)).await;
    let seconds: Vec<_> = shop.events(topics::STATUS).iter().map(|event| event.0).collect();
    assert_eq!(seconds, [0.2, 1.05, 1.55]);
}
