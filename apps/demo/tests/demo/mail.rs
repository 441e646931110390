//! Reads a mail as a mail program does, and refuses what a careful server would.

use mail_parser::MessageParser;

use crate::model::Mail;

/// Refuses lines and octets that a careful server would refuse.
pub(crate) fn assert_careful(raw: &[u8]) {
    let shown = String::from_utf8_lossy(raw);
    let (_, body) = shown.split_once("\r\n\r\n").expect("headers and a body");
    for line in shown.split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "a bare CR or LF in {line:?}");
        assert!(line.len() <= 998, "a line of {} octets", line.len());
    }
    // RFC 5321 section 2.4 and RFC 2045 section 2.7: without 8BITMIME a body is ASCII without NUL.
    assert!(body.is_ascii() && !raw.contains(&0), "a body that is not 7bit: {body:?}");
}

/// A mail's `Message-ID`, with its brackets, and what a reader sees.
pub(crate) fn read(raw: &[u8]) -> (String, Mail) {
    assert_careful(raw);
    let shown = String::from_utf8_lossy(raw);
    let (head, _) = shown.split_once("\r\n\r\n").expect("headers and a body");
    let unfolded = head.replace("\r\n ", " ");
    let headers: Vec<_> =
        unfolded.split("\r\n").map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
    let one = |name: &str| {
        let mut values = headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| (*value).to_owned());
        assert!(values.next().is_none(), "{name} twice in {head}");
        value
    };
    for (name, _) in &headers {
        assert!(NAMES.contains(name), "the header {name:?} in {head}");
    }
    for (name, value) in headers.iter().filter(|(name, _)| !ADDRESSED.contains(name)) {
        assert!(value.bytes().all(|b| (b' '..=b'~').contains(&b)), "{name}: {value:?}");
    }
    assert_eq!(one("Auto-Submitted").as_deref(), Some("auto-generated"));
    assert_eq!(one("MIME-Version").as_deref(), Some("1.0"));
    assert_eq!(one("Content-Type").as_deref(), Some("text/plain; charset=utf-8"));
    let encoding = one("Content-Transfer-Encoding").expect("an encoding");
    assert!(["7bit", "quoted-printable", "base64"].contains(&&*encoding), "{encoding}");

    let parsed = MessageParser::default().parse(raw).expect("a mail");
    let mail = Mail {
        from: one("From").expect("a sender"),
        reply_to: one("Reply-To"),
        to: one("To").expect("a recipient"),
        subject: parsed.subject().unwrap_or_default().to_owned(),
        date: parsed.date().expect("a date").to_timestamp(),
        text: parsed.body_text(0).expect("a text").into_owned(),
    };
    (one("Message-ID").expect("a Message-ID"), mail)
}

const ADDRESSED: &[&str] = &["From", "Reply-To", "To"];

const NAMES: &[&str] = &[
    "Date",
    "From",
    "Reply-To",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];
