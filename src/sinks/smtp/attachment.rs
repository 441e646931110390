//! The files that go with a mail.

use std::collections::BTreeSet;
use std::error::Error;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::message::header::{
    ContentId, ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue,
};
use lettre::message::{Body, SinglePart};

use crate::job::Attachment;
use crate::sinks::JobError;

use super::address::check_character;
use super::free_text::LINE_OCTETS;

/// The longest name of a file, in bytes, which is what file systems take.
pub const FILE_NAME_LIMIT_BYTES: usize = 255;

/// The longest media type, with its parameters, and the longest content id, in octets.
const TYPE_LIMIT_OCTETS: usize = 255;

/// A file whose name, type and bytes can be sent.
#[derive(Debug)]
pub(super) struct File<'a> {
    name: &'a str,
    content_type: ContentType,
    content: Vec<u8>,
    content_id: Option<&'a str>,
}

impl<'a> File<'a> {
    /// All files of a job.
    ///
    /// # Errors
    /// Permanent, if one can't be sent as it is. The reason shows nothing of the job.
    pub(super) fn all(attachments: &'a [Attachment]) -> Result<Vec<Self>, JobError> {
        let mut ids = BTreeSet::new();
        let checked = |(index, attachment): (usize, &'a Attachment)| {
            let file = Self::of(attachment).and_then(|file| {
                let is_new = file.content_id.is_none_or(|id| ids.insert(id));
                let twice = "found that of another attachment, expected each once";
                if is_new { Ok(file) } else { Err(("ContentId", twice.to_owned())) }
            });
            file.map_err(|(field, fault)| {
                JobError::permanent(format!("Attachments[{index}].{field}: {fault}"))
            })
        };
        attachments.iter().enumerate().map(checked).collect()
    }

    fn of(attachment: &'a Attachment) -> Result<Self, (&'static str, String)> {
        let Attachment { name, content_type, content, content_id } = attachment;
        let content_id = content_id.as_deref();
        check_name(name).map_err(|fault| ("Name", fault))?;
        content_id.map_or(Ok(()), check_id).map_err(|fault| ("ContentId", fault))?;
        let content_type = media_type(content_type).map_err(|fault| ("ContentType", fault))?;
        // Its error repeats a character of what was given.
        let content = STANDARD.decode(content).map_err(|_| {
            let expected = "found something else, expected base64 with padding, without line ends";
            ("Content", expected.to_owned())
        })?;
        Ok(Self { name, content_type, content, content_id })
    }

    /// Whether the HTML may show it.
    pub(super) const fn is_inline(&self) -> bool {
        self.content_id.is_some()
    }

    /// The part of a mail that holds it, in base64.
    pub(super) fn into_part(self) -> SinglePart {
        let content = Body::new_with_encoding(self.content, ContentTransferEncoding::Base64)
            .unwrap_or_else(|_| unreachable!("anything can be encoded as base64"));
        let part = match self.content_id {
            Some(id) => SinglePart::builder()
                .header(ContentId::from(format!("<{id}>")))
                .header(Disposition::new("inline", self.name)),
            None => SinglePart::builder().header(Disposition::new("attachment", self.name)),
        };
        part.header(self.content_type).body(content)
    }
}

/// `Content-Disposition` with a file's name (RFC 2183, RFC 2231).
///
/// lettre's writes every name of printable ASCII as it is, and readers decode one that looks like
/// an encoded word.
#[derive(Clone)]
struct Disposition(HeaderValue);

impl Disposition {
    fn new(kind: &str, name: &str) -> Self {
        let parameter =
            if is_plain(name) { format!(" filename=\"{name}\"") } else { percent_encoded(name) };
        let (raw, encoded) = (kind.to_owned(), format!("{kind};\r\n{parameter}"));
        Self(HeaderValue::dangerous_new_pre_encoded(Self::name(), raw, encoded))
    }
}

impl Header for Disposition {
    fn name() -> HeaderName {
        const { HeaderName::new_from_ascii_str("Content-Disposition") }
    }

    fn parse(_: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Err("it is never read".into())
    }

