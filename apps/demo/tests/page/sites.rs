//! A page on loopback is for this machine's own visitors: no other site may read or change it.

use serde_json::json;

use crate::client::{ask, get};
use crate::demo::Demo;

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn another_site_is_refused_and_changes_nothing() {
    let demo = Demo::empty().await;
    let own = format!("http://{}", demo.address);
    let port = demo.address.port();
    let (rebound, beside) = (format!("evil.example:{port}"), format!("http://localhost:{port}"));
    let foreign: [&[(&str, &str)]; 8] = [
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", &beside)],
        &[("origin", "http://127.0.0.1:1")],
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")],
        &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")],
        &[("host", &rebound)],
        &[("host", "")],
    ];
    let body = json!({ "values": ["x"] }).to_string();
    for headers in foreign {
        for path in ["/snapshot", "/events", "/mails", "/topics/topic-job-run/0"] {
            let answer = ask(demo.address, "GET", path, headers, "").await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
        let headers = [headers, &[JSON]].concat();
        for (path, body) in [("/jobs", body.as_str()), ("/misfortunes/zombie", r#"{"on":true}"#)] {
            let answer = ask(demo.address, "POST", path, &headers, body).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
        }
    }
    let shown = demo.snapshot().await;
    assert_eq!(shown["play"]["account"]["records"], 0);
    assert_eq!(shown["play"]["account"]["waiting"], 0);
    assert!(!shown["play"]["switches"].to_string().contains("true"));

    let here = ["localhost", "LOCALHOST:1", "127.0.0.2", "[::1]:8090"];
    for host in here {
        let answer = ask(demo.address, "GET", "/snapshot", &[("host", host)], "").await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let same = [("origin", &*own), ("sec-fetch-site", "same-origin"), JSON];
    assert_eq!(ask(demo.address, "POST", "/jobs", &same, &body).await.status, 202);
    // A link to the page from anywhere is a link, and it leads to the page alone.
    let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(ask(demo.address, "GET", "/", &link, "").await.status, 200);
    assert_eq!(ask(demo.address, "GET", "/mails", &link, "").await.status, 403);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_protect_it() {
    let demo = Demo::empty().await;
    for (path, status) in [
        ("/", 200),
        ("/snapshot", 200),
        ("/assets/page.js", 200),
        ("/assets/page.css", 200),
        ("/assets/none.js", 404),
        ("/mails", 200),
        ("/jobs", 405),
        ("/none", 404),
    ] {
        let answer = get(demo.address, path).await;
        assert_eq!(answer.status, status, "{path}");
        let policy = answer.header("content-security-policy").unwrap_or_default();
        for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.split("; ").any(|it| it == rule), "{rule} for {path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
    }
}
