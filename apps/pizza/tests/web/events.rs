//! Following live, with and without a script.

use std::time::Duration;

use pizza::order_id::OrderId;
use pizza::status::Status;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::ordering::PIZZA;
use crate::shop::Shop;
use crate::visitor::{self, Visitor};

/// How soon an open page must show a change.
const SHOWN_WITHIN: Duration = Duration::from_secs(1);

/// An open stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(visitor: &Visitor, path: &str) -> Self {
        let mut stream = visitor.open(path).await;
        let (status, headers) = visitor::head(&mut stream).await;
        assert_eq!(status, 200);
        let kind = headers.iter().find(|(name, _)| name == "content-type").unwrap();
        assert_eq!(kind.1, "text/event-stream");
        Self(stream)
    }

    /// The next event's name and text; `None` at the end of the stream.
    async fn next(&mut self) -> Option<(String, String)> {
        let (mut name, mut text) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            match timeout(SHOWN_WITHIN, self.0.read_line(&mut line)).await.expect("in time") {
                Ok(1..) => {}
                _ => return None,
            }
            match line.trim_end().split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("data", value)) => text.push_str(value),
                _ if line == "\n" && !name.is_empty() => return Some((name, text)),
                _ => {}
            }
        }
    }

    async fn shows(&mut self, label: &str) {
        let (name, text) = self.next().await.expect("the stream is open");
        assert_eq!(name, "update");
        assert!(text.contains(label), "{label}: {text}");
    }
}

async fn order(italo: &mut Visitor) -> (String, OrderId) {
    let path = italo.submit("/", "/orders", &PIZZA).await.location().to_owned();
    let id = path.rsplit('/').next().unwrap().parse().unwrap();
    (path, id)
}

#[tokio::test]
async fn an_order_is_followed_from_where_it_is_to_its_end() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(&shop, "Italo").await;
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
    let mut italo = Visitor::named(&shop, "Italo").await;
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
    let mut italo = Visitor::named(&shop, "Italo").await;
    let (path, _) = order(&mut italo).await;
    let mut events = Events::open(&italo, &format!("{path}/events")).await;
    let mut list = Events::open(&italo, "/orders/events").await;
    events.shows("Order received").await;
    list.shows("Order received").await;

    shop.stop();
    assert_eq!((events.next().await, list.next().await), (None, None));
    timeout(SHOWN_WITHIN, shop.close()).await.expect("in time").unwrap();
}

#[tokio::test]
async fn without_a_script_a_page_loads_itself_again_until_nothing_more_comes() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(&shop, "Italo").await;
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
    let mut italo = Visitor::named(&shop, "Italo").await;
    for code in [200, 300, 400, 0, -100, -200, -500, -999, 250] {
        let (path, id) = order(&mut italo).await;
        let status = Status::from_code(code);
        shop.tell(id, status).await;
        let page = italo.get(&path).await.body;
        assert!(page.contains(&format!(r#"<p class="status">{}</p>"#, status.label())), "{page}");
    }
}
