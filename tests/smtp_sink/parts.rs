//! HTML, files and headers arrive as the job has them, in one mail that every attempt repeats.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Seek as _, Write as _};
use std::process::Command;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Mail, SmtpServer};
use mail_parser::{HeaderForm, MessagePart, MimeHeaders as _};
use serde_json::{Value, json};

use super::arbitrary;
use super::peer::{config, job_of, paused, server, sink};

/// What a job needs, with more.
fn with(more: &Value) -> Value {
    let mut data = json!({
        "SourceAddress": "a@example.com", "DestinationAddress": "b@example.net",
        "Subject": "Subject", "Message": "Text",
    });
    let fields = more.as_object().expect("an object").clone();
    data.as_object_mut().expect("an object").extend(fields);
    data
}

/// The mail of a job, as it arrived; sent twice, with the same bytes, in both shapes of the wire.
async fn arrived(server: &Arc<SmtpServer>, data: &Value) -> Arc<Mail> {
    let sink = sink(server, &config());
    for data in [data.clone(), Value::String(data.to_string())] {
        let (job, record) = job_of(&data);
        sink.execute(&job, &record).await.unwrap_or_else(|error| panic!("{error}: {data}"));
    }
    let mails = server.inbox().take();
    assert_eq!(mails[0].raw, mails[1].raw);
    Arc::clone(&mails[0])
}

fn mail_of(data: &Value) -> Arc<Mail> {
    paused(async { arrived(&server(), data).await })
}

