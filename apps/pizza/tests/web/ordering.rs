//! From the form to the topic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use jobstream::record::ConsumerRecord;
use jobstream_testkit::broker::{Broker, Fault, Isolation, Operation};
use pizza::in_memory::create_topics;
use pizza::order_id::OrderId;
use pizza::orders::{InMemoryOrders, Orders};
use pizza::status::Status;
use pizza::topics;
use pizza::web::{Random, WebError};
use serde_json::{Value, json};

use crate::shop::{START, Shop};
use crate::visitor::{PIZZA, Visitor};

fn ordered(broker: &Broker) -> Vec<ConsumerRecord> {
    broker.records(topics::ORDERED, Isolation::ReadCommitted)
}

/// Waits until as many orders are published.
async fn published(shop: &Shop, count: usize) -> Vec<ConsumerRecord> {
    let mut changes = shop.orders.changes();
    while ordered(&shop.broker).len() < count {
        changes.next().await.unwrap();
    }
    ordered(&shop.broker)
}

/// Draws these ids, one after another, and then others.
fn drawing(ids: &'static [u32]) -> Random {
    let drawn = AtomicU32::new(0);
    Random::new(move |bytes| {
        if bytes.len() == 4 {
            let index = drawn.fetch_add(1, Ordering::SeqCst);
            let id = ids.get(index as usize).copied().unwrap_or(0xf0000 + index);
            bytes.copy_from_slice(&id.to_be_bytes());
        }
    })
}

#[tokio::test]
async fn an_order_is_published_as_the_kitchen_reads_it() {
    let orders = Arc::new(InMemoryOrders::new());
    let shop = Shop::open_with(orders, |it| it.random = drawing(&[0x3c91b])).await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let answer = italo.submit("/", "/orders", &PIZZA).await;
    assert_eq!(answer.location(), "/orders/3c91b");

    let records = ordered(&shop.broker);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].partition.partition, 5);
    assert_eq!(records[0].key.as_deref(), Some(&b"3c91b"[..]));
    let value: Value = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    let expected = json!({"status": 100, "timestamp": START, "order": {
        "extra_toppings": ["Mushroom", "Black olives", "Green pepper"],
        "customer_id": "d94a6c43d9f487c1bef659f05c002213", "name": "Italo",
        "sauce": "Tomato", "cheese": "Mozzarella", "main_topping": "Pepperoni"}});
    assert_eq!(value, expected);
    let stored = shop.orders.get(OrderId::from_bits(0x3c91b)).await.unwrap().unwrap();
    assert!(stored.track.is_published);
}

#[tokio::test]
async fn an_id_that_is_known_is_drawn_again() {
    let orders = Arc::new(InMemoryOrders::new());
    orders.progress(OrderId::from_bits(1), Status::IN_THE_OVEN, START).await.unwrap();
    let shop = Shop::open_with(orders, |it| it.random = drawing(&[1, 2, 2, 1, 3])).await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    assert_eq!(italo.submit("/", "/orders", &PIZZA).await.location(), "/orders/00002");
    assert_eq!(italo.submit("/", "/orders", &PIZZA).await.location(), "/orders/00003");
}

#[tokio::test]
async fn the_browser_is_answered_only_when_the_broker_has_acknowledged() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let token = italo.get("/").await.token();
    shop.broker.hold(Operation::Publish);
    let mut changes = shop.orders.changes();
    let mut fields = vec![("token", token.as_str())];
    fields.extend(PIZZA);
    let mut stream = italo.begin_post("/orders", &fields).await;
    changes.next().await.unwrap();
    let unpublished = shop.orders.unpublished(i64::MAX).await.unwrap();
    assert_eq!(unpublished.len(), 1, "it is stored");
    let answered = tokio::io::AsyncBufReadExt::fill_buf(&mut stream);
    let early = tokio::time::timeout(Duration::from_millis(100), answered).await;
    assert!(early.is_err(), "answered before the acknowledgement");

    shop.broker.release(Operation::Publish);
    let answer = italo.answer(stream).await;
    assert_eq!(answer.location(), format!("/orders/{}", unpublished[0].id));
    assert_eq!(ordered(&shop.broker).len(), 1);
}

