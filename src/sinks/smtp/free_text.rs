//! Values of header fields that hold free text, encoded and folded.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest subject, in bytes: encoded it stays below the 102,400 bytes of headers that Postfix
/// takes (`header_size_limit`), together with the other headers of a job.
pub const SUBJECT_LIMIT_BYTES: usize = 32 * 1024;

/// The most octets of a line that holds encoded words (RFC 2047 section 2).
pub(super) const LINE_OCTETS: usize = 76;

/// The longest line of a mail, in octets, without its CRLF (RFC 5322 section 2.1.1).
pub(super) const LINE_LIMIT_OCTETS: usize = 998;

/// The octets of an encoded word beside its text.
const WORD_OCTETS: usize = "=?utf-8?b??=".len();

/// The fewest bytes of text in the first encoded word. It stands beside the name, however long that is:
/// readers take the line end for white space if nothing does.
const WORD_BYTES_MIN: usize = 6;

/// The text as the value of a header of that name, folded: as it is if every reader gives it back
/// unchanged, else as encoded words (RFC 2047), so that what is read equals `text`.
pub(super) fn encode(name: &str, text: &str) -> String {
    if is_plain(name, text) { fold(name, text) } else { encoded_words(name, text) }
}

/// Whether no reader decodes, trims or joins anything in it.
fn is_plain(name: &str, text: &str) -> bool {
    let (first, column) = (text.split(' ').next(), name.len() + ": ".len());
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && !text.contains("=?")
        && !text.contains("  ")
        && text == text.trim()
        && first.is_none_or(|word| column + word.len() <= LINE_LIMIT_OCTETS)
        && text.split(' ').all(|word| " ".len() + word.len() <= LINE_LIMIT_OCTETS)
}

fn fold(name: &str, text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 8);
    let mut column = name.len() + ":".len();
    for word in text.split(' ') {
        if column + 1 + word.len() > LINE_OCTETS && !folded.is_empty() {
            folded.push_str("\r\n");
            column = 0;
        }
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.push_str(word);
        column += 1 + word.len();
    }
    folded
}

fn encoded_words(name: &str, text: &str) -> String {
    let mut words = String::with_capacity(text.len() * 2);
    let mut rest = text;
    let mut limit = word_bytes(name.len() + ": ".len()).max(WORD_BYTES_MIN);
    while !rest.is_empty() {
        let (word, behind) = rest.split_at(rest.floor_char_boundary(limit));
        let _ = write!(words, "=?utf-8?b?{}?=", STANDARD.encode(word));
        rest = behind;
        if !rest.is_empty() {
            words.push_str("\r\n ");
        }
        limit = word_bytes(1);
    }
    words
}

/// The bytes of text that fit into an encoded word which begins in that column.
fn word_bytes(column: usize) -> usize {
    LINE_OCTETS.saturating_sub(column + WORD_OCTETS) / 4 * 3
}

#[cfg(test)]
mod tests {
    fn encode(subject: &str) -> String {
        super::encode("Subject", subject)
    }

    #[test]
    fn a_plain_subject_stays_as_it_is() {
        assert_eq!(encode(""), "");
        assert_eq!(encode("Your order: 50% off!"), "Your order: 50% off!");
    }

    #[test]
    fn a_long_plain_subject_is_folded_at_its_spaces() {
        let subject = ["word"; 40].join(" ");
        let folded = encode(&subject);
        assert_eq!(folded.replace("\r\n", ""), subject);
        assert!(format!("Subject: {folded}").split("\r\n").all(|line| line.len() <= 76));
        assert!(folded.contains("\r\n "));
    }

    #[test]
    fn what_a_reader_would_change_is_encoded() {
        for subject in [
            " x",
            "subject ",
            "a  b",
            "=?utf-8?q?x?=",
            "caf\u{e9}",
            "x\ty",
            " ",
            &"x".repeat(990),
            "a\r\nBcc: b",
        ] {
            let encoded = encode(subject);
            assert!(encoded.starts_with("=?utf-8?b?"), "{subject:?} became {encoded:?}");
            assert!(encoded.split("\r\n ").all(|word| word.ends_with("?=")));
            assert!(format!("Subject: {encoded}").split("\r\n").all(|line| line.len() <= 76));
        }
    }

    #[test]
    fn a_long_word_stays_as_it_is_while_its_line_may_be_so_long() {
        let longest = "x".repeat(998 - "Subject: ".len());
        assert_eq!(encode(&longest), longest);
        let behind = "y".repeat(997);
        assert_eq!(encode(&format!("a {behind}")), format!("a\r\n {behind}"));
        for too_long in [format!("{longest}x"), format!("a {behind}y")] {
            assert!(encode(&too_long).starts_with("=?utf-8?b?"));
        }
    }

    /// Python's email reads a value that begins behind a line end with a blank before it.
    #[test]
    fn a_value_begins_beside_its_name() {
        for octets in 1..=76 {
            for text in ["\u{1f355}\u{1f355}", &"\u{e4}".repeat(90), "b ", &"c".repeat(90), "d e"] {
                let value = super::encode(&"X".repeat(octets), text);
                assert!(!value.starts_with(['\r', ' ']), "{octets}: {value:?}");
                assert!(value.split("\r\n").skip(1).all(|line| line.len() <= 76), "{value:?}");
            }
        }
    }

    #[test]
    fn characters_are_never_split_between_words() {
        let encoded = encode(&"\u{1f355}".repeat(100));
        for word in encoded.split("\r\n ") {
            let base64 = word.trim_start_matches("=?utf-8?b?").trim_end_matches("?=");
            let bytes =
                base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
            assert!(String::from_utf8(bytes).is_ok());
        }
    }
}
