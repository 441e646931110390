//! The canonical form `relaxed` of header fields and bodies (RFC 6376 sections 3.4.2 and 3.4.4).

use memchr::memchr;

/// Name and value of each header field, the value as it is folded, without its CRLF.
pub(super) fn fields(head: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = head;
    std::iter::from_fn(move || {
        let mut end = 0;
        loop {
            end += rest[end..].find("\r\n")?;
            if !rest[end + 2..].starts_with([' ', '\t']) {
                break;
            }
            end += 2;
        }
        let (field, behind) = (&rest[..end], &rest[end + 2..]);
        rest = behind;
        field.split_once(':')
    })
}

/// Writes a header field without its CRLF.
pub(super) fn write_field(canonical: &mut String, name: &str, value: &str) {
    canonical.extend(name.chars().map(|c| c.to_ascii_lowercase()));
    canonical.push(':');
    let words = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    for (index, word) in words.enumerate() {
        if index > 0 {
            canonical.push(' ');
        }
        canonical.push_str(word);
    }
}

/// A body: no space at the end of a line, one where there are several, no empty line at the end.
pub(super) fn body(body: &[u8]) -> Vec<u8> {
    let mut canonical = Vec::with_capacity(body.len() + 2);
    // Line ends that count only once something follows.
    let mut line_ends = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let (line, behind) = match memchr(b'\n', rest) {
            Some(at) => (rest[..at].strip_suffix(b"\r").unwrap_or(&rest[..at]), &rest[at + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = behind;
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let kept = line.iter().rposition(|byte| !is_space(byte)).map_or(0, |at| at + 1);
        if kept > 0 {
            canonical.extend(std::iter::repeat_n(*b"\r\n", line_ends).flatten());
            line_ends = 0;
            write_line(&mut canonical, &line[..kept]);
        }
        line_ends += 1;
    }
    if !canonical.is_empty() {
        canonical.extend_from_slice(b"\r\n");
    }
    canonical
}

/// Writes a line with one space for each run of spaces and tabs.
fn write_line(canonical: &mut Vec<u8>, line: &[u8]) {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t');
    if !line.contains(&b'\t') && !line.windows(2).any(|pair| pair == b"  ") {
        canonical.extend_from_slice(line);
        return;
    }
    let mut before = 0;
    for &byte in line {
        match (is_space(byte), is_space(before)) {
            (true, true) => {}
            (true, false) => canonical.push(b' '),
            (false, _) => canonical.push(byte),
        }
        before = byte;
    }
}

#[cfg(test)]
mod tests {
    use super::{body, fields, write_field};

    #[test]
    fn the_examples_of_rfc_6376_section_3_4_5_are_canonical_as_it_says() {
        let mut canonical = String::new();
        for (name, value) in fields("A: X\r\nB : Y\t\r\n\tZ  \r\n") {
            write_field(&mut canonical, name.trim_end(), value);
            canonical.push_str("\r\n");
        }
        assert_eq!(canonical, "a:X\r\nb:Y Z\r\n");
        assert_eq!(body(b" C \r\nD \t E\r\n\r\n\r\n"), b" C\r\nD E\r\n");
    }

    #[test]
    fn a_body_ends_with_one_line_end_and_an_empty_one_is_empty() {
        for (given, expected) in [
            ("", ""),
            ("\r\n", ""),
            (" \t\r\n\r\n", ""),
            ("a", "a\r\n"),
            ("a\r\n \r\nb", "a\r\n\r\nb\r\n"),
            ("\r\n\r\na\r\n\r\n", "\r\n\r\na\r\n"),
            ("\ta\t\t b", " a b\r\n"),
        ] {
            assert_eq!(body(given.as_bytes()), expected.as_bytes(), "{given:?}");
        }
    }
}
