//! Replies of a server (RFC 5321 section 4.2).

use std::fmt::{self, Write as _};

use memchr::memchr;

/// The longest reply that is read, in bytes.
pub(super) const REPLY_LIMIT_BYTES: usize = 64 * 1024;

/// What of a reply's text goes into a reason, in characters.
const TEXT_LIMIT_CHARS: usize = 400;

/// A whole reply: its code, and the text of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// The lines without their codes, with line feeds between them.
    text: String,
}

/// Bytes that are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Garbage;

impl Reply {
    /// Reads the reply at the start of `bytes`, and says how many of them it took; `None` if more
    /// are needed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Garbage> {
        let (mut at, mut text, mut first_code) = (0, String::new(), None);
        while let Some(length) = memchr(b'\n', &bytes[at..]) {
            let line = &bytes[at..at + length];
            at += length + 1;
            let (code, last, line) = parse_line(line.strip_suffix(b"\r").unwrap_or(line))?;
            if *first_code.get_or_insert(code) != code {
                return Err(Garbage);
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&String::from_utf8_lossy(line));
            if last {
                return Ok(Some((Self { code, text }, at)));
            }
        }
        if bytes.len() > REPLY_LIMIT_BYTES || !may_be_code(&bytes[at..]) {
            return Err(Garbage);
        }
        Ok(None)
    }

    /// Whether it says yes.
    pub(super) const fn is_positive(&self) -> bool {
        self.code / 100 == 2
    }

    /// Whether it says no: for now (4yz), or for good (5yz).
    pub(super) const fn is_negative(&self) -> bool {
        matches!(self.code / 100, 4 | 5)
    }

    /// The text of its lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }
}

/// Code and text on one line, without control characters, and not too long.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if self.text.is_empty() {
            return Ok(());
        }
        f.write_char(' ')?;
        let end = self.text.char_indices().nth(TEXT_LIMIT_CHARS).map_or(self.text.len(), |it| it.0);
        let mut pieces = self.text[..end].split(char::is_control);
        f.write_str(pieces.next().unwrap_or_default())?;
        pieces.try_for_each(|piece| write!(f, " {piece}"))
    }
}

/// The code, whether it is the last line, and the text.
fn parse_line(line: &[u8]) -> Result<(u16, bool, &[u8]), Garbage> {
    let (code, rest) = line.split_at_checked(3).ok_or(Garbage)?;
    if !may_be_code(code) {
        return Err(Garbage);
    }
    let code = code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest {
        [] => Ok((code, true, rest)),
        [b' ', text @ ..] => Ok((code, true, text)),
        [b'-', text @ ..] => Ok((code, false, text)),
        _ => Err(Garbage),
    }
}

/// Whether what stands there begins as a code does: `[2-5][0-9][0-9]`.
fn may_be_code(bytes: &[u8]) -> bool {
    let mut digits = bytes.iter().take(3);
    digits.next().is_none_or(|first| (b'2'..=b'5').contains(first))
        && digits.all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::{Garbage, REPLY_LIMIT_BYTES, Reply};

    fn parse(bytes: &[u8]) -> Result<Option<(u16, String, usize)>, Garbage> {
        Ok(Reply::parse(bytes)?.map(|(reply, length)| (reply.code, reply.text, length)))
    }

    #[test]
    fn replies_of_one_line_and_of_many_are_read() {
        assert_eq!(parse(b"250 ok\r\n"), Ok(Some((250, "ok".into(), 8))));
        assert_eq!(parse(b"250\r\n"), Ok(Some((250, String::new(), 5))));
        assert_eq!(parse(b"250 a\r\n354 b\r\n"), Ok(Some((250, "a".into(), 7))));
        assert_eq!(parse(b"250-a\r\n250-b\r\n250 c\r\n"), Ok(Some((250, "a\nb\nc".into(), 21))));
        assert_eq!(parse(b"250 ok\n"), Ok(Some((250, "ok".into(), 7))));
    }

    #[test]
    fn every_prefix_of_a_reply_is_incomplete() {
        let reply = b"250-first\r\n250-second\r\n250 third\r\n";
        for length in 0..reply.len() {
            assert_eq!(parse(&reply[..length]), Ok(None), "{length}");
        }
    }

    #[test]
    fn garbage_is_found_early() {
        for bytes in [
            &b"HTTP/1.1 400"[..],
            b"25x ok\r\n",
            b"25\r\n",
            b"250_ok\r\n",
            b"650 ok\r\n",
            b"150 ok\r\n",
            b"250-a\r\n251 b\r\n",
            b"250-a\r\nx",
            b"\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(parse(bytes), Err(Garbage), "{bytes:?}");
        }
        assert_eq!(parse(&b"250-x\r\n".repeat(REPLY_LIMIT_BYTES / 7 + 1)), Err(Garbage));
    }

    #[test]
    fn what_is_shown_has_one_line_and_an_end() {
        let (reply, _) = Reply::parse(b"550-5.1.1 no\r\n550 \x1b[31msuch\r\n").unwrap().unwrap();
        assert_eq!(reply.to_string(), "550 5.1.1 no  [31msuch");
        let long = [b"550 ", &b"x".repeat(5000)[..], b"\r\n"].concat();
        assert_eq!(Reply::parse(&long).unwrap().unwrap().0.to_string().len(), 404);
    }
}
