//! HTML and files of mails, as the page shows them.

use serde_json::{Value, json};

use crate::client;
use crate::demo::Demo;

const MAILS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/mails.jsonl");
const HTML_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                           frame-ancestors 'self'";

async fn submitted(demo: &Demo, more: Value) {
    let mut data = json!({
        "SourceAddress": "shop@example.com", "DestinationAddress": "a@example.org",
        "Subject": "s", "Message": "m",
    });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let job = json!({ "Id": "one", "Status": 2, "JobData": data }).to_string();
    client::post(demo.address, "/jobs", &json!({ "values": [job] })).await;
    demo.balanced(1).await;
}

#[tokio::test]
async fn html_is_in_a_frame_that_may_do_nothing_and_load_nothing() {
    let demo = Demo::empty().await;
    let html = "<script>parent.document.title = 'taken'</script><img src='https://else.example/x'>\
                <img src=\"cid:logo\"><img src=cid:logo2><img src=cid:nobody>";
    let file = |id: &str, kind: &str| json!({"Name": "l.png", "ContentType": kind, "Content": "iVBORw==", "ContentId": id});
    let files = json!([file("logo", "image/png"), file("logo2", "image/png")]);
    submitted(&demo, json!({ "Html": html, "Attachments": files })).await;
    let framed = demo.get("/mails/1/html").await;
    assert_eq!(framed.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(framed.header("content-security-policy"), Some(HTML_POLICY));
    assert_eq!(framed.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(framed.header("x-frame-options"), Some("SAMEORIGIN"));
    let picture = "data:image/png;base64,iVBORw==";
    let expected = html.replace("\"cid:logo\"", &format!("\"{picture}\""));
    assert_eq!(framed.body, expected.replace("cid:logo2", picture));
    assert_eq!(demo.get("/mails/1/text").await.body, "m");
    for path in ["/mails/1/files/2", "/mails/2/html", "/mails/1/files/x"] {
        assert!(matches!(demo.get(path).await.status, 400 | 404), "{path}");
    }
}

#[tokio::test]
async fn a_file_is_downloaded_as_what_it_is_and_never_shown() {
    let demo = Demo::empty().await;
    let files = json!([
        {"Name": "gr\u{fc}n; \"x\".html", "ContentType": "text/html; charset=utf-8", "Content": "PHA+"},
        {"Name": "a.csv", "ContentType": "text/csv", "Content": "YTtiDQo="},
    ]);
    submitted(&demo, json!({ "Attachments": files })).await;
    let shown = demo.get("/mails/1").await.json();
    assert_eq!(shown["html"], false);
    let line = |name: &str, kind: &str, bytes: u32| json!({"name": name, "content_type": kind, "bytes": bytes, "inline": false});
    let expected =
        json!([line("gr\u{fc}n; \"x\".html", "text/html", 3), line("a.csv", "text/csv", 5)]);
    assert_eq!(shown["files"], expected);
    assert_eq!(demo.get("/mails/1/html").await.status, 404);
    for (path, kind, name, content) in [
        ("/mails/1/files/0", "text/html", "gr%C3%BCn%3B%20%22x%22.html", "<p>"),
        ("/mails/1/files/1", "text/csv", "a.csv", "a;b\r\n"),
    ] {
        let file = demo.get(path).await;
        assert_eq!((file.header("content-type"), &*file.body), (Some(kind), content));
        let disposition = format!("attachment; filename*=UTF-8''{name}");
        assert_eq!(file.header("content-disposition"), Some(&*disposition));
        let policy = file.header("content-security-policy").unwrap();
        assert!(policy.starts_with("sandbox; default-src 'none'"), "{policy}");
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn thirty_mails_of_real_services_are_shown() {
    let demo = Demo::start(&["--jobs", MAILS]).await;
    demo.balanced(30).await;
    let (mut with_html, mut files) = (0, 0);
    for mail in demo.get("/mails").await.json().as_array().unwrap() {
        let number = &mail["number"];
        let shown = demo.get(&format!("/mails/{number}")).await.json();
        files += shown["files"].as_array().unwrap().len();
        if shown["html"] == true {
            with_html += 1;
            let html = demo.get(&format!("/mails/{number}/html")).await;
            assert_eq!(html.header("content-security-policy"), Some(HTML_POLICY), "{mail}");
            let is_picture = |file: &Value| file["inline"] == true;
            let pictures = shown["files"].as_array().unwrap().iter().filter(|it| is_picture(it));
            assert_eq!(html.body.matches("data:image/png;base64,").count(), pictures.count());
            assert!(!html.body.contains("cid:"), "{mail}");
        }
    }
    assert_eq!((with_html, files), (14, 21));
}