#[tokio::test]
async fn an_order_that_is_not_acknowledged_in_time_says_so_and_is_published_later() {
    let short = Duration::from_millis(50);
    let shop = Shop::open_with(Arc::new(InMemoryOrders::new()), |it| it.answer_limit = short).await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    shop.broker.hold(Operation::Publish);
    let answer = italo.submit("/", "/orders", &PIZZA).await;
    assert_eq!(answer.status, 503);
    let id = shop.orders.unpublished(i64::MAX).await.unwrap()[0].id;
    let path = format!("/orders/{id}");
    assert!(answer.body.contains(&format!(r#"href="{path}""#)));
    assert!(italo.get(&path).await.body.contains("The kitchen has not confirmed it yet"));

    shop.broker.release(Operation::Publish);
    assert_eq!(published(&shop, 1).await.len(), 1);
    shop.close().await.unwrap();
}

#[tokio::test]
async fn an_order_is_published_though_its_browser_has_gone() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let token = italo.get("/").await.token();
    shop.broker.hold(Operation::Publish);
    let mut changes = shop.orders.changes();
    let mut fields = vec![("token", token.as_str())];
    fields.extend(PIZZA);
    drop(italo.begin_post("/orders", &fields).await);
    changes.next().await.unwrap();
    shop.broker.release(Operation::Publish);
    let broker = shop.broker.clone();
    shop.close().await.unwrap();
    assert_eq!(ordered(&broker).len(), 1);
}

#[tokio::test]
async fn a_batch_that_was_aborted_is_published_again() {
    let shop = Shop::open().await;
    shop.broker.fail(Operation::Publish, 2, Fault::Aborted);
    let mut italo = Visitor::named(shop.address, "Italo").await;
    italo.submit("/", "/orders", &PIZZA).await.location();
    assert_eq!(ordered(&shop.broker).len(), 1);
}

#[tokio::test]
async fn a_broken_sink_ends_the_web_app_and_the_order_is_kept() {
    let shop = Shop::open().await;
    shop.broker.fail(Operation::Publish, 1, Fault::Broken);
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let token = italo.get("/").await.token();
    let mut fields = vec![("token", token.as_str())];
    fields.extend(PIZZA);
    let stream = italo.begin_post("/orders", &fields).await;
    let orders = Arc::clone(&shop.orders);
    let ended = shop.served().await;
    assert!(matches!(ended, Err(WebError::Sink(_))), "{ended:?}");
    drop(stream);
    assert_eq!(orders.unpublished(i64::MAX).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_former_process_has_not_published_is_published_once_that_is_settled() {
    let orders: Arc<dyn Orders> = Arc::new(InMemoryOrders::new());
    let former = Shop::open_with(Arc::clone(&orders), |it| {
        it.answer_limit = Duration::from_millis(1);
        it.random = drawing(&[1, 2, 3]);
    })
    .await;
    former.broker.hold(Operation::Publish);
    let mut italo = Visitor::named(former.address, "Italo").await;
    for _ in 0..3 {
        assert_eq!(italo.submit("/", "/orders", &PIZZA).await.status, 503);
    }
    former.crash().await;
    orders.progress(OrderId::from_bits(1), Status::IN_THE_OVEN, START).await.unwrap();
    orders.progress(OrderId::from_bits(2), Status::CANCELLED, START).await.unwrap();

    let broker = Broker::new();
    create_topics(&broker);
    let shop = Shop::open_on(broker, orders, |it| {
        it.settled_after = Duration::from_millis(10);
        let now = Arc::clone(&it.now);
        it.now = Arc::new(move || now() + 1_000);
    })
    .await;
    let records = published(&shop, 1).await;
    assert_eq!(records.len(), 1, "not what is in the oven, nor what is cancelled");
    assert_eq!(records[0].key.as_deref(), Some(&b"00003"[..]));
    shop.close().await.unwrap();
}

#[tokio::test]
async fn a_pizza_that_is_not_on_the_menu_is_refused_with_its_reason() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let [sauce, cheese, main, ..] = PIZZA;
    for (fields, reason) in [
        (vec![sauce, cheese, ("main_topping", "Gold")], "We have no main topping &#39;Gold&#39;."),
        (vec![sauce, cheese, main, ("extra_toppings", "<b>")], "&#39;&#60;b&#62;&#39;"),
        (vec![cheese, main], "Please choose one sauce; found 0."),
        (vec![sauce, ("sauce", "Pesto"), cheese, main], "Please choose one sauce; found 2."),
        (
            vec![sauce, cheese, main, ("extra_toppings", "Egg"), ("extra_toppings", "Egg")],
            "Please choose each extra topping once.",
        ),
        (vec![sauce, cheese, main, ("name", "Bob")], "There is no field &#39;name&#39;"),
    ] {
        let answer = italo.submit("/", "/orders", &fields).await;
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(answer.body.contains(reason), "{reason}: {}", answer.body);
    }
    assert_eq!(ordered(&shop.broker).len(), 0);
    assert_eq!(shop.orders.unpublished(i64::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn a_form_that_is_too_large_or_none_at_all_is_refused() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let large = "x".repeat(20_000);
    assert_eq!(italo.submit("/", "/orders", &[("sauce", &large)]).await.status, 413);

    let cookies = italo.cookies.iter().map(|(name, value)| format!("{name}={value}"));
    let cookie = cookies.collect::<String>();
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: {cookie}\r\n\
         content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let stream = italo.send(&request).await;
    assert_eq!(italo.answer(stream).await.status, 415);
}

#[tokio::test]
async fn a_customer_orders_so_often_a_minute_and_others_are_not_touched() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    for _ in 0..20 {
        let placed = italo.submit("/", "/orders", &PIZZA).await;
        assert!(placed.location().starts_with("/orders/"));
    }
    // Who begins another session is still the same customer.
    for mut italo in [italo, Visitor::named(shop.address, "Italo").await] {
        let refused = italo.submit("/", "/orders", &PIZZA).await;
        assert_eq!(refused.status, 429);
        assert!(refused.body.contains("Nothing was ordered"), "{}", refused.body);
        assert!(refused.header("retry-after").is_some_and(|it| it.parse::<u64>().is_ok()));
    }
    let mut zoe = Visitor::named(shop.address, "Zoë").await;
    assert!(zoe.submit("/", "/orders", &PIZZA).await.location().starts_with("/orders/"));
    assert_eq!(ordered(&shop.broker).len(), 21);
    shop.close().await.unwrap();
}
