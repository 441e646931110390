//! Records as JSON, one on a line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jobstream::record::{ConsumerRecord, Headers};
use serde::Serialize;

/// A record as one JSON line.
#[derive(Debug, Serialize)]
pub struct JsonLine<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    key: Text<'a>,
    headers: BTreeMap<&'a str, Header<'a>>,
    value: Text<'a>,
}

/// Bytes as a string where they are UTF-8, else as base64; null where there are none.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Text<'a> {
    /// There are none.
    Null,
    /// They are UTF-8.
    Utf8(Cow<'a, str>),
    /// They are not.
    Base64 {
        /// The bytes in base64.
        base64: String,
    },
}

/// The value of a header, or the list of them where its name is repeated.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Header<'a> {
    /// The only one of its name.
    One(Text<'a>),
    /// Several of one name, in their order.
    Many(Vec<Text<'a>>),
}

impl<'a> From<Option<&'a Bytes>> for Text<'a> {
    fn from(bytes: Option<&'a Bytes>) -> Self {
        match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => Self::Null,
            Some((_, Ok(text))) => Self::Utf8(text.into()),
            Some((bytes, Err(_))) => Self::Base64 { base64: BASE64.encode(bytes) },
        }
    }
}

/// Headers by their names.
pub fn headers(headers: &Headers) -> BTreeMap<&str, Header<'_>> {
    let mut named: BTreeMap<&str, Header<'_>> = BTreeMap::new();
    for header in headers {
        let value = Text::from(header.value.as_ref());
        match named.remove(&*header.name) {
            None => named.insert(&header.name, Header::One(value)),
            Some(Header::One(first)) => {
                named.insert(&header.name, Header::Many(vec![first, value]))
            }
            Some(Header::Many(mut values)) => {
                values.push(value);
                named.insert(&header.name, Header::Many(values))
            }
        };
    }
    named
}

impl<'a> From<&'a ConsumerRecord> for JsonLine<'a> {
    fn from(record: &'a ConsumerRecord) -> Self {
        Self {
            topic: &record.partition.topic,
            partition: record.partition.partition,
            offset: record.offset,
            key: record.key.as_ref().into(),
            headers: headers(&record.headers),
            value: record.value.as_ref().into(),
        }
    }
}

impl JsonLine<'_> {
    /// Writes it, with a line feed.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, self)?;
        out.write_all(b"\n")
    }
}