    fn display(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Whether a name fits on a line and no reader sees more in it than its characters.
fn is_plain(name: &str) -> bool {
    name.len() < LINE_OCTETS - " filename=\"\"".len()
        && name.bytes().all(|b| (b' '..=b'~').contains(&b) && !matches!(b, b'"' | b'\\' | b'%'))
        && !name.contains("=?")
        && !name.contains("  ")
        && name == name.trim()
}

/// The name as parameters of RFC 2231, a line each.
fn percent_encoded(name: &str) -> String {
    let mut lines = " filename*0*=utf-8''".to_owned();
    let mut column = lines.len();
    let mut number = 0;
    for c in name.chars() {
        let mut bytes = [0; 4];
        let encoded: String = match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c.to_string(),
            _ => c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect(),
        };
        if column + encoded.len() + ";".len() > LINE_OCTETS {
            number += 1;
            let begin = format!(" filename*{number}*=");
            column = begin.len();
            lines.extend([";\r\n", &begin]);
        }
        column += encoded.len();
        lines.push_str(&encoded);
    }
    lines
}

fn check_name(name: &str) -> Result<(), String> {
    if matches!(name.trim(), "" | "." | "..") {
        return Err("found none, expected a file's name".to_owned());
    }
    // Readers end a line at the separators.
    if name.contains(['\u{2028}', '\u{2029}']) {
        return Err("found a line separator, expected none".to_owned());
    }
    name.chars().try_for_each(check_character).map_err(|error| error.to_string())?;
    if name.contains(['/', '\\']) {
        return Err("found / or \\, expected a file's name without a path".to_owned());
    }
    check_length(name, FILE_NAME_LIMIT_BYTES)
}

/// A `ContentId` without its angle brackets: what RFC 5322 has as an id, and what needs no
/// percent-encoding in a `cid:` URL.
fn check_id(id: &str) -> Result<(), String> {
    let is_allowed = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'.' | b'@' | b'-' | b'_' | b'+' | b'=' | b'$')
    };
    if id.is_empty() || !id.bytes().all(is_allowed) {
        let expected = "expected letters, digits and any of . @ - _ + = $, without angle brackets";
        return Err(format!("found another character, or none, {expected}"));
    }
    check_length(id, TYPE_LIMIT_OCTETS)
}

/// A media type. Not one of `multipart/*` and `message/*`, which can't be in base64 (RFC 2045
/// section 6.4).
fn media_type(text: &str) -> Result<ContentType, String> {
    check_length(text, TYPE_LIMIT_OCTETS)?;
    let expected = "expected a media type, such as application/pdf";
    if !text.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(format!("found a character beyond printable ASCII, {expected}"));
    }
    let kind = text.split('/').next().unwrap_or_default();
    if ["multipart", "message"].iter().any(|composite| kind.eq_ignore_ascii_case(composite)) {
        return Err(format!("found a composite type (RFC 2045 section 6.4), {expected}"));
    }
    let essence = text.split(';').next().unwrap_or_default();
    let is_whole = essence.split('/').all(|half| !half.trim().is_empty()) && !essence.contains('*');
    check_parameters(text)?;
    match ContentType::parse(text) {
        Ok(content_type) if is_whole => Ok(content_type),
        _ => Err(format!("found none, {expected}")),
    }
}

/// Each parameter of a media type once, and no name of a file, which `Name` says.
fn check_parameters(text: &str) -> Result<(), String> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parameters = text.split(|c| {
        let ends = c == ';' && !is_quoted;
        is_quoted ^= c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let mut seen = BTreeSet::new();
    for parameter in parameters.skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, "\"\""));
        if value.trim().is_empty() {
            return Err("found a parameter without a value, expected one or \"\"".to_owned());
        }
        let name = name.trim().to_ascii_lowercase();
        // RFC 2231 continues a parameter as `name*0`.
        if name.split('*').next() == Some("name") {
            return Err("found the parameter name, expected a file's name in Name".to_owned());
        }
        if !name.is_empty() && !seen.insert(name) {
            return Err("found a parameter twice, expected each once".to_owned());
        }
    }
    Ok(())
}

fn check_length(text: &str, limit: usize) -> Result<(), String> {
    let found = text.len();
    if found > limit {
        Err(format!("found {found} bytes, expected at most {limit}"))
    } else {
        Ok(())
    }
}