async fn refusal(more: &Value) -> String {
    let server = server();
    let sink = sink(&server, &config());
    let mut reasons = Vec::new();
    for data in [with(more), Value::String(with(more).to_string())] {
        let (job, record) = job_of(&data);
        let error = sink.execute(&job, &record).await.expect_err("no mail");
        assert_eq!(error.kind(), JobErrorKind::Permanent);
        reasons.push(error.reason().to_owned());
    }
    assert_eq!(server.connections().total, 0);
    assert_eq!(reasons[0], reasons[1]);
    reasons.remove(0)
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn lines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

/// The header fields, unfolded.
fn headers(mail: &Mail) -> BTreeMap<String, String> {
    let raw = std::str::from_utf8(&mail.raw).expect("ASCII");
    let (head, _) = raw.split_once("\r\n\r\n").expect("a head");
    let head = head.replace("\r\n ", " ");
    let fields = head.split("\r\n").map(|line| line.split_once(": ").unwrap_or((line, "")));
    let mut headers = BTreeMap::new();
    for (name, value) in fields {
        let before = headers.insert(name.to_ascii_lowercase(), value.to_owned());
        assert!(before.is_none(), "{name} twice in {head}");
    }
    headers
}

/// Compares a mail with its job, as mail-parser reads it.
fn check(data: &Value) {
    let mail = mail_of(data);
    let raw = std::str::from_utf8(&mail.raw).expect("ASCII");
    assert!(raw.is_ascii() && !raw.contains('\0'));
    assert!(raw.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    let headers = headers(&mail);
    assert_eq!(headers["auto-submitted"], "auto-generated");
    assert!(!headers.contains_key("bcc"));
    let message = mail.parsed().expect("a mail");
    assert_eq!(message.subject().unwrap_or_default(), text(&data["Subject"]));
    if let Some(address) = data.get("ReplyTo") {
        assert_eq!(headers["reply-to"], text(address));
    }
    for (name, value) in data.get("Headers").and_then(Value::as_object).into_iter().flatten() {
        let found = match &headers[&name.to_ascii_lowercase()] {
            _ if name.starts_with("X-") => {
                let decoded = message.header_as(&**name, HeaderForm::Text).remove(0);
                decoded.as_text().unwrap_or_default().to_owned()
            }
            found => found.clone(),
        };
        assert_eq!(found, text(value), "{name}");
    }
    let files = data.get("Attachments").and_then(Value::as_array).cloned().unwrap_or_default();
    let is_whole = data.get("Html").is_none() && files.is_empty();
    let html = message.parts.iter().find(|part| part.is_text_html());
    assert_eq!(html.is_some(), data.get("Html").is_some());
    if let Some(html) = html {
        assert_eq!(html.contents(), lines(text(&data["Html"])).as_bytes());
    }
    let plain = message.parts.iter().find(|part| part.is_text() && !part.is_text_html());
    let found = String::from_utf8(plain.expect("a text").contents().to_vec()).expect("UTF-8");
    let expected = lines(text(&data["Message"]));
    let is_made = expected.is_empty() && html.is_some();
    assert!(is_made || found == expected || is_whole && found == expected + "\r\n", "{found:?}");
    let found = message.parts.iter().filter(|part| part.content_disposition().is_some());
    let found: Vec<_> = found.collect();
    assert_eq!(found.len(), files.len());
    let (shown, attached): (Vec<_>, Vec<_>) =
        files.iter().partition(|file| html.is_some() && file.get("ContentId").is_some());
    for (part, file) in found.into_iter().zip(shown.into_iter().chain(attached)) {
        check_file(part, file);
    }
}

fn check_file(part: &MessagePart<'_>, file: &Value) {
    assert_eq!(part.attachment_name().unwrap_or_default(), text(&file["Name"]));
    assert_eq!(part.contents(), STANDARD.decode(text(&file["Content"])).expect("base64"));
    let content_type = part.content_type().expect("a type");
    let found = format!("{}/{}", content_type.ctype(), content_type.subtype().unwrap_or_default());
    assert_eq!(found, text(&file["ContentType"]).split(';').next().expect("a type"));
    assert_eq!(part.content_id(), file.get("ContentId").map(text));
    let disposition = part.content_disposition().expect("a disposition");
    assert_eq!(disposition.is_inline(), file.get("ContentId").is_some());
}

#[test]
fn any_job_is_read_back_as_it_is() {
    arbitrary::jobs(200, |data| check(&data));
}

#[test]
#[ignore = "needs Python"]
fn any_job_is_read_back_as_it_is_by_python() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/smtp_sink/foreign/read_mails.py");
    let lines = RefCell::new(tempfile::tempfile().expect("a file"));
    arbitrary::jobs(500, |data| {
        let mail = STANDARD.encode(&mail_of(&data).raw);
        let line = json!({ "mail": mail, "data": data });
        writeln!(lines.borrow_mut(), "{line}").expect("room on the disk");
    });
    let mut lines = lines.into_inner();
    lines.rewind().expect("a file");
    let ended = Command::new("python3").arg(script).stdin(lines).output().expect("python3");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// What a mail consists of, as an outline.
fn outline(mail: &Mail) -> String {
    let message = mail.parsed().expect("a mail");
    let mut outline = String::new();
    let mut stack = vec![0];
    while let Some(id) = stack.pop() {
        let part = &message.parts[id as usize];
        let content_type = part.content_type().expect("a type");
        outline += &format!("{} ", content_type.subtype().expect("a subtype"));
        if let Some(parts) = part.sub_parts() {
            outline.push_str("( ");
            stack.extend(parts.iter().rev());
        }
    }
    outline.trim_end().to_owned()
}

#[test]
fn a_mail_has_no_more_containers_than_it_needs() {
    let file = json!({"Name": "a.pdf", "ContentType": "application/pdf", "Content": ""});
    let mut logo = json!({"Name": "logo.png", "ContentType": "image/png", "Content": "AAAA"});
    logo["ContentId"] = "logo".into();
    for (more, expected) in [
        (json!({}), "plain"),
        (json!({"Attachments": [], "Headers": {}}), "plain"),
        (json!({"Html": "<p>"}), "alternative ( plain html"),
        (json!({"Attachments": [file]}), "mixed ( plain pdf"),
        (json!({"Attachments": [logo]}), "mixed ( plain png"),
        (json!({"Html": "<p>", "Attachments": [file]}), "mixed ( alternative ( plain html pdf"),
        (json!({"Html": "<p>", "Attachments": [logo]}), "alternative ( plain related ( html png"),
        (
            json!({"Html": "<p>", "Attachments": [file, logo]}),
            "mixed ( alternative ( plain related ( html png pdf",
        ),
    ] {
        assert_eq!(outline(&mail_of(&with(&more))), expected, "{more}");
    }
}

#[test]
fn an_empty_message_is_made_from_the_html() {
    let html = "<h1>Reset</h1><p>Open <a href='https://e.example/?a=1&amp;b=2'>this</a>.";
    let mail = mail_of(&with(&json!({"Message": "", "Html": html})));
    assert_eq!(mail.text().unwrap(), "Reset\r\n\r\nOpen this <https://e.example/?a=1&b=2>.\r\n");
    let mail = mail_of(&with(&json!({"Message": "Own", "Html": html})));
    assert_eq!(mail.text().unwrap(), "Own");
}

#[test]
fn reply_to_stands_for_the_one_that_the_service_would_set() {
    let mail = mail_of(&with(&json!({"ReplyTo": "c@else.example"})));
    assert_eq!(headers(&mail)["reply-to"], "c@else.example");
    assert_eq!(headers(&mail)["from"], "a@example.com");
    let other = json!({"SourceAddress": "d@else.example", "ReplyTo": "c@else.example"});
    let mail = mail_of(&with(&other));
    assert_eq!(headers(&mail)["reply-to"], "c@else.example");
    assert_eq!(headers(&mail)["from"], "service@example.com");
}

#[test]
fn a_job_without_new_fields_makes_the_bytes_that_it_always_made_and_auto_submitted() {
    let mail = mail_of(&with(&json!({"Message": "One\n.\nTwo"})));
    assert_eq!(
        std::str::from_utf8(&mail.raw).unwrap(),
        "Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n\
         From: a@example.com\r\n\
         To: b@example.net\r\n\
         Subject: Subject\r\n\
         Message-ID: <cf1bd10d9de13d14210328af943f2aa8@example.com>\r\n\
         Auto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\
         \r\n\
         One\r\n.\r\nTwo\r\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_field_that_can_t_be_used_is_named_and_never_shown() {
    let file = |field: &str, value: Value| {
        let mut file = json!({"Name": "a", "ContentType": "a/b", "Content": ""});
        file[field] = value;
        json!({ "Attachments": [{"Name": "a", "ContentType": "a/b", "Content": ""}, file] })
    };
    let twice = json!({"Name": "a", "ContentType": "a/b", "Content": "", "ContentId": "secret"});
    let mut cases = vec![
        (json!({"ReplyTo": "secret"}), "ReplyTo: found no local part and domain"),
        (json!({"ReplyTo": "a\r\nBcc: secret@b.example"}), "ReplyTo: found a control character"),
        (json!({"ReplyTo": "secret\u{202e}@b.example"}), "ReplyTo: found the invisible character"),
        (json!({"Attachments": {"secret": 1}}), "Attachments: found an object, expected a list"),
        (json!({"Attachments": ["secret"]}), "Attachments[0]: found a string, expected an object"),
        (json!({"Attachments": [["a", "a/b", ""]]}), "Attachments[0]: found an array"),
        (json!({"Attachments": [{"Name": "secret"}]}), "Attachments[0].ContentType is missing"),
        (json!({"Attachments": [twice, twice]}), "Attachments[1].ContentId: found that of another"),
        (json!({"Headers": ["secret"]}), "Headers: found an array, expected an object"),
        (json!({"Headers": {"X-A": 1}}), "Headers: value 1: found an integer, expected a string"),
        (json!({"Headers": {"Bcc": "secret"}}), "Headers: name 1: found one that is not allowed"),
        (json!({"Headers": {"X-A": "a\nBcc: secret"}}), "Headers: value 1: found a control"),
        (file("Name", "".into()), "Attachments[1].Name: found none"),
        (file("Name", "..".into()), "Attachments[1].Name: found none"),
        (file("Name", "secret/x".into()), "Attachments[1].Name: found / or \\, expected"),
        (file("Name", "secret\\x".into()), "Attachments[1].Name: found / or \\, expected"),
        (file("Name", "secret\n".into()), "Attachments[1].Name: found a control character"),
        (file("Name", "secret\u{85}".into()), "Attachments[1].Name: found a control character"),
        (file("Name", "secret\u{202e}gnp.exe".into()), "Attachments[1].Name: found the invisible"),
        (file("Name", "secret\u{3164}.exe".into()), "Attachments[1].Name: found the invisible"),
        (file("Name", "secret\u{2028}".into()), "Attachments[1].Name: found a line separator"),
        (file("Name", "  ".into()), "Attachments[1].Name: found none"),
        (file("Name", "s".repeat(256).into()), "Attachments[1].Name: found 256 bytes"),
        (file("ContentType", "secret".into()), "Attachments[1].ContentType: found none"),
        (file("ContentType", "image/*".into()), "Attachments[1].ContentType: found none"),
        (file("ContentType", "secret/".into()), "Attachments[1].ContentType: found none"),
        (file("ContentType", "a/b; secret=".into()), "Attachments[1].ContentType: found a para"),
        (file("ContentType", "a/b; c= ; d=e".into()), "Attachments[1].ContentType: found a para"),
        (
            file("ContentType", "a/b; c=1; C=secret".into()),
            "Attachments[1].ContentType: found a para",
        ),
        (
            file("ContentType", "a/b; c=\"\\\";\"; Name*0=secret".into()),
            "Attachments[1].ContentType: found the parameter name",
        ),
        (
            file("ContentType", "a/b\r\nX: secret".into()),
            "Attachments[1].ContentType: found a char",
        ),
        (file("ContentType", "multipart/mixed".into()), "Attachments[1].ContentType: found a comp"),
        (file("ContentType", "Message/rfc822".into()), "Attachments[1].ContentType: found a comp"),
        (file("Content", "secret!".into()), "Attachments[1].Content: found something else"),
        (file("Content", "AAA".into()), "Attachments[1].Content: found something else"),
        (file("Content", "AAAA\r\nAAAA".into()), "Attachments[1].Content: found something else"),
        (file("Content", "AB==".into()), "Attachments[1].Content: found something else"),
        (file("Content", "-_==".into()), "Attachments[1].Content: found something else"),
        (file("ContentId", "<secret>".into()), "Attachments[1].ContentId: found another character"),
        (
            file("ContentId", "".into()),
            "Attachments[1].ContentId: found another character, or none",
        ),
    ];
    for wrong in [json!(null), json!(1), json!(true), json!({}), json!([])] {
        for field in ["Html", "ReplyTo"] {
            cases.push((json!({ field: wrong }), field));
        }
        for field in ["Name", "ContentType", "Content", "ContentId"] {
            cases.push((file(field, wrong.clone()), "Attachments[1]."));
        }
    }
    for wrong in [json!(null), json!(1), json!(true), json!("x")] {
        for field in ["Attachments", "Headers"] {
            cases.push((json!({ field: wrong }), field));
        }
    }
    for (more, expected) in cases {
        let reason = refusal(&more).await;
        assert!(reason.starts_with(expected), "{more}: {reason}");
        assert!(!reason.contains("secret"), "{reason}");
    }
}
