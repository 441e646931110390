//! Codecs: from the bytes of a record's value to a type, and back.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads and writes the values of a topic.
pub trait Codec<T>: Send + Sync {
    /// Reads a value; `None` is Kafka's null. Must not panic, whatever the bytes.
    ///
    /// # Errors
    /// If the bytes are no `T`; the record is then a dead letter and the error its cause.
    fn decode(&self, value: Option<&Bytes>) -> Result<T, CodecError>;

    /// Writes a value; `None` is Kafka's null.
    ///
    /// # Errors
    /// If this `T` has no form in bytes.
    fn encode(&self, item: &T) -> Result<Option<Bytes>, CodecError>;
}

/// A value that can't be read or written: what was found, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CodecError(String);

impl CodecError {
    /// An error with its cause in words: the thing, what was found, what was expected.
    pub fn new(cause: impl Into<String>) -> Self {
        Self(cause.into())
    }
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
        serde_json::from_str(text).map_err(|error| CodecError::new(error.to_string()))
    }

    fn encode(&self, item: &T) -> Result<Option<Bytes>, CodecError> {
        let bytes = serde_json::to_vec(item).map_err(|error| CodecError::new(error.to_string()))?;
        Ok(Some(bytes.into()))
    }
}

/// The value as it came, for a topology that decodes by more than the value: by the topic, where it
/// has several.
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
