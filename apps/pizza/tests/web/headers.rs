//! What every answer carries.

use crate::shop::Shop;
use crate::visitor::{Answer, Visitor};

fn check(answer: &Answer, of: &str) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.split("; ").any(|it| it == rule), "{rule} for {of}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{of}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{of}");
    assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{of}");
    assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{of}");
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    for (path, status) in [
        ("/", 200),
        ("/login", 303),
        ("/orders", 200),
        ("/missing", 404),
        ("/logout", 405),
        ("/health", 200),
        ("/assets/pizza.css", 200),
        ("/assets/live.js", 200),
        ("/assets/icon.svg", 200),
    ] {
        let answer = italo.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        check(&answer, path);
        let kept = answer.header("cache-control");
        assert_eq!(kept == Some("no-store"), !path.starts_with("/assets"), "{path}: {kept:?}");
    }
    check(&italo.post("/orders", &[]).await, "a refused form");
}

#[tokio::test]
async fn no_page_needs_what_its_policy_forbids() {
    let shop = Shop::open().await;
    let mut italo = Visitor::named(shop.address, "Italo").await;
    let path = italo.submit("/", "/orders", &crate::visitor::PIZZA).await.location().to_owned();
    for path in ["/", "/orders", &path, "/missing"] {
        let page = italo.get(path).await.body;
        for forbidden in [" style=", "<style", "<script>", " onclick=", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden} in {path}");
        }
    }
}
