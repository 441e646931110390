//! Following live, with and without a script.

use pizza::order_id::OrderId;
use pizza::status::Status;
use tokio::time::timeout;

use crate::shop::Shop;
use crate::stream::{Events, LIMIT};
use crate::visitor::{PIZZA, Visitor};

async fn order(italo: &mut Visitor) -> (String, OrderId) {
    let path = italo.submit("/", "/orders", &PIZZA).await.location().to_owned();
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    (path, id)
}

#[tokio::test]
async fn an_order_is_followed_from_where_it_is_to_its_end() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let (path, id) = order(&mut italo).await;
    let (_, other) = order(&mut italo).await;
    shop.tell(id, Status::IN_THE_OVEN).await;

    let mut events = Events::open(&italo, &format!("{path}/events")).await;
    events.shows("Your pizza is in the oven").await;
    shop.tell(other, Status::IN_THE_OVEN).await;
    shop.tell(id, Status::IN_THE_OVEN).await;
    shop.tell(id, Status::OUT_FOR_DELIVERY).await;
    events.shows("Your pizza is out for delivery").await;
    shop.tell(id, Status::DELIVERED).await;
    events.shows("Your pizza was delivered").await;
    assert_eq!(events.next().await.map(|(name, _)| name).as_deref(), Some("end"));
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_list_of_orders_is_followed_too() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let mut events = Events::open(&italo, "/orders/events").await;
    events.shows("Nothing ordered yet").await;
    let (path, id) = order(&mut italo).await;
    events.shows(&path).await;
    // Being published may make a difference of its own.
    shop.tell(id, Status::IN_THE_OVEN).await;
    events.shows("Your pizza is in the oven").await;
}

#[tokio::test]
async fn a_shutdown_closes_open_streams_and_ends() {
    let mut shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let (path, _) = order(&mut italo).await;
    let mut events = Events::open(&italo, &format!("{path}/events")).await;
    let mut list = Events::open(&italo, "/orders/events").await;
    events.shows("Order received").await;
    list.shows("Order received").await;

    shop.stop();
    assert_eq!((events.next().await, list.next().await), (None, None));
    timeout(LIMIT, shop.close()).await.expect("in time").unwrap();
}

#[tokio::test]
async fn without_a_script_a_page_loads_itself_again_until_nothing_more_comes() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let (path, id) = order(&mut italo).await;
    let refresh = r#"<noscript><meta http-equiv="refresh""#;
    assert!(italo.get(&path).await.body.contains(refresh));
    assert!(italo.get("/orders").await.body.contains(refresh));
    shop.tell(id, Status::DELIVERED).await;
    let page = italo.get(&path).await.body;
    assert!(!page.contains(refresh) && !page.contains("data-events"));
}

#[tokio::test]
async fn every_status_is_shown_with_its_label() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    for code in [200, 300, 400, 0, -100, -200, -500, -999, 250] {
        let (path, id) = order(&mut italo).await;
        let status = Status::from_code(code);
        shop.tell(id, status).await;
        let page = italo.get(&path).await.body;
        assert!(page.contains(&format!(r#"<p class="status">{}</p>"#, status.label())), "{page}");
    }
}
