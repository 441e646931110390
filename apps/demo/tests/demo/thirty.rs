//! Thirty mails as real services send them arrive as their jobs say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{HeaderForm, Message, MessageParser, MimeHeaders as _};
use serde_json::Value;

use crate::mail::assert_careful;
use crate::model::lines_end_in_crlf;
use crate::run::{Folder, Left};

const MAILS: &str = include_str!("../../../../fixtures/mails.jsonl");

/// What a job of the file says, in either shape.
fn data(line: &str) -> Value {
    let job: Value = serde_json::from_str(line).expect("a job");
    match &job["JobData"] {
        Value::String(text) => serde_json::from_str(text).expect("an object in a string"),
        data => data.clone(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn check(data: &Value, message: &Message<'_>) {
    let to = text(&data["DestinationAddress"]);
    assert_eq!(message.subject(), Some(text(&data["Subject"])), "{to}");
    let plain = message.parts.iter().find(|part| part.is_text() && !part.is_text_html());
    let plain = plain.and_then(|part| part.text_contents()).expect("a text");
    match text(&data["Message"]) {
        "" => {
            assert!(!plain.trim().is_empty() && !plain.contains("<p"), "{to}: {plain}");
        }
        said => assert_eq!(plain.trim_end(), lines_end_in_crlf(said).trim_end(), "{to}"),
    }
    let html = message.parts.iter().find(|part| part.is_text_html());
    let html = html.and_then(|part| part.text_contents());
    let said = data.get("Html").map(|html| lines_end_in_crlf(text(html)));
    assert_eq!(html.map(str::to_owned), said, "{to}");
    for (name, value) in data.get("Headers").and_then(Value::as_object).into_iter().flatten() {
        let found = message.header_as(&**name, HeaderForm::Text).remove(0);
        assert_eq!(found.as_text(), value.as_str(), "{to}: {name}");
    }
    let files = data.get("Attachments").and_then(Value::as_array).cloned().unwrap_or_default();
    let parts = message.parts.iter().filter(|part| part.content_disposition().is_some());
    let parts: Vec<_> = parts.collect();
    assert_eq!(parts.len(), files.len(), "{to}");
    for file in files {
        let name = text(&file["Name"]);
        let part = parts.iter().find(|part| part.attachment_name() == Some(name));
        let part = part.unwrap_or_else(|| panic!("{to}: no {name}"));
        assert_eq!(part.contents(), STANDARD.decode(text(&file["Content"])).expect("base64"));
        assert_eq!(part.content_id(), file.get("ContentId").map(text), "{name}");
    }
}

#[test]
fn thirty_mails_of_real_services_arrive_as_they_are_twice_the_same() {
    let run = || {
        let Left { results, dead_letters, mut mails, .. } = Folder::new().demo(MAILS.as_bytes());
        let outcomes: Vec<_> =
            results.iter().map(|it| it.headers["job-outcome"].as_str()).collect();
        assert_eq!((outcomes, dead_letters.len()), (vec!["accepted"; 30], 0));
        mails.sort_unstable();
        mails
    };
    let mails = run();
    assert_eq!(mails, run());
    let all: Vec<_> = MAILS.lines().map(data).collect();
    assert_eq!(all.len(), 30);
    for raw in mails {
        assert_careful(&raw);
        let message = MessageParser::default().parse(&raw[..]).expect("a mail");
        let to = message.to().and_then(|to| to.first()).and_then(|to| to.address()).expect("To");
        let data = all.iter().find(|data| data["DestinationAddress"] == to).expect("a job");
        check(data, &message);
    }
}
