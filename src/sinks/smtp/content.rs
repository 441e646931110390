//! What a mail says: its text, HTML and files, as lettre's parts.
//!
//! ```text
//! mixed ─┬─ alternative ─┬─ text
//!        │               └─ related ─┬─ HTML
//!        │                           └─ files that it shows
//!        └─ files
//! ```
//!
//! A container that would have one part is left out. Text and HTML are quoted-printable or base64
//! there, and files base64. None of them has a line that begins with `--=_`, so that no job can
//! write a boundary, which begins so (RFC 2045 section 6.7).

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, MultiPart, SinglePart};
use memchr::{memchr, memchr2};

use crate::job::JobData;
use crate::sinks::JobError;

use super::attachment::File;
use super::text_of_html::text_of;

/// What stands behind the header fields that are the mail's own.
#[derive(Debug)]
pub(super) enum Content {
    /// Plain text alone.
    Text(Body),
    /// Header fields of a container, each with its CRLF, and its body.
    Parts { headers: String, body: Vec<u8> },
}

impl Content {
    /// The content of a job's mail. The name is one that the mail alone has, of hexadecimal digits.
    ///
    /// # Errors
    /// Permanent, if a file can't be sent as it is. The reason shows nothing of the job.
    pub(super) fn of(data: &JobData, name: &str) -> Result<Self, JobError> {
        if data.html.is_none() && data.attachments.is_empty() {
            return Ok(Self::Text(text_body(&data.message)));
        }
        let files = File::all(&data.attachments)?;
        let whole = match &data.html {
            Some(html) => with_html(&data.message, html, files, name),
            None => {
                let text = part(ContentType::TEXT_PLAIN, &data.message);
                with_files(container("mixed", name).singlepart(text), files)
            }
        };
        let headers = whole.headers().to_string();
        let mut body = whole.formatted();
        body.drain(..headers.len() + "\r\n".len());
        Ok(Self::Parts { headers, body })
    }

    /// Writes its header fields, each with its CRLF.
    pub(super) fn write_headers(&self, head: &mut String) {
        match self {
            Self::Text(body) => {
                let encoding = body.encoding().to_string();
                head.push_str("Content-Type: text/plain; charset=utf-8\r\n");
                head.extend(["Content-Transfer-Encoding: ", &encoding, "\r\n"]);
            }
            Self::Parts { headers, .. } => head.push_str(headers),
        }
    }

    /// What stands behind the header fields and the empty line.
    pub(super) fn body(&self) -> &[u8] {
        match self {
            Self::Text(body) => body.as_ref(),
            Self::Parts { body, .. } => body,
        }
    }
}

/// An empty text is made from the HTML.
fn with_html(message: &str, html: &str, files: Vec<File<'_>>, name: &str) -> MultiPart {
    let text = match message {
        "" => part(ContentType::TEXT_PLAIN, &text_of(html)),
        message => part(ContentType::TEXT_PLAIN, message),
    };
    let html = part(ContentType::TEXT_HTML, html);
    let (shown, attached): (Vec<_>, Vec<_>) = files.into_iter().partition(File::is_inline);
    let both = container("alternative", name).singlepart(text);
    let both = if shown.is_empty() {
        both.singlepart(html)
    } else {
        both.multipart(with_files(container("related", name).singlepart(html), shown))
    };
    if attached.is_empty() {
        return both;
    }
    with_files(container("mixed", name).multipart(both), attached)
}

fn with_files(container: MultiPart, files: Vec<File<'_>>) -> MultiPart {
    files.into_iter().fold(container, |container, file| container.singlepart(file.into_part()))
}

/// An empty container, whose boundary is a function of the mail's name. The root of related parts
/// says its type (RFC 2387).
fn container(kind: &str, name: &str) -> MultiPart {
    let of = if kind == "related" { " type=\"text/html\";" } else { "" };
    let (begin, end) = (format!("multipart/{kind};{of}"), format!(" boundary=\"=_{name}_{kind}\""));
    let content_type = HeaderValue::dangerous_new_pre_encoded(
        const { HeaderName::new_from_ascii_str("Content-Type") },
        format!("{begin}{end}"),
        format!("{begin}\r\n{end}"),
    );
    let mut container = MultiPart::builder().build();
    container.headers_mut().insert_raw(content_type);
    container
}

/// Text or HTML among other parts.
fn part(content_type: ContentType, text: &str) -> SinglePart {
    let body = text_body(text);
    let body = match body.encoding() {
        ContentTransferEncoding::SevenBit => {
            Body::new_with_encoding(body.into_vec(), ContentTransferEncoding::QuotedPrintable)
                .unwrap_or_else(|_| unreachable!("anything can be encoded as quoted-printable"))
        }
        _ => body,
    };
    SinglePart::builder().header(content_type).body(body)
}

/// The text with every CR, LF and CRLF as CRLF, in an encoding that brings it over unchanged
/// whatever the server offers: 7bit, quoted-printable or base64.
fn text_body(text: &str) -> Body {
    let lines = with_crlf(text);
    if memchr(0, lines.as_bytes()).is_some() {
        // lettre would pass it on as 7bit.
        Body::new_with_encoding(lines, ContentTransferEncoding::Base64)
            .unwrap_or_else(|_| unreachable!("anything can be encoded as base64"))
    } else if lines.is_ascii() {
        // As bytes: of a string, lettre looks for line ends again.
        Body::new(lines.into_bytes())
    } else {
        Body::new(lines)
    }
}

fn with_crlf(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + 64);
    let mut rest = text;
    while let Some(end) = memchr2(b'\r', b'\n', rest.as_bytes()) {
        lines.push_str(&rest[..end]);
        lines.push_str("\r\n");
        let length = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = &rest[end + length..];
    }
    lines.push_str(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::with_crlf;

    #[test]
    fn every_kind_of_line_end_becomes_crlf() {
        assert_eq!(with_crlf("a\rb\nc\r\nd\n\re\r\r\n"), "a\r\nb\r\nc\r\nd\r\n\r\ne\r\n\r\n");
    }
}
