//! What is in a mail beside its headers and its text: HTML, and files.
//!
//! All of it is somebody else's. HTML is shown in a frame that may do nothing; the pictures that it
//! has in the mail are put into it, since the frame may load nothing.

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jobstream_testkit::smtp::Mail;
use mail_parser::{Message, MessagePart, MimeHeaders as _};
use serde::Serialize;

/// What pictures may make of HTML, in bytes: one that is shown often would fill the memory.
const SHOWN_LIMIT_BYTES: usize = 16 << 20;

/// The type of what has none that can be said.
const BYTES: &str = "application/octet-stream";

/// A file of a mail, in the list.
#[derive(Debug, Serialize)]
pub(super) struct FileLine {
    name: String,
    content_type: String,
    bytes: usize,
    /// Whether it is shown by the HTML.
    inline: bool,
}

/// A file of a mail, as it is downloaded.
#[derive(Debug)]
pub(super) struct File {
    pub(super) content_type: HeaderValue,
    /// That it is to be kept, and under which name.
    pub(super) disposition: HeaderValue,
    pub(super) content: Vec<u8>,
}

/// The files of a mail, in their order.
pub(super) fn files(mail: &Mail) -> Vec<FileLine> {
    let Some(message) = mail.parsed() else { return Vec::new() };
    let line = |part: &MessagePart<'_>| FileLine {
        name: name(part).to_owned(),
        content_type: content_type(part),
        bytes: part.contents().len(),
        inline: part.content_id().is_some(),
    };
    message.attachments().map(line).collect()
}

/// One of the files, counted from 0.
pub(super) fn file(mail: &Mail, index: u32) -> Option<File> {
    let message = mail.parsed()?;
    let part = message.attachment(index)?;
    let disposition = format!("attachment; filename*=UTF-8''{}", percent_encoded(name(part)));
    Some(File {
        content_type: content_type(part).parse().ok()?,
        disposition: disposition.parse().ok()?,
        content: part.contents().to_vec(),
    })
}

/// The HTML of a mail with its pictures in it, if it has some.
pub(super) fn html(mail: &Mail) -> Option<String> {
    let message = mail.parsed()?;
    let part = message.html_bodies().find(|part| part.is_text_html())?;
    Some(with_pictures(part.text_contents()?, &message))
}

/// Whether a mail has HTML.
pub(super) fn has_html(mail: &Mail) -> bool {
    let message = mail.parsed();
    message.is_some_and(|message| message.html_bodies().any(MessagePart::is_text_html))
}

/// Puts each picture of the mail where the HTML refers to it (RFC 2392).
fn with_pictures(html: &str, message: &Message<'_>) -> String {
    let is_picture = |part: &&MessagePart<'_>| content_type(part).starts_with("image/");
    let pictures: BTreeMap<_, _> = message
        .attachments()
        .filter(is_picture)
        .filter_map(|part| Some((part.content_id()?, part)))
        .collect();
    let mut shown = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find("cid:").filter(|_| shown.len() < SHOWN_LIMIT_BYTES) {
        let (before, behind) = rest.split_at(at + "cid:".len());
        shown.push_str(&before[..at]);
        let ends = |c: char| c.is_whitespace() || "\"'<>()".contains(c);
        let end = behind.find(ends).unwrap_or(behind.len());
        match pictures.get(&behind[..end]) {
            Some(part) => {
                let content = STANDARD.encode(part.contents());
                shown.extend(["data:", &content_type(part), ";base64,", &content]);
            }
            None => shown.extend(["cid:", &behind[..end]]),
        }
        rest = &behind[end..];
    }
    shown + rest
}

fn name<'a>(part: &'a MessagePart<'_>) -> &'a str {
    part.attachment_name().unwrap_or("unnamed")
}

/// The media type without its parameters, as far as it is one.
fn content_type(part: &MessagePart<'_>) -> String {
    let is_token = |text: &str| {
        let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b);
        !text.is_empty() && text.bytes().all(is_allowed)
    };
    let content_type = part.content_type().and_then(|it| Some((it.ctype(), it.subtype()?)));
    match content_type {
        Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {
            format!("{kind}/{subtype}").to_ascii_lowercase()
        }
        _ => BYTES.to_owned(),
    }
}

/// A name as RFC 8187 has it in a header.
fn percent_encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
