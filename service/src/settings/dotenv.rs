//! Files of settings: a `NAME=VALUE` a line.
//!
//! `dotenvy` was tried in place of this parser, and breaks three promises. Its error shows the line
//! that it refuses, with the value on it; ours has the number of the line, and never a value. It
//! substitutes variables in values, which cuts the password `pa$sword` to `pa`. It refuses a value
//! with spaces that is not quoted.

use super::SettingsError;
use super::encoding::BYTE_ORDER_MARK;

/// The settings of a file, in its order.
///
/// Empty lines and lines that begin with `#` are passed over, and so is `export ` before a name.
/// Values are trimmed and end before ` #`. In single quotes they are taken as they are; in double
/// quotes `\n`, `\"`, `\\` and `\$` stand for a line feed and for the character.
///
/// # Errors
/// If a line is none of these; the error has its number.
pub(crate) fn parse(path: &str, text: &str) -> Result<Vec<(String, String)>, SettingsError> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(line, text)| {
            setting(text).map_err(|found| SettingsError::Line {
                path: path.to_owned(),
                line,
                found,
            })
        })
        .collect()
}

fn setting(line: &str) -> Result<(String, String), &'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    let (name, rest) = line.split_once('=').ok_or("no '='")?;
    let name = name.trim_end();
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("a name with other characters than A-Z, a-z, 0-9 and '_'");
    }
    Ok((name.to_owned(), value(rest.trim())?))
}

fn value(text: &str) -> Result<String, &'static str> {
    let (value, rest) = match text.chars().next() {
        Some('\'') => {
            let (value, rest) = text[1..].split_once('\'').ok_or("a quote that is not closed")?;
            (value.to_owned(), rest)
        }
        Some('"') => in_double_quotes(&text[1..])?,
        _ => return Ok(unquoted(text).to_owned()),
    };
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(value) } else { Err("text after a quote") }
}

/// Up to a comment.
fn unquoted(text: &str) -> &str {
    let is_comment = |at: &usize| text[..*at].ends_with([' ', '\t']) || *at == 0;
    let comment = text.match_indices('#').map(|(at, _)| at).find(is_comment);
    text[..comment.unwrap_or(text.len())].trim_end()
}

/// The value, and what comes after its closing quote.
fn in_double_quotes(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\' | '$'))) => value.push(escaped),
                Some((_, other)) => value.extend(['\\', other]),
                None => break,
            },
            other => value.push(other),
        }
    }
    Err("a quote that is not closed")
}

/// A value without the quotes around it, if it has a pair: some tools pass them on.
pub(crate) fn without_quotes(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> String {
        parse("file", line).unwrap().remove(0).1
    }

    #[test]
    fn a_file_holds_names_values_comments_and_quotes() {
        let text = "\u{feff}# topics\n\nA=1\r\nexport B = two words # why\nC=\n";
        let found = parse(".env", text).unwrap();
        let expected = [("A", "1"), ("B", "two words"), ("C", "")];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn quotes_keep_what_is_in_them() {
        assert_eq!(one("A='a # \\n b '"), "a # \\n b ");
        assert_eq!(one("A=\"a # b\" # c"), "a # b");
        assert_eq!(one(r#"A="q\"b\\s\$d\n""#), "q\"b\\s$d\n");
        assert_eq!(one("A=pass#word"), "pass#word");
        assert_eq!(one("A=it's"), "it's");
        assert_eq!(one("A=# nothing"), "");
    }

    #[test]
    fn a_wrong_line_is_named_and_its_value_is_not_shown() {
        for (text, found) in [
            ("A=1\nsecret", "no '='"),
            ("\nA B=secret", "a name with"),
            ("#\nA='secret", "not closed"),
            ("\nA=\"secret\\", "not closed"),
            ("\nA='a' secret", "after a quote"),
        ] {
            let error = parse(".env", text).unwrap_err().to_string();
            assert!(error.starts_with(".env, line 2: found ") && error.contains(found), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_pair_of_quotes_around_a_value_is_taken_off() {
        for (value, bare) in [("\"a\"", "a"), ("'a'", "a"), ("\"a'", "\"a'"), ("\"", "\"")] {
            assert_eq!(without_quotes(value), bare);
        }
    }
}
