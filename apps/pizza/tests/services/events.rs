//! Events that nobody expects.

use jobstream::record::ConsumerRecord;
use pizza::order_id::OrderId;
use pizza::status::Status;
use pizza::topics;

use crate::shop::{Shop, example, id};

async fn shown_after(value: Option<&str>, expected: Status) {
    let shop = Shop::new();
    let order = id("3c91b");
    shop.order(order, &example()).await;
    shop.produce(topics::STATUS, "3c91b", value);
    let [_, _, _, status] = shop.services();
    shop.run(&[status], shop.all_are(&[order], expected)).await;
}

#[tokio::test(start_paused = true)]
async fn an_event_without_a_status_is_of_an_unknown_order() {
    shown_after(Some("{}"), Status::UNKNOWN_ORDER).await;
    shown_after(Some(r#"{"status":null}"#), Status::UNKNOWN_ORDER).await;
}

#[tokio::test(start_paused = true)]
async fn another_number_is_shown_as_an_unknown_status() {
    shown_after(Some(r#"{"status":250}"#), Status::from_code(250)).await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_order_stays_cancelled() {
    shown_after(Some(r#"{"status":0}"#), Status::CANCELLED).await;
}

#[tokio::test(start_paused = true)]
async fn what_no_service_can_read_is_a_dead_letter_and_its_order_has_failed() {
    for (topic, value) in [
        (topics::ORDERED, Some("{}")),
        (topics::ASSEMBLED, Some(r#"{"baking_time":"long"}"#)),
        (topics::ASSEMBLED, None),
        (topics::BAKED, Some("burnt")),
        (topics::STATUS, Some("\u{0}")),
        (topics::STATUS, None),
    ] {
        let shop = Shop::new();
        let order = id("3c91b");
        shop.store(order, &example()).await;
        shop.produce(topic, "3c91b", value);
        shop.run(&shop.services(), shop.all_are(&[order], Status::FAILED)).await;
        let dead_letters = shop.records(topics::DEAD_LETTER);
        // Orders are read by two services.
        let expected = if topic == topics::ORDERED { 2 } else { 1 };
        assert_eq!(dead_letters.len(), expected, "{topic}: {value:?}");
        assert_eq!(dead_letters[0].value.as_deref(), value.map(str::as_bytes), "{topic}");
        let origin = dead_letters[0].headers.get("dead-letter-topic").unwrap();
        assert_eq!(&origin[..], topic.as_bytes());
        let group = |letter: &ConsumerRecord| letter.headers.get("dead-letter-group").cloned();
        let mut groups: Vec<_> = dead_letters.iter().map(|letter| group(letter).unwrap()).collect();
        groups.dedup();
        assert_eq!(groups.len(), expected, "each service names its own: {groups:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_key_is_no_order_is_a_dead_letter_and_nothing_else() {
    let shop = Shop::new();
    let order = id("3c91b");
    shop.produce(topics::STATUS, "somebody", Some(r#"{"status":200}"#));
    shop.order(order, &example()).await;
    shop.run(&shop.services(), shop.all_are(&[order], Status::DELIVERED)).await;
    assert_eq!(shop.records(topics::DEAD_LETTER).len(), 1);
    assert_eq!(shop.records(topics::STATUS).len(), 4);
    assert!(OrderId::try_from(&b"somebody"[..]).is_err());
}
