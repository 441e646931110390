//! Logging in, and what a session is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pizza::orders::InMemoryOrders;
use pizza::web::SessionKey;

use crate::shop::Shop;
use crate::visitor::Visitor;

#[tokio::test]
async fn who_has_not_logged_in_is_sent_to_the_log_in() {
    let shop = Shop::open().await;
    for path in ["/", "/orders", "/orders/3c91b", "/orders/3c91b/events", "/orders/events"] {
        assert_eq!(Visitor::of(shop.address).get(path).await.location(), "/login", "{path}");
    }
    let mut visitor = Visitor::of(shop.address);
    assert_eq!(visitor.submit("/login", "/orders", &[]).await.location(), "/login");
}

#[tokio::test]
async fn a_session_is_kept_in_a_cookie_that_no_script_and_no_other_site_gets() {
    let shop = Shop::open_with(Arc::new(InMemoryOrders::new()), |it| it.has_https = true).await;
    let answer = Visitor::of(shop.address).get("/login").await;
    let cookie = answer.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/", "Max-Age=2592000"] {
        assert!(cookie.split("; ").any(|it| it == attribute), "{attribute} in {cookie}");
    }
}

#[tokio::test]
async fn a_customer_is_greeted_by_name_until_the_log_out() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "  Italo ").await;
    assert!(italo.get("/").await.body.contains("Ciao Italo,"));
    assert_eq!(italo.get("/login").await.location(), "/");

    assert_eq!(italo.submit("/", "/logout", &[]).await.location(), "/login");
    assert_eq!(italo.get("/").await.location(), "/login");
}

#[tokio::test]
async fn a_form_without_its_sessions_token_is_refused() {
    let shop = Shop::open().await;
    let (mut italo, mut other) =
        (Visitor::named(shop.address, "Italo").await, Visitor::named(shop.address, "Other").await);
    let stolen = other.get("/").await.token();
    for path in ["/login", "/logout", "/orders"] {
        for fields in [vec![], vec![("token", "")], vec![("token", stolen.as_str())]] {
            assert_eq!(italo.post(path, &fields).await.status, 403, "{path} {fields:?}");
        }
    }
    let own = italo.get("/").await.token();
    let twice = [("token", own.as_str()), ("token", own.as_str())];
    assert_eq!(italo.post("/logout", &twice).await.status, 403);
}

#[tokio::test]
async fn the_log_in_draws_a_new_token() {
    let shop = Shop::open().await;
    let mut visitor = Visitor::of(shop.address);
    let before = visitor.get("/login").await.token();
    visitor.post("/login", &[("token", &before), ("name", "Italo")]).await;
    assert_ne!(visitor.get("/").await.token(), before);
}

#[tokio::test]
async fn what_is_no_name_is_refused_with_its_reason() {
    let shop = Shop::open().await;
    for (name, reason) in [
        ("  ", "Please enter your name."),
        (&"x".repeat(41), "A name has at most 40 characters; yours has 41."),
        ("a\r\nb", "A name has no control characters."),
    ] {
        let mut visitor = Visitor::of(shop.address);
        let answer = visitor.submit("/login", "/login", &[("name", name)]).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(reason), "{reason}: {}", answer.body);
        assert_eq!(visitor.get("/").await.location(), "/login");
    }
}

#[tokio::test]
async fn a_cookie_that_was_tampered_with_is_no_session() {
    let shop = Shop::open().await;
    let italo = Visitor::named(shop.address, "Italo").await;
    let (name, value) = italo.cookies.first_key_value().unwrap();
    for at in [0, value.len() / 2, value.len() - 1] {
        let mut forged = italo.clone();
        let mut bytes = value.clone().into_bytes();
        bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
        forged.cookies.insert(name.clone(), String::from_utf8(bytes).unwrap());
        assert_eq!(forged.get("/").await.location(), "/login", "changed at {at}");
    }
}

#[tokio::test]
async fn a_session_ends_after_thirty_days() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    shop.clock.fetch_add(30 * 24 * 60 * 60 * 1000 - 1, Ordering::SeqCst);
    assert_eq!(italo.get("/").await.status, 200);
    shop.clock.fetch_add(1, Ordering::SeqCst);
    assert_eq!(italo.get("/").await.location(), "/login");
}

#[tokio::test]
async fn web_apps_that_share_a_key_share_their_sessions() {
    let key = SessionKey::from_bytes(&[7; 64]).unwrap();
    let open =
        || Shop::open_with(Arc::new(InMemoryOrders::new()), |it| it.session_key = key.clone());
    let (one, two, other) = (open().await, open().await, Shop::open().await);
    let cookies = Visitor::named(one.address, "Italo").await.cookies;
    let status = async |address| {
        let mut visitor = Visitor::of(address);
        visitor.cookies = cookies.clone();
        visitor.get("/").await.status
    };
    assert_eq!((status(two.address).await, status(other.address).await), (200, 303));
}
