//! Codecs: from the bytes of a record's value to a type, and back.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::reason::bounded;

/// Reads and writes the values of a topic.
pub trait Codec<T>: Send + Sync {
    /// Reads a value; `None` is Kafka's null. Must not panic, whatever the bytes.
    ///
    /// # Errors
    /// If the bytes are not a `T`; the record then becomes a dead letter, with the error as its
    /// cause.
    fn decode(&self, value: Option<&Bytes>) -> Result<T, CodecError>;

    /// Writes a value; `None` is Kafka's null.
    ///
    /// # Errors
    /// If this `T` can't be written.
    fn encode(&self, item: &T) -> Result<Option<Bytes>, CodecError>;
}

/// A value that can't be read or written: what was found, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// An error with its cause in words: what was read, what was found and what was expected,
    /// without the value itself. It is cut at
    /// [`REASON_LIMIT_BYTES`](crate::reason::REASON_LIMIT_BYTES).
    pub fn new(cause: impl Into<String>) -> Self {
        Self(bounded(cause))
    }
}

impl From<serde_json::Error> for CodecError {
    /// Names the type that was found, what was expected, and the place. serde's message repeats a
    /// value of an unexpected type; the message of a type that refuses a value may repeat it too.
    /// Both are left out.
    fn from(error: serde_json::Error) -> Self {
        Self::new(match error.classify() {
            Category::Data => without_content(&error),
            Category::Io | Category::Syntax | Category::Eof => error.to_string(),
        })
    }
}

/// serde's word for a type that it has found, and ours.
const FOUND: [(&str, &str); 10] = [
    ("null", "null"),
    ("boolean", "a boolean"),
    ("integer", "an integer"),
    ("floating point", "a number that is no integer"),
    ("number", "a number"),
    ("character", "a string"),
    ("string", "a string"),
    ("sequence", "an array"),
    ("map", "an object"),
    ("byte array", "bytes"),
];

/// The message of an error about data, without the data: every part that may contain data is left
/// out.
fn without_content(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let at = match error.line() {
        0 => String::new(),
        line => format!(" at line {line} column {}", error.column()),
    };
    let message = message.strip_suffix(&*at).unwrap_or(&message);
    // The data stand before the expectation, which is a fixed text of the type, unless the type
    // takes no value at all.
    let takes_none = ["there are no variants", "there are no fields"];
    let expected = message
        .rsplit_once(", expected ")
        .filter(|_| !takes_none.iter().any(|none| message.ends_with(none)))
        .map(|(_, expected)| expected);
    let found = found(message);
    match (found, expected) {
        (Some(found), Some(expected)) => format!("found {found}, expected {expected}{at}"),
        _ if names_a_field(message) => format!("{message}{at}"),
        (found, _) => format!("found {}, which is not taken{at}", found.unwrap_or("a value")),
    }
}

fn found(message: &str) -> Option<&'static str> {
    let (kind, found) = message.split_once(' ')?;
    match (kind, found.split_once(' ')?) {
        ("invalid", ("type:" | "value:", found)) => {
            let known = FOUND.iter().find(|(word, _)| found.starts_with(word));
            Some(known.map_or("a value", |(_, words)| words))
        }
        ("invalid", ("length", _)) => Some("another length"),
        ("unknown", ("variant", _)) => Some("an unknown variant"),
        ("unknown", ("field", _)) => Some("an unknown field"),
        _ => None,
    }
}

/// Whether it says that a field of the type is missing, or there twice.
fn names_a_field(message: &str) -> bool {
    let names = ["missing field `", "duplicate field `"];
    let named = names.iter().find_map(|words| message.strip_prefix(words)?.strip_suffix('`'));
    named.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c)))
}

/// One JSON value per record, by `serde`. A null value is an error.
pub struct Json<T>(PhantomData<fn() -> T>);

impl<T> Json<T> {
    /// The codec for `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Json<T> {
    fn decode(&self, value: Option<&Bytes>) -> Result<T, CodecError> {
        let value = value.ok_or_else(|| CodecError::new("found no value, expected JSON"))?;
        // serde_json passes over invalid UTF-8 in fields that `T` ignores.
        let text = std::str::from_utf8(value)
            .map_err(|error| CodecError::new(format!("found {error}, expected UTF-8")))?;
        Ok(serde_json::from_str(text)?)
    }

    fn encode(&self, item: &T) -> Result<Option<Bytes>, CodecError> {
        Ok(Some(serde_json::to_vec(item)?.into()))
    }
}

/// The value as it came, for a topology whose decoding depends on more than the value, such as the
/// topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Option<Bytes>> for Raw {
    fn decode(&self, value: Option<&Bytes>) -> Result<Option<Bytes>, CodecError> {
        Ok(value.cloned())
    }

    fn encode(&self, item: &Option<Bytes>) -> Result<Option<Bytes>, CodecError> {
        Ok(item.clone())
    }
}

impl<T> Clone for Json<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Json<T> {}

impl<T> Default for Json<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for Json<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Json")
    }
}
