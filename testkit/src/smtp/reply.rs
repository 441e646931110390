//! Replies (RFC 5321 section 4.2), with the enhanced status codes of RFC 2034.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

/// A reply of the server: a code, an enhanced status code where there is one, and a text whose
/// line feeds separate the lines of a multi-line reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    enhanced: Option<&'static str>,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced status code, which is left out where the extension is off.
    pub(super) const fn new(code: u16, enhanced: &'static str, text: &'static str) -> Self {
        Self { code, enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// A reply that never has an enhanced status code: the greeting, EHLO, 3xx, and scripted ones,
    /// whose text is sent as it is.
    pub(super) fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    pub(super) fn code(&self) -> u16 {
        self.code
    }

    /// True for 2xx and 3xx.
    pub(super) fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Appends the reply as it goes over the wire.
    pub(super) fn encode(&self, enhanced: bool, out: &mut BytesMut) {
        let status = self.enhanced.filter(|_| enhanced);
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            let digits = [self.code / 100 % 10, self.code / 10 % 10, self.code % 10];
            out.put_slice(&digits.map(|digit| b'0' + digit.to_le_bytes()[0]));
            out.put_u8(separator as u8);
            if let Some(status) = status {
                out.put_slice(status.as_bytes());
                out.put_u8(b' ');
            }
            out.put_slice(line.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(reply: &Reply, enhanced: bool) -> String {
        let mut out = BytesMut::new();
        reply.encode(enhanced, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn every_line_but_the_last_has_a_hyphen() {
        let reply = Reply::plain(250, "mx.test\nSIZE 10\nPIPELINING");
        assert_eq!(encoded(&reply, true), "250-mx.test\r\n250-SIZE 10\r\n250 PIPELINING\r\n");
    }

    #[test]
    fn the_enhanced_status_code_goes_only_where_it_was_offered() {
        let reply = Reply::new(550, "5.1.1", "no such user");
        assert_eq!(encoded(&reply, true), "550 5.1.1 no such user\r\n");
        assert_eq!(encoded(&reply, false), "550 no such user\r\n");
    }
}
