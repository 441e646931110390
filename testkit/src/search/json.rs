//! The values of a file of jobs, and in which words a mistake in it is reported.

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Deserializer, Error};

use super::jobs::JobsError;

/// What a JSON parser misses, by the beginning of its message.
const EXPECTED: [(&str, &str); 12] = [
    ("expected value", "a JSON value"),
    ("expected ident", "true, false or null"),
    ("expected `:`", "`:` after the name of a field"),
    ("expected `,` or `}`", "`,` or `}` after the value of a field"),
    ("expected `,` or `]`", "`,` or `]` after an element"),
    ("key must be a string", "the name of a field, in double quotes"),
    ("trailing comma", "something after the comma"),
    ("trailing characters", "the end of the value"),
    (CONTROL, "an escape such as \\n"),
    ("invalid escape", "an escape such as \\n or \\u0041"),
    ("invalid number", "a number such as 0, -1 or 2.5e3"),
    ("recursion limit", "a value that is nested less deeply"),
];

/// The parser says where the character before it is.
const CONTROL: &str = "control character";

/// The jobs of a text, each with the line at which it begins: JSON values if the text begins as one, or
/// else lines that are not empty.
pub(super) fn values(text: &str) -> Result<Vec<(usize, Bytes)>, JobsError> {
    let copy = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    if !text.trim_start().starts_with(['{', '[']) {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        return Ok(lines.map(|(number, line)| (number, copy(line))).collect());
    }
    let mut values = Vec::new();
    let mut parsed = Deserializer::from_str(text).into_iter::<Box<RawValue>>();
    let (mut line, mut counted) = (1, 0);
    while let Some(value) = parsed.next() {
        let value = value.map_err(|error| mistake(text, 1, &error))?;
        let begins = parsed.byte_offset() - value.get().len();
        line += text[counted..begins].matches('\n').count();
        counted = begins;
        values.push((line, copy(value.get())));
    }
    Ok(values)
}

/// Where a text that begins at this line of a file is no JSON.
pub(super) fn mistake(text: &str, line: usize, error: &Error) -> JobsError {
    let of_text = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    // The parser counts bytes.
    let until = of_text.char_indices().take_while(|(at, _)| *at < error.column());
    let column = until.clone().count().max(1);
    let message = error.to_string();
    let found = match until.last() {
        _ if error.is_eof() => "the end".to_owned(),
        _ if message.starts_with(CONTROL) => "a control character".to_owned(),
        Some((_, found)) => format!("`{found}`"),
        None => "the end of a line".to_owned(),
    };
    let known = EXPECTED.iter().find(|(beginning, _)| message.starts_with(beginning));
    let expected = match known {
        _ if error.is_eof() => "the rest of a JSON value",
        Some((_, expected)) => expected,
        None => "a JSON value",
    };
    JobsError::Json { line: line + error.line().saturating_sub(1), column, found, expected }
}
