//! The header fields that a job brings itself: a short list of names.

use std::collections::BTreeSet;

use crate::sinks::JobError;

use super::free_text::{self, LINE_LIMIT_OCTETS, LINE_OCTETS};

/// The most header fields that a job may bring.
pub const HEADERS_LIMIT: usize = 64;

/// The most bytes of their names and values together.
pub const HEADERS_LIMIT_BYTES: usize = 32 * 1024;

/// The longest name of a header field, in octets.
const NAME_LIMIT_OCTETS: usize = 76;

/// The names beside `X-*`. Their values have a grammar, in which there are no encoded words (RFC
/// 2047 section 5).
const NAMES: [&str; 5] =
    ["List-Unsubscribe", "List-Unsubscribe-Post", "In-Reply-To", "References", "Importance"];

/// Writes them, encoded and folded, in their order.
///
/// # Errors
/// Permanent, if a name is not of the list or is repeated (in any case), or a value can't stand
/// behind it. The reason shows nothing of the job.
pub(super) fn write(head: &mut String, headers: &[(String, String)]) -> Result<(), JobError> {
    check_limits(headers)?;
    let mut seen = BTreeSet::new();
    for (index, (given, value)) in headers.iter().enumerate() {
        let listed = NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(given));
        let place =
            listed.map_or_else(|| format!("value {}", index + 1), |name| format!("`{name}`"));
        if !seen.insert(given.to_ascii_lowercase()) {
            let reason = format!("Headers: {place}: found its name twice, expected it once");
            return Err(JobError::permanent(reason));
        }
        let refused = |fault: &str| JobError::permanent(format!("Headers: {place}: {fault}"));
        if value.bytes().any(|b| b.is_ascii_control()) {
            return Err(refused("found a control character, expected none"));
        }
        let (name, value) = match listed {
            Some(name) => (name, folded(name, value).map_err(refused)?),
            None if is_ours_to_send(given) => (&**given, free_text::encode(given, value)),
            None => {
                let reason = format!(
                    "Headers: name {}: found one that is not allowed, expected {} or X- with \
                     letters, digits, - and _ behind it, of at most {NAME_LIMIT_OCTETS} octets",
                    index + 1,
                    NAMES.join(", ")
                );
                return Err(JobError::permanent(reason));
            }
        };
        head.extend([name, ": ", &value, "\r\n"]);
    }
    Ok(())
}

fn check_limits(headers: &[(String, String)]) -> Result<(), JobError> {
    let (found, limit) = (headers.len(), HEADERS_LIMIT);
    if found > limit {
        let reason = format!("Headers: found {found} of them, expected at most {limit}");
        return Err(JobError::permanent(reason));
    }
    let found: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if found > HEADERS_LIMIT_BYTES {
        let reason =
            format!("Headers: found {found} bytes, expected at most {HEADERS_LIMIT_BYTES}");
        return Err(JobError::permanent(reason));
    }
    Ok(())
}

/// Whether a name is one of `X-*`, of characters that need no thought in any reader or signature.
fn is_ours_to_send(name: &str) -> bool {
    let rest = name.strip_prefix(['X', 'x']).and_then(|name| name.strip_prefix('-'));
    let is_plain = |rest: &str| {
        !rest.is_empty()
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= NAME_LIMIT_OCTETS && rest.is_some_and(is_plain)
}

/// A value with a grammar, folded at its spaces, which are all kept.
fn folded(name: &str, value: &str) -> Result<String, &'static str> {
    if !value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err("found characters beyond ASCII, expected none");
    }
    if has_encoded_word(value) {
        return Err("found what readers take for an encoded word (RFC 2047), expected none");
    }
    let value = value.trim();
    if value.is_empty() {
        return Err("found nothing, expected a value");
    }
    let mut folded = String::with_capacity(value.len() + 16);
    let mut column = name.len() + ": ".len();
    let mut rest = value;
    while !rest.is_empty() {
        let word = rest.len() - rest.trim_start_matches(' ').len();
        let end = rest[word..].find(' ').map_or(rest.len(), |at| word + at);
        let (part, behind) = rest.split_at(end);
        if column + part.len() > LINE_OCTETS && !folded.is_empty() {
            folded.push_str("\r\n");
            column = 0;
        }
        column += part.len();
        if column > LINE_LIMIT_OCTETS {
            return Err("found a part without a space that is longer than a line of 998 octets");
        }
        folded.push_str(part);
        rest = behind;
    }
    Ok(folded)
}

