//! A mail, as it is shown.

use jobstream_testkit::smtp::Mail;
use mail_parser::MessageParser;
use serde::Serialize;

use super::mail_content::{FileLine, files, has_html};

/// A mail in the list.
#[derive(Debug, Serialize)]
pub(super) struct MailLine {
    number: u64,
    recipients: Vec<String>,
    from: String,
    subject: String,
    date: String,
    /// Which one of its `Message-ID`, from 1.
    copy: u64,
}

/// The envelope and the headers of a mail, and what else there is.
#[derive(Debug, Serialize)]
pub(super) struct MailHeaders {
    number: u64,
    sender: String,
    recipients: Vec<String>,
    /// Names and values in order, unfolded and otherwise as they came.
    headers: Vec<(String, String)>,
    /// Whether there is HTML.
    html: bool,
    files: Vec<FileLine>,
}

impl MailLine {
    pub(super) fn of(mail: &Mail, copy: u64) -> Self {
        let raw = |name: &str| mail.header(name).unwrap_or_default();
        Self {
            number: mail.number,
            recipients: mail.recipients.clone(),
            from: header(mail, "From").unwrap_or_else(|| mail.sender.clone()),
            subject: mail.subject().unwrap_or_default(),
            date: header(mail, "Date").unwrap_or_else(|| raw("Date")),
            copy,
        }
    }
}

impl MailHeaders {
    pub(super) fn of(mail: &Mail) -> Self {
        Self {
            number: mail.number,
            sender: mail.sender.clone(),
            recipients: mail.recipients.clone(),
            headers: headers(mail),
            html: has_html(mail),
            files: files(mail),
        }
    }
}

fn header(mail: &Mail, name: &str) -> Option<String> {
    let mut headers = headers(mail).into_iter();
    headers.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn headers(mail: &Mail) -> Vec<(String, String)> {
    let message = MessageParser::default().parse_headers(&mail.raw[..]);
    let Some(message) = message else { return Vec::new() };
    let unfold = |value: &str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    message.headers_raw().map(|(name, value)| (name.to_owned(), unfold(value))).collect()
}
