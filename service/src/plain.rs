//! Text from outside, as a terminal and a reader of lines may have it.

#[cfg(any(test, feature = "kafka"))]
use std::fmt::Write as _;

/// Whether a character is shown as itself and does nothing else: it is no control character
/// (U+0000-1F, U+007F-9F), separates neither lines nor paragraphs (U+2028, U+2029), and does not
/// turn the text around it (the bidirectional controls of Unicode's annex 9).
pub const fn is_plain(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
    )
}

/// The text with every character that is not plain escaped, as `\n` or `\u{9b}`.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match is_plain(c) {
            true => line.push(c),
            false => line.extend(c.escape_default()),
        }
    }
    line
}

/// The text as a string of JSON, in quotes, with every character that is not plain escaped.
#[cfg(any(test, feature = "kafka"))]
pub(crate) fn json_line(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    let mut line = String::with_capacity(json.len());
    for c in json.chars() {
        match is_plain(c) {
            true => line.push(c),
            // A String takes all that is written to it. Characters that are not plain have 16 bits.
            false => _ = write!(line, "\\u{:04x}", u32::from(c)),
        }
    }
    line
}

/// A server's words without whom they are about.
pub fn without_addresses(text: &str) -> String {
    let word = |word| if str::contains(word, '@') { "[address]" } else { word };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// General category Cc, and the properties White_Space of lines and paragraphs and
    /// Bidi_Control.
    const NOT_PLAIN: [char; 17] = [
        '\0', '\n', '\u{1b}', '\u{7f}', '\u{80}', '\u{9b}', '\u{9f}', '\u{61c}', '\u{200e}',
        '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2068}',
        '\u{2069}',
    ];

    #[test]
    fn what_is_not_plain_is_escaped_and_all_else_is_as_it_was() {
        for c in NOT_PLAIN {
            let escaped = one_line(&format!("a{c}b"));
            assert!(escaped.starts_with("a\\") && escaped.ends_with('b'), "{escaped}");
            assert!(escaped.is_ascii() && escaped.chars().all(is_plain), "{escaped}");
        }
        assert_eq!(one_line("\u{9b}31m\n\u{202e}"), r"\u{9b}31m\n\u{202e}");
        let plain = "Zoë 日本 \u{a0}\u{ad}\u{200d}😀\"\\";
        assert_eq!(one_line(plain), plain);
        assert!(
            (0..=u32::from(char::MAX))
                .filter_map(char::from_u32)
                .all(|c| { !c.is_control() || !is_plain(c) })
        );
    }

    #[test]
    fn addresses_are_taken_out_of_a_servers_words() {
        let text = without_addresses("RCPT: 421 4.7.0 <a@b.example>: try\nlater");
        assert_eq!(text, "RCPT: 421 4.7.0 [address] try later");
    }

    #[test]
    fn a_string_of_json_says_the_same_in_plain_characters() {
        let text: String = NOT_PLAIN.iter().chain(&['ö', '"', '\\', '😀']).collect();
        let json = json_line(&text);
        assert!(json.chars().all(is_plain), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }
}
