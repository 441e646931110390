//! Subjects, as they go into a header.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The longest subject, in bytes: encoded it stays below the 102,400 bytes of headers that Postfix
/// takes (`header_size_limit`).
pub const SUBJECT_LIMIT_BYTES: usize = 32 * 1024;

/// The most octets of a line that holds encoded words (RFC 2047 section 2).
const LINE_OCTETS: usize = 76;

/// The bytes in one encoded word, which makes 72 octets of it.
const WORD_BYTES: usize = 45;

/// The bytes in the first one, which stands behind `Subject: `.
const FIRST_WORD_BYTES: usize = 39;

/// The subject as the value of a header `Subject`, folded: as it is if every reader gives it back
/// unchanged, else as encoded words (RFC 2047), so that what is read equals `subject`.
pub(super) fn encode(subject: &str) -> String {
    if is_plain(subject) { fold(subject) } else { encoded_words(subject) }
}

/// Whether no reader decodes, trims or joins anything in it.
fn is_plain(subject: &str) -> bool {
    subject.bytes().all(|b| (b' '..=b'~').contains(&b))
        && !subject.contains("=?")
        && !subject.contains("  ")
        && subject == subject.trim()
        && subject.split(' ').all(|word| word.len() < LINE_OCTETS - "Subject: ".len())
}

fn fold(subject: &str) -> String {
    let mut folded = String::with_capacity(subject.len() + 8);
    let mut column = "Subject:".len();
    for word in subject.split(' ') {
        if column + 1 + word.len() > LINE_OCTETS {
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

fn encoded_words(subject: &str) -> String {
    let mut words = String::with_capacity(subject.len() * 2);
    let mut rest = subject;
    while !rest.is_empty() {
        let (limit, separator) =
            if words.is_empty() { (FIRST_WORD_BYTES, "") } else { (WORD_BYTES, "\r\n ") };
        let (word, behind) = rest.split_at(rest.floor_char_boundary(limit));
        let _ = write!(words, "{separator}=?utf-8?b?{}?=", STANDARD.encode(word));
        rest = behind;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::encode;

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
            &"x".repeat(100),
            "a\r\nBcc: b",
        ] {
            let encoded = encode(subject);
            assert!(encoded.starts_with("=?utf-8?b?"), "{subject:?} became {encoded:?}");
            assert!(encoded.split("\r\n ").all(|word| word.ends_with("?=")));
            assert!(format!("Subject: {encoded}").split("\r\n").all(|line| line.len() <= 76));
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
