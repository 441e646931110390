//! Reads JSON as far as it is needed, and says what is wrong without showing it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::codec::CodecError;

/// Calls `visit` with every field of the one JSON object that `text` is, in order: its name,
/// unescaped, and its value as it stands in the text. A name that is no Unicode (JSON can escape
/// half a surrogate pair) is `None`.
pub(super) fn fields<'a>(
    text: &'a str,
    visit: impl FnMut(Option<&str>, &'a str) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let mut visitor = Fields { visit, refused: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(&mut visitor).and_then(|()| json.end());
    match (visitor.refused, read) {
        (Some(error), _) => Err(error),
        (None, read) => Ok(read?),
    }
}

struct Fields<F> {
    visit: F,
    refused: Option<CodecError>,
}

impl<'de, F> Visitor<'de> for &mut Fields<F>
where
    F: FnMut(Option<&str>, &'de str) -> Result<(), CodecError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<&'de RawValue>()? {
            let raw = map.next_value::<&'de RawValue>()?.get();
            if self.refused.is_none() {
                self.refused = (self.visit)(unescaped(name.get()).as_deref(), raw).err();
            }
        }
        Ok(())
    }
}

/// What a JSON string holds; `None` if that is no Unicode.
fn unescaped(raw: &str) -> Option<Cow<'_, str>> {
    match plain(raw) {
        Some(plain) => Some(Cow::Borrowed(plain)),
        None => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

/// The string that `raw` is, a JSON value as it stands in a text.
///
/// # Errors
/// If it is none, or holds what is no Unicode; `name` says where.
pub fn string(name: &str, raw: &str) -> Result<String, CodecError> {
    if raw.starts_with('"')
        && let Some(text) = unescaped(raw)
    {
        return Ok(text.into_owned());
    }
    Err(found(name, raw, "a string of Unicode characters"))
}

/// What a JSON string holds, if nothing in it is escaped.
fn plain(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains('\\'))
}

/// An error that names the type of a JSON value, and shows nothing of it: `name: found a string,
/// expected ...`.
pub fn found(name: &str, raw: &str, expected: &str) -> CodecError {
    let kind = match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') if plain(raw).is_some() || unescaped(raw).is_some() => "a string",
        Some(b'"') => "a string that is none",
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        _ if is_integer(raw) => "an integer",
        _ => "a number that is no integer",
    };
    CodecError::new(format!("{name}: found {kind}, expected {expected}"))
}

/// Whether a number has neither a fraction nor an exponent.
pub(super) fn is_integer(raw: &str) -> bool {
    raw.strip_prefix('-').unwrap_or(raw).bytes().all(|byte| byte.is_ascii_digit())
}
