//! What a job says, and what is posted for it.

use jobstream::sinks::JobErrorKind;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::receiver::{Act, Receiver};
use crate::support::{block_on, executed, job};
use webhook::WebhookJob;

/// Stands in every value that can't be used, and must stand in no reason.
const SECRET: &str = "hunter2";

#[tokio::test(start_paused = true)]
async fn a_job_that_can_not_be_used_fails_by_the_name_of_the_field_and_shows_nothing() {
    let url = "https://example.org/";
    let long = format!("https://example.org/{}", SECRET.repeat(2_000));
    for (data, expected) in [
        (json!({}), "Url: found nothing"),
        (json!({"Url": null}), "Url: found nothing"),
        (json!({"Url": 7}), "Url: found an integer"),
        (json!({"Url": "hunter2"}), "Url: found no URL"),
        (json!({"Url": "ftp://hunter2/"}), "Url: found another scheme"),
        (json!({"Url": "https://hunter2@example.org/"}), "Url: found a user"),
        (json!({"Url": "https://u:hunter2@example.org/"}), "Url: found a user"),
        (json!({"Url": "http://example.org\n/hunter2"}), "Url: found a control character"),
        (json!({"Url": "http://example.org:0/hunter2"}), "Url: found no host and port"),
        (json!({"Url": "http://.../hunter2"}), "Url: found no"),
        (json!({"Url": long}), "Url: found 14020 bytes"),
        // As it is sent, each of them has six characters.
        (json!({"Url": format!("{url}{}", "\u{e4}".repeat(1_400))}), "Url: found 8420 bytes"),
        (json!({"Url": url, "Method": "GET"}), "Method: found another word"),
        (json!({"Url": url, "Method": "post"}), "Method: found another word"),
        (json!({"Url": url, "Method": SECRET}), "Method: found another word"),
        (json!({"Url": url, "Method": {"hunter2": 1}}), "Method: found an object"),
        (json!({"Url": url, "Headers": "hunter2"}), "Headers: found a string"),
        (json!({"Url": url, "Headers": {"hunter2 ": "a"}}), "Headers, the 1. by name: found no"),
        (json!({"Url": url, "Headers": {"x": "hunter2\r\ny: z"}}), "Headers, the 1. by name"),
        (json!({"Url": url, "Headers": {"a": "b", "x": 7}}), "Headers, the 2. by name: found a"),
        (json!({"Url": url, "Headers": {"A": "b", "a": SECRET}}), "Headers, the 2. by name"),
        (json!({"Url": url, "Headers": {"Host": SECRET}}), "Headers: found host, which"),
        (json!({"Url": url, "Headers": {"Webhook-Id": SECRET}}), "Headers: found webhook-id"),
        (json!({"Url": url, "Headers": {"Transfer-Encoding": SECRET}}), "Headers: found transfer"),
        (json!({"Url": url, "Headers": {"HTTP2-Settings": SECRET}}), "Headers: found http2-"),
        (json!({"Url": url, "Timeout": "7"}), "Timeout: found a string"),
        (json!({"Url": url, "Timeout": 0}), "Timeout: found an integer"),
        (json!({"Url": url, "Timeout": 601}), "Timeout: found an integer"),
        (json!("hunter2"), "JobData"),
        (json!([SECRET]), "JobData"),
    ] {
        let receiver = Receiver::always(Act::answer(200));
        let error = executed(&receiver, &job(&data)).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Permanent, "{data}");
        assert!(error.reason().starts_with(expected), "{data}: {error}");
        assert!(!error.reason().contains(SECRET), "{data}: {error}");
        assert!(receiver.posted().is_empty(), "{data}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_what_the_job_says() {
    let data = json!({
        "Url": "http://Example.org:8080/a%20b?c=d#e", "Method": "PUT",
        "Headers": {"X-Tenant": "t", "content-type": "text/csv"}, "Body": "a,b\nä", "Unknown": 1,
    });
    // An object, and a string that holds one.
    for data in [data.clone(), Value::String(data.to_string())] {
        let receiver = Receiver::always(Act::answer(204));
        assert_eq!(executed(&receiver, &job(&data)).await.unwrap().status, Some(204));
        let [posted] = &receiver.posted()[..] else { panic!("one request") };
        assert_eq!((&*posted.method, &*posted.path), ("PUT", "/a%20b?c=d"));
        assert_eq!(posted.body, "a,b\nä".as_bytes());
        for (name, value) in [
            ("host", "example.org:8080"),
            ("x-tenant", "t"),
            ("content-type", "text/csv"),
            ("content-length", "6"),
            ("connection", "close"),
        ] {
            assert_eq!(posted.headers.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}

/// As RFC 9110 section 8.6 has it: a method that means something by a body says that it is empty.
#[tokio::test(start_paused = true)]
async fn an_empty_body_has_a_length_and_a_deletion_has_none() {
    for (method, length) in
        [("POST", Some("0")), ("PUT", Some("0")), ("PATCH", Some("0")), ("DELETE", None)]
    {
        for body in [Value::Null, json!("")] {
            let data = json!({"Url": "http://a.example/", "Method": method, "Body": body});
            let receiver = Receiver::always(Act::answer(200));
            executed(&receiver, &job(&data)).await.unwrap();
            let posted = receiver.posted().remove(0);
            let found = posted.headers.get("content-length").map(String::as_str);
            assert_eq!(found, length, "{data}");
            assert_eq!(posted.headers.get("transfer-encoding"), None, "{data}");
        }
    }
    let data = json!({"Url": "http://a.example/", "Method": "DELETE", "Body": "a"});
    let receiver = Receiver::always(Act::answer(200));
    executed(&receiver, &job(&data)).await.unwrap();
    assert_eq!(receiver.posted().remove(0).headers["content-length"], "1");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Digits, white space and order of a body are the job's; so its signature holds for what was
    /// written.
    #[test]
    fn a_body_of_json_is_sent_as_it_stands(
        digits in "[1-9][0-9]{0,40}\\.[0-9]{1,9}",
        space in "[ \t]{0,3}",
        words in "[a-z\"\\\\ ]{0,9}",
    ) {
        let words = serde_json::to_string(&words).unwrap();
        let body = format!("{{\"b\":{space}{digits},\"a\"{space}:[{words}]}}");
        let value = format!(
            r#"{{"Id":"a","Status":2,"JobType":2,"JobData":{{"Url":"http://a.example","Body":{space}{body}{space}}}}}"#
        );
        block_on(async {
            let receiver = Receiver::always(Act::answer(200));
            let job = WebhookJob::of(crate::support::decoded(&value));
            prop_assert!(executed(&receiver, &job).await.is_ok());
            let posted = receiver.posted().remove(0);
            prop_assert_eq!(String::from_utf8(posted.body).unwrap(), body);
            prop_assert_eq!(&posted.headers["content-type"], "application/json");
            Ok(())
        })?;
    }
}