/// Whether readers decode a part of a value: `=?CHARSET?ENCODING?TEXT?=`, which some look for within words,
/// and without a charset.
fn has_encoded_word(value: &str) -> bool {
    value.match_indices("=?").any(|(begin, mark)| {
        let word = &value[begin + mark.len()..];
        let encoded = word.split_once('?').map(|(_charset, rest)| rest);
        encoded.and_then(|rest| rest.split_once('?')).is_some_and(|(encoding, text)| {
            matches!(encoding, "q" | "Q" | "b" | "B") && text.contains("?=")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{HEADERS_LIMIT, write};

    fn written(headers: &[(&str, &str)]) -> Result<String, String> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (str::to_owned(name), str::to_owned(value)))
            .collect();
        let mut head = String::new();
        write(&mut head, &headers).map_err(|error| error.reason().to_owned())?;
        Ok(head)
    }

    #[test]
    fn a_value_with_a_grammar_is_folded_at_its_spaces_and_never_encoded() {
        let id = format!("<{}@example.com>", "x".repeat(60));
        let ids = [&*id, &id, &id].join("  ");
        assert_eq!(
            written(&[("references", &ids)]).unwrap(),
            format!("References: {id}\r\n  {id}\r\n  {id}\r\n")
        );
        for uri in ["<https://example.com/?a==?b>", "<https://example.com/?a=?b&c=?utf-8?bb?=>"] {
            let expected = format!("List-Unsubscribe: {uri}\r\n");
            assert_eq!(written(&[("List-Unsubscribe", uri)]).unwrap(), expected);
        }
    }

    #[test]
    fn a_value_of_an_x_header_is_encoded_where_readers_would_change_it() {
        assert_eq!(written(&[("X-Shop", "one two")]).unwrap(), "X-Shop: one two\r\n");
        assert_eq!(written(&[("x-Shop", "")]).unwrap(), "x-Shop: \r\n");
        assert_eq!(written(&[("X-Shop", "\u{fc}")]).unwrap(), "X-Shop: =?utf-8?b?w7w=?=\r\n");
        let long = format!("X-{}", "y".repeat(74));
        let head = written(&[(&long, "\u{fc}")]).unwrap();
        assert_eq!(head, format!("{long}: =?utf-8?b?w7w=?=\r\n"));
    }

    #[test]
    fn what_can_t_be_sent_is_refused_without_showing_it() {
        let many: Vec<_> = (0..=HEADERS_LIMIT).map(|number| format!("X-{number}")).collect();
        let many: Vec<_> = many.iter().map(|name| (&**name, "secret")).collect();
        let long = "secret".repeat(6000);
        let word = "secret".repeat(170);
        for (headers, expected) in [
            (vec![("Bcc", "secret")], "Headers: name 1: found one that is not allowed"),
            (vec![("X-", "secret")], "Headers: name 1"),
            (vec![("X-secret: y\r\nBcc", "secret")], "Headers: name 1"),
            (vec![("X-secret;", "secret")], "Headers: name 1"),
            (vec![("X-A", "a"), ("x-a", "secret")], "Headers: value 2: found its name twice"),
            (vec![("X-A", "secret\r\nBcc: b")], "Headers: value 1: found a control character"),
            (vec![("Importance", "secret\n")], "Headers: `Importance`: found a control character"),
            (vec![("importance", "")], "Headers: `Importance`: found nothing"),
            (
                vec![("Importance", "secret =?utf-8?q?=0D=0ABcc:_x@y.z?=")],
                "Headers: `Importance`: found what readers take for an encoded word",
            ),
            (
                vec![("List-Unsubscribe", "<https://secret.example/?a=?b&c=??Q?d?=>")],
                "Headers: `List-Unsubscribe`: found what readers take for an encoded word",
            ),
            (
                vec![("References", "secret\u{fc}")],
                "Headers: `References`: found characters beyond",
            ),
            (vec![("References", &word)], "Headers: `References`: found a part without a space"),
            (vec![("X-A", &long)], "Headers: found 36003 bytes"),
            (many, "Headers: found 65 of them"),
        ] {
            let reason = written(&headers).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
