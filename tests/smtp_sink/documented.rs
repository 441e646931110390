//! `docs/mails.md` says what is so.

use jobstream::sinks::JobSink as _;
use jobstream::sinks::smtp::{
    FILE_NAME_LIMIT_BYTES, HEADERS_LIMIT, HEADERS_LIMIT_BYTES, SUBJECT_LIMIT_BYTES,
};
use serde_json::Value;

use super::peer::{config, job_at, paused, server, sink};

const DOCUMENT: &str = include_str!("../../docs/mails.md");

/// The fenced blocks of the document with their languages, in order.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = DOCUMENT.split("\n```").skip(1).step_by(2);
    fenced.map(|block| block.split_once('\n').expect("a block has lines")).collect()
}

fn mail_of(data: &Value) -> String {
    paused(async {
        let server = server();
        let (job, record) = job_at("2024-01-02T08:00:00Z", data);
        let sent = sink(&server, &config()).execute(&job, &record).await;
        sent.unwrap_or_else(|error| panic!("{error}: {data}"));
        let raw = server.inbox().take()[0].raw.to_vec();
        String::from_utf8(raw).expect("ASCII").replace("\r\n", "\n")
    })
}

#[test]
fn every_example_is_a_mail_and_the_mails_that_are_shown_are_those() {
    let blocks = blocks();
    let mut shown = 0;
    for (index, (language, text)) in blocks.iter().enumerate() {
        if *language != "json" {
            continue;
        }
        let data = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let mail = mail_of(&data);
        if let Some(("eml", expected)) = blocks.get(index + 1) {
            assert!(mail.starts_with(&format!("{expected}\n")), "found:\n{mail}");
            shown += 1;
        }
    }
    assert_eq!(shown, 2);
    for field in ["Html", "Attachments", "ContentId", "ReplyTo", "Headers"] {
        let is_in = |(language, text): &&(&str, &str)| *language == "json" && text.contains(field);
        assert!(blocks.iter().any(|block| is_in(&block)), "no example of {field}");
    }
}

#[test]
fn every_limit_is_that_of_the_code() {
    let with_comma = |limit: usize| format!("{},{:03}", limit / 1000, limit % 1000);
    for limit in [
        format!("of at most {} bytes | the job fails", with_comma(SUBJECT_LIMIT_BYTES)),
        format!("of at most {FILE_NAME_LIMIT_BYTES} bytes, without a path"),
        format!("At most {HEADERS_LIMIT} of them, of {} bytes", with_comma(HEADERS_LIMIT_BYTES)),
    ] {
        assert!(DOCUMENT.contains(&limit), "{limit}");
    }
}
