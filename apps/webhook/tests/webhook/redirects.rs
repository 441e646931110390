//! Redirects fail a job unless they are allowed, and lead nowhere that a job could not name.

use jobstream::sinks::JobErrorKind;
use serde_json::json;

use crate::receiver::{Act, InMemory, Receiver};
use crate::support::{execute, job, settings, sink, sink_with};

/// Redirects from `/from` to this place; elsewhere all is well.
fn redirecting(status: u16, location: &str) -> std::sync::Arc<Receiver> {
    let location = format!("Location: {location}\r\n");
    Receiver::new(move |_, path| match path {
        "/from" => Act::with(status, &location),
        _ => Act::answer(200),
    })
}

fn post(url: &str) -> webhook::WebhookJob {
    job(
        &json!({"Url": url, "Headers": {"Authorization": "a", "Cookie": "b", "X": "c"}, "Body": "d"}),
    )
}

#[tokio::test(start_paused = true)]
async fn a_redirect_fails_the_job_and_one_that_is_allowed_is_followed() {
    let mut allowed = settings();
    allowed.redirects = 1;
    for status in [301, 302, 303, 307, 308, 300, 304] {
        let receiver = redirecting(status, "/to");
        let network = InMemory::to(&receiver);
        let error = execute(&sink(&network), &post("http://a.example/from")).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Permanent, "{error}");
        assert!(error.reason().starts_with(&format!("HTTP {status}")), "{error}");
        let sink = sink_with(allowed.clone(), &network);
        let followed = execute(&sink, &post("http://a.example/from")).await;
        let is_followed = matches!(status, 301 | 302 | 307 | 308);
        assert_eq!(followed.is_ok(), is_followed, "{status}");
        let last = receiver.posted().pop().unwrap();
        assert_eq!((&*last.method, &*last.body), ("POST", &b"d"[..]));
        assert_eq!(last.path, if is_followed { "/to" } else { "/from" });
        assert!(last.headers.contains_key("authorization"));
    }
}

#[tokio::test(start_paused = true)]
async fn more_redirects_than_are_allowed_fail_the_job() {
    let receiver = Receiver::always(Act::with(307, "Location: /again\r\n"));
    let network = InMemory::to(&receiver);
    let mut settings = settings();
    settings.redirects = 3;
    let error = execute(&sink_with(settings, &network), &post("http://a.example/")).await;
    assert!(error.unwrap_err().reason().starts_with("HTTP 307"));
    assert_eq!(receiver.posted().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_target_of_a_redirect_is_checked_and_gets_no_credentials() {
    let mut settings = settings();
    settings.redirects = 5;
    for location in [
        "http://10.0.0.1/",
        "http://metadata.example/latest",
        "//[::1]/",
        "ftp://a.example/",
        "http://user@b.example/",
        "http://",
    ] {
        let receiver = redirecting(307, location);
        let network = InMemory::to(&receiver);
        network.name("metadata.example", &[&["169.254.169.254".parse().unwrap()]]);
        let sink = sink_with(settings.clone(), &network);
        let error = execute(&sink, &post("http://a.example/from")).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Permanent, "{location}: {error}");
        // The last answer is the redirect, which the result names.
        assert!(error.reason().starts_with("HTTP 307 "), "{location}: {error}");
        assert_eq!(network.connected().len(), 1, "{location}");
    }
    let receiver = redirecting(307, "http://b.example/to");
    let sink = sink_with(settings, &InMemory::to(&receiver));
    execute(&sink, &post("http://a.example/from")).await.unwrap();
    let last = receiver.posted().pop().unwrap();
    assert_eq!((&*last.headers["host"], &*last.headers["x"]), ("b.example", "c"));
    assert!(!last.headers.contains_key("authorization") && !last.headers.contains_key("cookie"));
}
