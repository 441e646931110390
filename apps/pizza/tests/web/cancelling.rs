//! Cancelling an order.

use jobstream_testkit::broker::Isolation;
use pizza::order_id::OrderId;
use pizza::status::Status;
use pizza::topics;
use serde_json::{Value, json};

use crate::shop::{START, Shop};
use crate::visitor::PIZZA;
use crate::visitor::Visitor;

async fn order(italo: &mut Visitor) -> (String, OrderId) {
    let path = italo.submit("/", "/orders", &PIZZA).await.location().to_owned();
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    (path, id)
}

#[tokio::test]
async fn a_cancellation_is_published_as_a_status() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let (path, id) = order(&mut italo).await;
    let answer = italo.submit(&path, &format!("{path}/cancel"), &[]).await;
    assert_eq!(answer.location(), path);

    let records = shop.broker.records(topics::STATUS, Isolation::ReadCommitted);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key.as_deref(), Some(id.as_bytes()));
    let value: Value = serde_json::from_slice(records[0].value.as_deref().unwrap()).unwrap();
    assert_eq!(value, json!({"status": 0, "timestamp": START}));

    shop.tell(id, Status::CANCELLED).await;
    let page = italo.get(&path).await.body;
    assert!(page.contains("Order has been cancelled") && !page.contains("Cancel this order"));
}

#[tokio::test]
async fn it_is_too_late_once_the_pizza_is_in_the_oven() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let (path, id) = order(&mut italo).await;
    for status in [Status::IN_THE_OVEN, Status::LOST, Status::DELIVERED] {
        shop.tell(id, status).await;
        assert!(!italo.get(&path).await.body.contains("Cancel this order"));
        let answer = italo.submit(&path, &format!("{path}/cancel"), &[]).await;
        assert_eq!(answer.status, 409);
    }
    assert_eq!(shop.broker.records(topics::STATUS, Isolation::ReadCommitted).len(), 0);
}
