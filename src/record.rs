//! Records as Kafka knows them: what is consumed, what is produced, and their headers.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use bytes::Bytes;
use smallvec::SmallVec;

#[cfg(any(feature = "job", feature = "kafka"))]
pub(crate) use self::block::Block;

#[cfg(any(feature = "job", feature = "kafka"))]
mod block;

/// The name of a topic; cloning it copies a pointer.
pub type Topic = Arc<str>;

/// Headers of one record that is worked on, at most. In Kafka's format an empty one takes two
/// bytes, and compressed almost none; in memory each takes some sixty.
pub const HEADERS_MAX: usize = 1_000;

/// Milliseconds since 1970-01-01T00:00:00Z, as Kafka counts them.
pub type Timestamp = i64;

/// How many times this member has been newly assigned a partition, counted per partition from 1.
///
/// It is a count of our own, not the group's generation, which changes for kept partitions too. It
/// grows as well when the partition's offsets go back, and begin anew. A record, a position or an
/// unfinished job of an older generation is stale.
pub type Generation = u64;

/// Distinguishes a topic from one that had the same name before (KIP-516). Shown as Kafka shows it:
/// 22 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(u128);

impl TopicId {
    /// The id of these 16 bytes, the most significant first.
    pub const fn new(id: u128) -> Self {
        Self(id)
    }

    /// The id as its 16 bytes make it, the most significant first.
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    /// Reads an id as [`Display`](fmt::Display) shows it; `None` if the text is anything else.
    pub fn from_base64url(text: &str) -> Option<Self> {
        let bytes = BASE64URL.decode(text).ok()?;
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL.encode(self.0.to_be_bytes()))
    }
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: Topic,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// Names a partition of `topic`.
    pub fn new(topic: impl Into<Topic>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A record as a source delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConsumerRecord {
    /// Where it was read.
    pub partition: TopicPartition,
    /// Its offset in the partition. Offsets ascend, with gaps: transaction markers and compaction.
    pub offset: i64,
    /// The assignment under which it was read.
    pub generation: Generation,
    /// Its timestamp, in milliseconds since 1970, if it has one.
    pub timestamp: Option<Timestamp>,
    /// Its key; `None` is Kafka's null, which differs from an empty key.
    pub key: Option<Bytes>,
    /// Its value; `None` is Kafka's null, a tombstone on a compacted topic.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Headers,
}

impl ConsumerRecord {
    /// A record without timestamp, key, value or headers.
    pub const fn new(partition: TopicPartition, offset: i64, generation: Generation) -> Self {
        Self {
            partition,
            offset,
            generation,
            timestamp: None,
            key: None,
            value: None,
            headers: Headers::new(),
        }
    }

    /// The same record with a timestamp, in milliseconds since 1970.
    #[must_use]
    pub const fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The same record with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with a value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// The same record with these headers, in the place of those that it had.
    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers = headers;
        self
    }

    /// Bytes of key, value and headers, each header with what its place in memory takes: the
    /// measure of the in-flight limit.
    pub fn size_bytes(&self) -> usize {
        size_bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

/// A record that is to be produced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Where it goes.
    pub topic: Topic,
    /// The partition; `None` leaves it to the partitioner, which hashes the key.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; `None` leaves it to the producer.
    pub timestamp: Option<Timestamp>,
    /// Its key; records with equal keys go to the same partition.
    pub key: Option<Bytes>,
    /// Its value; `None` is a null value.
    pub value: Option<Bytes>,
    /// Its headers, in order.
    pub headers: Headers,
}

impl ProducerRecord {
    /// A record without key, value or headers, placed by the partitioner.
    pub fn to(topic: impl Into<Topic>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            timestamp: None,
            key: None,
            value: None,
            headers: Headers::new(),
        }
    }

    /// The same record with a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with a value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Bytes of key, value and headers, each header with what its place in memory takes.
    pub fn size_bytes(&self) -> usize {
        size_bytes(self.key.as_ref(), self.value.as_ref(), &self.headers)
    }
}

fn size_bytes(key: Option<&Bytes>, value: Option<&Bytes>, headers: &Headers) -> usize {
    key.map_or(0, Bytes::len) + value.map_or(0, Bytes::len) + headers.size_bytes()
}

/// One header: a name, which may repeat, and a value, which may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Its value; `None` is Kafka's null.
    pub value: Option<Bytes>,
}

impl Header {
    /// A header with a value.
    pub fn new(name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) -> Self {
        Self { name: name.into(), value: Some(value.into()) }
    }
}

/// The headers of a record: a list in which names may repeat. Cloning it copies a pointer; a
/// change copies the list if it is shared.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<List>>);

/// Up to four headers lie in the shared allocation itself; more have memory of their own.
type List = SmallVec<[Header; 4]>;

impl Headers {
    /// No headers.
    pub const fn new() -> Self {
        Self(None)
    }

    /// The headers in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.as_slice().iter()
    }

    /// The headers in order.
    pub fn as_slice(&self) -> &[Header] {
        self.0.as_deref().map_or(&[], List::as_slice)
    }

    /// How many there are, repeated names included.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// The value of the last header of that name, as Kafka's `lastHeader`; `None` if there is no
    /// such header or its value is null.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.iter().rev().find(|header| header.name == name)?.value.as_ref()
    }

    /// Adds a header at the end; a header of the same name stays.
    pub fn push(&mut self, name: impl Into<Cow<'static, str>>, value: Option<Bytes>) {
        Arc::make_mut(self.0.get_or_insert_default()).push(Header { name: name.into(), value });
    }

    /// Replaces every header of that name with one, at the end.
    pub fn set(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Bytes>) {
        let name = name.into();
        self.remove(&name);
        self.push(name, Some(value.into()));
    }

    /// Removes every header of that name.
    pub fn remove(&mut self, name: &str) {
        if let Some(headers) = &mut self.0
            && headers.iter().any(|header| header.name == name)
        {
            Arc::make_mut(headers).retain(|header| header.name != name);
        }
    }

    fn size_bytes(&self) -> usize {
        let bytes = |h: &Header| h.name.len() + h.value.as_ref().map_or(0, Bytes::len);
        self.iter().map(|header| size_of::<Header>() + bytes(header)).sum()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|h| (&h.name, &h.value))).finish()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let headers: List = headers.into_iter().collect();
        Self(if headers.is_empty() { None } else { Some(Arc::new(headers)) })
    }
}

/// Adds headers at the end; those of the same names stay.
impl Extend<Header> for Headers {
    fn extend<I: IntoIterator<Item = Header>>(&mut self, headers: I) {
        match &mut self.0 {
            Some(list) => Arc::make_mut(list).extend(headers),
            None => *self = headers.into_iter().collect(),
        }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_header_counts_with_what_it_takes_in_memory() {
        let mut record = ProducerRecord::to("jobs").key("key").value("value");
        assert_eq!(record.size_bytes(), 8);
        record.headers = (0..20_000).map(|_| Header { name: "".into(), value: None }).collect();
        let list = record.headers.as_slice();
        assert_eq!(record.size_bytes(), 8 + size_of_val(list));
        record.headers.push("name", Some("value".into()));
        assert_eq!(record.size_bytes(), 8 + size_of_val(record.headers.as_slice()) + 9);
    }
}
