//! Mails are somebody else's content.

use serde_json::json;

use crate::client;
use crate::demo::Demo;

const HOSTILE: &str = "<script>parent.document.title = 'taken over'</script><img src=x>";

#[tokio::test]
async fn what_is_in_a_mail_is_text_in_a_frame_that_may_do_nothing() {
    let demo = Demo::empty().await;
    let data = json!({
        "SourceAddress": "shop@example.com", "DestinationAddress": "a@example.org",
        "Subject": HOSTILE, "Message": HOSTILE,
    });
    let job = json!({ "Id": "hostile", "Status": 2, "JobData": data }).to_string();
    client::post(demo.address, "/jobs", &json!({ "values": [job] })).await;
    demo.balanced(1).await;
    for path in ["/mails/1/text", "/mails/1/source"] {
        let framed = demo.get(path).await;
        assert_eq!(framed.status, 200);
        assert!(framed.body.contains("<script>parent"), "{path}: {}", framed.body);
        assert_eq!(framed.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(framed.header("x-content-type-options"), Some("nosniff"));
        let policy = framed.header("content-security-policy").unwrap();
        assert_eq!(policy, "sandbox; default-src 'none'; frame-ancestors 'self'");
    }
    let headers = demo.get("/mails/1").await.json();
    assert_eq!(headers["sender"], "mailjob@example.com");
    let names: Vec<_> = headers["headers"].as_array().unwrap().iter().map(|it| &it[0]).collect();
    for name in ["From", "To", "Subject", "Date", "Message-ID"] {
        assert!(names.contains(&&json!(name)), "{name}: {names:?}");
    }
}
