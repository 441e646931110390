//! Arbitrary jobs with every field that a mail can have.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

/// Runs a test over so many jobs' `JobData`.
pub(crate) fn jobs(cases: u32, test: impl Fn(Value)) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&data(), |data| {
            test(data);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

fn data() -> impl Strategy<Value = Value> {
    let more = (option::of(html()), vec(attachment(), 0..5), option::of(address()), headers());
    (text(), line(), more).prop_map(|(message, subject, (html, mut files, reply_to, headers))| {
        // An id stands for one file alone.
        for (index, file) in files.iter_mut().enumerate() {
            if let Some(id) = file.get_mut("ContentId") {
                *id = json!(format!("{index}.{}", id.as_str().expect("a string")));
            }
        }
        let mut data = json!({
            "SourceAddress": "a@example.com", "DestinationAddress": "b@example.net",
            "Subject": subject, "Message": message,
        });
        if let Some(html) = html {
            data["Html"] = html.into();
        }
        if !files.is_empty() {
            data["Attachments"] = files.into();
        }
        if let Some(address) = reply_to {
            data["ReplyTo"] = address.into();
        }
        if !headers.is_empty() {
            data["Headers"] = headers.into();
        }
        data
    })
}

/// Text of lines that a mail could be taken apart by.
fn text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        any::<String>(),
        "[ -~]{0,100}",
        "\\.{1,3}",
        "[ \\t=]{0,5}",
        "--=_[0-9a-f]{32}_mixed-{0,2}",
        Just("Bcc: everybody@example.org".to_owned()),
        Just("x".repeat(2000)),
    ];
    let end = prop_oneof!["\r\n", "\r", "\n", ""];
    vec((line, end), 0..10)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + &end).collect())
}

fn html() -> impl Strategy<Value = String> {
    prop_oneof![text(), text().prop_map(|text| format!("<html><body><p>{text}</p></body></html>"))]
}

/// Text without control characters.
fn line() -> impl Strategy<Value = String> {
    let line = prop_oneof![any::<String>(), "[ -~]{0,200}", "=\\?utf-8\\?q\\?[a-z]{0,5}\\?="];
    line.prop_map(|line| line.chars().filter(|c| !c.is_control()).collect())
}

fn address() -> impl Strategy<Value = String> {
    "[a-z]{1,10}(\\.[a-z0-9]{1,5})?@[a-z]{1,10}\\.example"
}

fn headers() -> impl Strategy<Value = Map<String, Value>> {
    let x = btree_map("X-[A-Z][a-z]{1,20}", line(), 0..3);
    // Without the letters of an encoded word's encoding, since none may stand here.
    let uri =
        "<https://[a-z]{1,20}\\.example/[ac-pr-z?=&]{0,80}>(, <mailto:[a-z]{1,9}@a\\.example>)?";
    let ids = vec("<[a-z0-9.]{1,60}@[a-z]{1,10}\\.example>", 1..30);
    (x, option::of(uri), option::of(ids)).prop_map(|(x, uri, ids)| {
        let mut headers: Map<_, _> =
            x.into_iter().map(|(name, value)| (name, value.into())).collect();
        if let Some(uri) = uri {
            headers.insert("List-Unsubscribe".into(), uri.into());
        }
        if let Some(ids) = ids {
            headers.insert("References".into(), ids.join(" ").into());
        }
        headers
    })
}

fn attachment() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        "[a-z]{1,20}\\.pdf",
        "[ -~]{1,120}",
        any::<String>(),
        "[\u{3042}-\u{3093}]{1,80}\\.txt",
        "=\\?utf-8\\?q\\?[a-z]{1,5}\\?=",
        "[%'*\"]{1,9}",
    ];
    let name = name.prop_filter_map("no name of a file", |name| {
        let is_allowed = |c: &char| match c {
            '/' | '\\' | '\u{61c}' | '\u{feff}' => false,
            // Spaces of no width, ends of lines, and marks of direction.
            '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}' => false,
            '\u{2061}'..='\u{206f}' => false,
            // What is not seen, and what is no character.
            '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' => false,
            '\u{180e}' | '\u{3164}' | '\u{ffa0}' | '\u{fdd0}'..='\u{fdef}' => false,
            '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' => false,
            '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}' => false,
            c if u32::from(*c) & 0xfffe == 0xfffe => false,
            c => !c.is_control(),
        };
        let name: String = name.chars().filter(is_allowed).collect();
        let fits = name.len() <= 255 && name.trim() == name;
        (fits && !["", ".", ".."].contains(&&*name)).then_some(name)
    });
    let content = prop_oneof![
        (Just("application/pdf"), vec(any::<u8>(), 0..300)),
        (Just("image/png"), vec(any::<u8>(), 0..300)),
        (Just("application/octet-stream; x=\"a b\""), vec(any::<u8>(), 0..300)),
        (Just("text/calendar; method=REQUEST; charset=utf-8"), text().prop_map(String::into_bytes)),
    ];
    (name, content, option::of("[a-z0-9]{1,10}(@[a-z]{1,10})?")).prop_map(
        |(name, (content_type, content), id)| {
            let content = STANDARD.encode(content);
            let mut file = json!({"Name": name, "ContentType": content_type, "Content": content});
            if let Some(id) = id {
                file["ContentId"] = id.into();
            }
            file
        },
    )
}
