//! The fate that the contract gives a line, and the mail that comes of it.

use crate::addresses::ADDRESSES;
use crate::dates::{DATES, RECORD_TIMESTAMP_SECONDS};
use crate::json::{self, Node, Value};

pub(crate) const MIB: usize = 1 << 20;
pub(crate) const MAIL_FROM: &str = "mailjob@example.com";
const LEVELS: usize = 128;
const SUBJECT_LIMIT_BYTES: usize = 32 * 1024;

/// What becomes of a line.
#[derive(Debug)]
pub(crate) enum Fate {
    DeadLetter,
    Skipped,
    /// It has a result: with `Status` 4 where there is a mail, else 5.
    Result(Box<Done>),
}

/// A job that was run.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) id: String,
    pub(crate) schedule_time: Option<String>,
    /// The value of the result.
    pub(crate) value: String,
    pub(crate) mail: Option<Mail>,
}

/// What a reader of a mail sees; the date is in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) reply_to: Option<String>,
    pub(crate) to: String,
    pub(crate) subject: String,
    pub(crate) date: i64,
    pub(crate) text: String,
}

/// The fate of a line, without its line feed.
pub(crate) fn fate(line: &[u8]) -> Fate {
    judge(line).unwrap_or(Fate::DeadLetter)
}

/// `None` is a dead letter.
fn judge(line: &[u8]) -> Option<Fate> {
    let text = std::str::from_utf8(line).ok().filter(|text| text.len() <= MIB)?;
    let Value::Object(fields) = json::parse(text, LEVELS)?.value else { return None };
    let one = |name| match all(&fields, name)[..] {
        [] => Some(None),
        [node] => Some(Some(node)),
        _ => None,
    };
    let raw = |node: &Node| &text[node.at.clone()];
    let (id, status, kind, data) = (one("Id")??, one("Status")??, one("JobType")?, one("JobData")?);
    let Value::String(Some(id)) = &id.value else { return None };
    let status_number = ["0", "1", "2", "3", "4", "5"].iter().position(|n| *n == raw(status));
    let status_number = if raw(status) == "-0" { Some(0) } else { status_number };
    let status_number = status_number.filter(|_| !id.is_empty())?;
    let kind = kind.map_or("null", raw);
    if kind != "null" && !is_integer(kind) {
        return None;
    }
    if [0, 4, 5].contains(&status_number) || !["null", "0", "-0"].contains(&kind) {
        return Some(Fate::Skipped);
    }
    let last = |name| match all(&fields, name).last().map(|node| &node.value) {
        Some(Value::String(text)) => text.clone(),
        _ => None,
    };
    let schedule_time = last("ScheduleTime");
    let mail = data.and_then(|data| mail(data, [schedule_time.clone(), last("CreatedAt")]));
    let (before, behind) = (&text[..status.at.start], &text[status.at.end..]);
    let value = format!("{before}{}{behind}", if mail.is_some() { 4 } else { 5 });
    Some(Fate::Result(Box::new(Done { id: id.clone(), schedule_time, value, mail })))
}

fn all<'a>(fields: &'a [(Option<String>, Node)], name: &str) -> Vec<&'a Node> {
    fields.iter().filter(|(n, _)| n.as_deref() == Some(name)).map(|(_, node)| node).collect()
}

fn is_integer(raw: &str) -> bool {
    raw.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit())
}

/// `None` if the data can't be used.
fn mail(data: &Node, times: [Option<String>; 2]) -> Option<Mail> {
    let inner;
    let object = match &data.value {
        Value::String(Some(text)) => {
            inner = json::parse(text, usize::MAX)?;
            &inner.value
        }
        value => value,
    };
    let Value::Object(fields) = object else { return None };
    let text = |name| match &all(fields, name).last()?.value {
        Value::String(Some(text)) => Some(text.clone()),
        _ => None,
    };
    let source = address(&text("SourceAddress")?)?;
    let to = address(&text("DestinationAddress")?)?;
    let (subject, text) = (text("Subject")?, text("Message")?);
    if subject.len() > SUBJECT_LIMIT_BYTES || subject.bytes().any(|b| b < 32 || b == 127) {
        return None;
    }
    let is_allowed = source.to_lowercase().ends_with("@example.com");
    let (from, reply_to) =
        if is_allowed { (source, None) } else { (MAIL_FROM.into(), Some(source)) };
    let date = times.into_iter().flatten().find_map(|time| date(&time));
    let date = date.unwrap_or(RECORD_TIMESTAMP_SECONDS);
    Some(Mail { from, reply_to, to, subject, date, text: lines_end_in_crlf(&text) })
}

/// An address as it stands in a mail. Both tables are written by hand: the model knows only what is
/// in them, and what is plain to see.
fn address(text: &str) -> Option<String> {
    if let Some((_, sent)) = ADDRESSES.iter().find(|(given, _)| *given == text) {
        return sent.map(str::to_owned);
    }
    let is_plain =
        |part: &str| (1..=60).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_lowercase());
    let (local, domain) = text.split_once('@')?;
    let (name, top) = domain.split_once('.')?;
    [local, name, top].into_iter().all(is_plain).then(|| text.to_owned())
}

fn date(text: &str) -> Option<i64> {
    DATES.iter().find(|(given, _)| *given == text).and_then(|(_, seconds)| *seconds)
}

pub(crate) fn lines_end_in_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}
