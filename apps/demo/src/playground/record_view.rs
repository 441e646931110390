//! A record, as it is shown.

use jobstream::record::ConsumerRecord;
use serde::Serialize;

/// The longest part of a value that is shown, in bytes.
const VALUE_LIMIT_BYTES: usize = 16 * 1024;

/// A record, as it is shown: what is no UTF-8 is shown with replacement characters.
#[derive(Debug, Serialize)]
pub(super) struct RecordView {
    offset: i64,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    /// The bytes of the value, of which only the first 16 KiB are shown.
    value_bytes: usize,
    headers: Vec<(String, Option<String>)>,
}

impl RecordView {
    pub(super) fn of(record: &ConsumerRecord) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = record.value.as_deref();
        let headers = record.headers.iter();
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref().map(text),
            value: value.map(|value| text(&value[..value.len().min(VALUE_LIMIT_BYTES)])),
            value_bytes: value.map_or(0, <[u8]>::len),
            headers: headers
                .map(|header| (header.name.to_string(), header.value.as_deref().map(text)))
                .collect(),
        }
    }
}
