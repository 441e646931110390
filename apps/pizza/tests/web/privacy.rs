//! Nobody sees another customer's orders, and nobody's name is taken for a page.

use jobstream_testkit::broker::Isolation;
use pizza::topics;

use crate::shop::Shop;
use crate::visitor::PIZZA;
use crate::visitor::Visitor;

#[tokio::test]
async fn the_order_of_somebody_else_does_not_exist() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let mut other = Visitor::named(shop.address, "italo").await;
    let path = italo.submit("/", "/orders", &PIZZA).await.location().to_owned();
    assert_eq!(italo.get(&path).await.status, 200);

    let missing = other.get("/orders/fffff").await;
    for path in [path.clone(), format!("{path}/events")] {
        let answer = other.get(&path).await;
        assert_eq!((answer.status, &answer.body), (404, &missing.body), "{path}");
    }
    let answer = other.submit("/", &format!("{path}/cancel"), &[]).await;
    assert_eq!((answer.status, &answer.body), (404, &missing.body));
    assert_eq!(shop.broker.records(topics::STATUS, Isolation::ReadCommitted).len(), 0);

    assert!(italo.get("/orders").await.body.contains(&path));
    assert!(!other.get("/orders").await.body.contains(&path));
}

#[tokio::test]
async fn what_is_no_id_does_not_exist() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    for path in ["/orders/", "/orders/3C91B", "/orders/%00", "/orders/..%2f", "/x", "/assets/x"] {
        assert_eq!(italo.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_name_is_shown_as_text_and_never_read_as_markup() {
    let shop = Shop::open().await;
    let name = r#"<script>"'&</script>"#;
    let mut visitor = Visitor::named(shop.address, name).await;
    let path = visitor.submit("/", "/orders", &PIZZA).await.location().to_owned();
    for path in ["/", "/orders", &path] {
        let page = visitor.get(path).await.body;
        assert!(page.contains("&#60;script&#62;&#34;&#39;&#38;&#60;/script&#62;"), "{path}");
        assert!(!page.contains("<script>"), "{path}");
    }
    let page =
        Visitor::of(shop.address).submit("/login", "/login", &[("name", &name.repeat(9))]).await;
    assert!(!page.body.contains("<script>"));
}
