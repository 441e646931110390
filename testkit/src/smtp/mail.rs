//! A mail that the server has accepted.

use bytes::Bytes;
use mail_parser::{Message, MessageParser};

/// A mail with its envelope, as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The server's count of accepted mails, from 1.
    pub number: u64,
    /// The server's count of connections, from 1.
    pub connection: u64,
    /// The argument of EHLO or HELO.
    pub client: String,
    /// The address of MAIL; empty for the null sender.
    pub sender: String,
    /// The parameters of MAIL, each as it was sent.
    pub parameters: Vec<String>,
    /// The addresses of RCPT that were accepted, in order, with repetitions.
    pub recipients: Vec<String>,
    /// The octets between DATA and the final dot, with the stuffed dots taken out. The CRLF before
    /// the final dot belongs to them.
    pub raw: Bytes,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The user that had logged in.
    pub login: Option<String>,
}

impl Mail {
    /// Headers and body, parsed; `None` where there is not even a header.
    #[must_use]
    pub fn parsed(&self) -> Option<Message<'_>> {
        MessageParser::default().parse(&self.raw[..])
    }

    /// The first header of this name (in any case), decoded to text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let message = MessageParser::default().parse_headers(&self.raw[..])?;
        let header = message.header(name)?;
        header.as_text().map(str::to_owned).or_else(|| {
            let raw = message.header_raw(name)?;
            Some(raw.trim().to_owned())
        })
    }

    /// The subject, decoded.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        MessageParser::default().parse_headers(&self.raw[..])?.subject().map(str::to_owned)
    }

    /// The text of the body, decoded from its transfer encoding and charset.
    #[must_use]
    pub fn text(&self) -> Option<String> {
        self.parsed()?.body_text(0).map(std::borrow::Cow::into_owned)
    }

    /// The value of the header `Message-ID` without its angle brackets.
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        message_id(&self.raw)
    }
}

/// Finds the Message-ID without parsing the mail: it is looked up for every mail of a throughput
/// run. A folded header is unfolded only at its start, which is where mailers fold it.
fn message_id(raw: &[u8]) -> Option<&str> {
    const NAME: &[u8] = b"message-id:";
    let mut lines = raw.split(|octet| *octet == b'\n').map(<[u8]>::trim_ascii_end);
    while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
        if line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            let mut value = line[NAME.len()..].trim_ascii();
            if value.is_empty() {
                value = lines.next().filter(|next| next.starts_with(b" "))?.trim_ascii();
            }
            let value = std::str::from_utf8(value).ok()?;
            return Some(value.trim_start_matches('<').trim_end_matches('>'));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_id_is_found_in_the_headers_only() {
        assert_eq!(message_id(b"Subject: x\r\nmessage-ID: <1@a>\r\n\r\nbody"), Some("1@a"));
        assert_eq!(message_id(b"Message-ID:\r\n <1@a>\r\n\r\nbody"), Some("1@a"));
        assert_eq!(message_id(b"Subject: x\r\n\r\nMessage-ID: <1@a>\r\n"), None);
        assert_eq!(message_id(b""), None);
    }
}
