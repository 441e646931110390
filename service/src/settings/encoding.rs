//! How a text is encoded that is to be UTF-8.

/// A byte order mark, which some editors write before a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Names an encoding that is seen at the begin of these bytes and that is no plain UTF-8, if there
/// is one: UTF-16, or UTF-8 with a byte order mark before it.
pub(crate) fn foreign_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16 with a byte order mark"),
        // No text in UTF-8 has a NUL there.
        [0, _, ..] | [_, 0, ..] => Some("UTF-16"),
        [0xef, 0xbb, 0xbf, ..] => Some("a byte order mark (U+FEFF) before the text"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_utf_8_is_told_from_what_editors_write() {
        let in_utf_16 = |text: &str, of: fn(u16) -> [u8; 2]| {
            text.encode_utf16().flat_map(of).collect::<Vec<_>>()
        };
        for text in ["", "a", "pass word", "\u{e4}", "{\"Id\":\"\u{1f355}\"}"] {
            assert_eq!(foreign_encoding(text.as_bytes()), None, "{text}");
            let marked = format!("{BYTE_ORDER_MARK}{text}");
            assert!(foreign_encoding(marked.as_bytes()).is_some(), "{text}");
            for of in [u16::to_le_bytes, u16::to_be_bytes] {
                assert!(foreign_encoding(&in_utf_16(&marked, of)).is_some(), "{text}");
            }
        }
        for of in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(foreign_encoding(&in_utf_16("{}", of)), Some("UTF-16"));
        }
    }
}
