//! Record batches of magic 2, as Kafka's protocol has them.
//!
//! ```text
//!  base offset · length · leader epoch · magic · CRC-32C │ attributes · last offset delta ·
//!  base timestamp · max timestamp · producer id, epoch, base sequence · count · records
//! ```
//!
//! The checksum begins at the attributes: a broker sets the base offset and the leader epoch of a
//! batch without a look at its records, and keeps it as it came, compressed or not.

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use jobstream::record::{Header, Headers, Timestamp};

use super::compression::{Codec, decompress};
use super::log::{Marker, Stored};

/// Bytes before the records.
pub(crate) const HEADER_BYTES: usize = 61;
/// Bytes before what the length counts.
const LENGTH_END: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Why bytes are no batch that a log can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchError {
    /// Shorter than it says, or more than one.
    NotOne,
    /// Its magic is not 2.
    OldMagic,
    /// The checksum is another one, or it is no batch at all.
    Corrupt,
    /// What it says of its records contradicts itself, or them.
    Inconsistent,
}

/// A batch that is at least so large stays in the memory of its frame; a smaller one would keep the
/// rest of that.
const SHARED_MIN_BYTES: usize = 16 << 10;

/// One batch; its bytes are shared, not copied, with those who read it.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// What stands in place of the first bytes, up to the magic, which a broker sets.
    head: Option<Bytes>,
    bytes: Bytes,
    base: i64,
    last_offset_delta: i32,
}

impl Batch {
    /// Takes the bytes of exactly one batch, which is still to be verified. What follows and is no
    /// whole batch is cut off, as Kafka does.
    pub(crate) fn one(mut bytes: Bytes) -> Result<Self, BatchError> {
        const MAGIC: u8 = 2;
        let size = whole_bytes(&bytes)?.ok_or(BatchError::NotOne)?;
        if bytes[MAGIC_AT] != MAGIC {
            return Err(BatchError::OldMagic);
        }
        let rest = bytes.split_off(size);
        if whole_bytes(&rest)?.is_some() {
            return Err(BatchError::NotOne);
        }
        if size < HEADER_BYTES {
            return Err(BatchError::Corrupt);
        }
        let (base, last_offset_delta) = ((&bytes[..]).get_i64(), (&bytes[23..]).get_i32());
        Ok(Self { head: None, bytes, base, last_offset_delta })
    }

    /// Verifies the checksum.
    pub(crate) fn check_sum(&self) -> Result<(), BatchError> {
        let crc = crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]).cast_signed();
        if crc == self.i32_at(CRC_AT) { Ok(()) } else { Err(BatchError::Corrupt) }
    }

    /// Verifies what a client may say: counts, numbers, no records of the broker's own. Records that
    /// are compressed are not looked at.
    pub(crate) fn check_records(&self) -> Result<(), BatchError> {
        let count = self.count();
        let is_consistent = self.base == 0
            && count >= 1
            && self.last_offset_delta == count - 1
            && !self.is_control()
            && self.attributes() & LOG_APPEND_TIME == 0
            && (self.producer_id() < 0 || self.base_sequence() >= 0);
        let are_whole = || match self.codec() {
            Ok(Codec::None) => are_whole(&self.bytes[HEADER_BYTES..], count),
            Ok(_) => true,
            Err(_) => false,
        };
        if is_consistent && are_whole() { Ok(()) } else { Err(BatchError::Inconsistent) }
    }

    /// Which of its records have no key, by their places.
    ///
    /// # Errors
    /// If one can't be read.
    pub(crate) fn without_key(&self) -> Result<Vec<i32>, BatchError> {
        let mut without = Vec::new();
        let mut records = 0;
        for (place, (_, stored)) in (0..).zip(self.records()) {
            records = place + 1;
            if stored.key.is_none() {
                without.push(place);
            }
        }
        if records == self.count() { Ok(without) } else { Err(BatchError::Inconsistent) }
    }

    /// Whether bytes that are not verified yet say that they belong to a transaction.
    pub(crate) fn says_transactional(bytes: &[u8]) -> bool {
        let attributes = bytes.get(ATTRIBUTES_AT + 1);
        attributes.is_some_and(|low| i16::from(*low) & TRANSACTIONAL != 0) && bytes[16] == 2
    }

    /// The same with another base offset, of leader epoch 0, in memory of its own if it is small.
    pub(super) fn at(self, base: i64) -> Self {
        let is_shared = self.bytes.len() >= SHARED_MIN_BYTES;
        let capacity = if is_shared { MAGIC_AT } else { self.bytes.len() };
        let mut bytes = BytesMut::with_capacity(capacity);
        bytes.put_i64(base);
        bytes.put_slice(&self.bytes[8..LENGTH_END]);
        bytes.put_i32(0);
        if is_shared {
            return Self { head: Some(bytes.freeze()), base, ..self };
        }
        bytes.put_slice(&self.bytes[MAGIC_AT..]);
        Self { head: None, bytes: bytes.freeze(), base, ..self }
    }

    /// The same with this timestamp for every record: `LogAppendTime`.
    pub(crate) fn stamped(self, now: Timestamp) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        let attributes = self.attributes() | LOG_APPEND_TIME;
        bytes[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&attributes.to_be_bytes());
        bytes[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
        Self { bytes: bytes.freeze(), ..self }
    }

    /// How many bytes it has.
    pub(crate) const fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Its bytes, in one part or two.
    pub(super) fn parts(&self) -> impl Iterator<Item = Bytes> {
        let from = if self.head.is_some() { MAGIC_AT } else { 0 };
        self.head.clone().into_iter().chain([self.bytes.slice(from..)])
    }

    pub(crate) const fn base(&self) -> i64 {
        self.base
    }

    /// The offset after its last.
    pub(crate) const fn end(&self) -> i64 {
        self.base + self.last_offset_delta as i64 + 1
    }

    fn i32_at(&self, place: usize) -> i32 {
        (&self.bytes[place..]).get_i32()
    }

    fn i64_at(&self, place: usize) -> i64 {
        (&self.bytes[place..]).get_i64()
    }

    fn attributes(&self) -> i16 {
        (&self.bytes[ATTRIBUTES_AT..]).get_i16()
    }

    pub(crate) fn max_timestamp(&self) -> Timestamp {
        self.i64_at(MAX_TIMESTAMP_AT)
    }

    pub(crate) fn producer_id(&self) -> i64 {
        self.i64_at(43)
    }

    pub(crate) fn producer_epoch(&self) -> i16 {
        (&self.bytes[51..]).get_i16()
    }

    pub(crate) fn base_sequence(&self) -> i32 {
        self.i32_at(53)
    }

    pub(crate) fn count(&self) -> i32 {
        self.i32_at(57)
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    /// How the records are compressed; the number if it is none that there is.
    pub(crate) fn codec(&self) -> Result<Codec, i16> {
        Codec::numbered(self.attributes() & 0b111)
    }

    /// Its records with their offsets, ascending. Where one can't be read, it and the following are
    /// left out, as if they had been compacted away.
    pub(crate) fn records(&self) -> impl Iterator<Item = (i64, Stored)> + use<> {
        let packed = self.bytes.slice(HEADER_BYTES..);
        let records = self.codec().ok().and_then(|codec| decompress(codec, packed));
        let stamp = (self.attributes() & LOG_APPEND_TIME != 0).then(|| self.max_timestamp());
        let (base, timestamp, count) = (self.base, self.i64_at(27), self.count());
        let mut records = records.unwrap_or_default();
        let mut left = if self.is_control() { 0 } else { count };
        std::iter::from_fn(move || {
            left = left.checked_sub(1).filter(|left| *left >= 0)?;
            let (offset_delta, timestamp_delta, mut stored) = record(&mut records)?;
            stored.timestamp = stamp.unwrap_or(timestamp.wrapping_add(timestamp_delta));
            Some((base.wrapping_add(offset_delta), stored))
        })
    }
}

/// The bytes of the batch at the start, if it is all there.
///
/// # Errors
/// If it can be no batch.
fn whole_bytes(bytes: &[u8]) -> Result<Option<usize>, BatchError> {
    /// Of the oldest format, whose messages have 14 bytes and their offset and length before them.
    const LEAST: i32 = 14;
    let Some(mut length) = bytes.get(8..LENGTH_END) else { return Ok(None) };
    let length = length.get_i32();
    if length < LEAST {
        return Err(BatchError::Corrupt);
    }
    let Some(magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if *magic > 2 {
        return Err(BatchError::Corrupt);
    }
    let size = usize::try_from(length).map_err(|_| BatchError::Corrupt)? + LENGTH_END;
    Ok((size <= bytes.len()).then_some(size))
}

/// Whether so many records fill these bytes.
fn are_whole(mut records: &[u8], count: i32) -> bool {
    (0..count).all(|_| pass_over(&mut records).is_some()) && records.is_empty()
}

/// Passes over one record; nothing if it can't be read.
fn pass_over(records: &mut &[u8]) -> Option<()> {
    let length = usize::try_from(varint(records)?).ok()?;
    records.split_off(..length).map(|_| ())
}

/// Reads one record: its offset delta, its timestamp delta, and the rest.
fn record(bytes: &mut Bytes) -> Option<(i64, i64, Stored)> {
    let length = usize::try_from(varint(bytes)?).ok()?;
    let mut body = split(bytes, length)?;
    body.try_get_i8().ok()?;
    let (timestamp_delta, offset_delta) = (varint(&mut body)?, varint(&mut body)?);
    let (key, value) = (field(&mut body)?, field(&mut body)?);
    let headers = varint(&mut body)?;
    let headers = (0..headers).map(|_| header(&mut body)).collect::<Option<Headers>>()?;
    Some((offset_delta, timestamp_delta, Stored { timestamp: 0, key, value, headers }))
}

fn header(body: &mut Bytes) -> Option<Header> {
    let name = field(body)??;
    let name = String::from_utf8_lossy(&name).into_owned().into();
    Some(Header { name, value: field(body)? })
}

fn split(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

/// A field with its length before it; a negative one is null.
fn field(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match usize::try_from(varint(bytes)?) {
        Ok(length) => split(bytes, length).map(Some),
        Err(_) => Some(None),
    }
}

/// A zigzag varint.
fn varint(bytes: &mut impl Buf) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut value = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

fn put_field(out: &mut BytesMut, bytes: Option<&[u8]>) {
    put_varint(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.put_slice(bytes.unwrap_or_default());
}

/// Writes records of one producer, or of many, as one uncompressed batch.
#[derive(Debug)]
pub(super) struct Writer {
    base: i64,
    out: BytesMut,
    record: BytesMut,
    count: i32,
    timestamp: Timestamp,
    max_timestamp: Timestamp,
}

impl Writer {
    pub(super) fn new(base: i64) -> Self {
        let mut out = BytesMut::new();
        out.put_bytes(0, HEADER_BYTES);
        let (timestamp, max_timestamp) = (-1, -1);
        Self { base, out, record: BytesMut::new(), count: 0, timestamp, max_timestamp }
    }

    /// Whether the batch stays about that small; one record always has room.
    pub(super) fn has_room_for(&self, stored: &Stored, max_bytes: usize) -> bool {
        let field = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let bytes = self.out.len() + field(&stored.key) + field(&stored.value);
        self.count == 0 || bytes <= max_bytes
    }

    pub(super) fn push(&mut self, offset: i64, stored: &Stored) {
        if self.count == 0 {
            self.timestamp = stored.timestamp;
        }
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(stored.timestamp);
        let body = &mut self.record;
        body.clear();
        body.put_i8(0);
        put_varint(body, stored.timestamp.wrapping_sub(self.timestamp));
        put_varint(body, offset - self.base);
        put_field(body, stored.key.as_deref());
        put_field(body, stored.value.as_deref());
        put_varint(body, stored.headers.len() as i64);
        for Header { name, value } in &stored.headers {
            put_field(body, Some(name.as_bytes()));
            put_field(body, value.as_deref());
        }
        put_varint(&mut self.out, body.len() as i64);
        self.out.put_slice(body);
    }

    /// The batch, which covers all offsets up to `end`.
    pub(super) fn finish(self, end: i64) -> Bytes {
        let timestamps = (self.timestamp, self.max_timestamp);
        let last_offset_delta = (end - self.base - 1).max(0) as i32;
        seal(self.out, self.base, last_offset_delta, 0, timestamps, (-1, -1), self.count)
    }
}

/// Fills in the header of a batch.
fn seal(
    mut batch: BytesMut,
    base: i64,
    last_offset_delta: i32,
    attributes: i16,
    (base_timestamp, max_timestamp): (Timestamp, Timestamp),
    (producer_id, epoch): (i64, i16),
    count: i32,
) -> Bytes {
    let length = (batch.len() - LENGTH_END) as i32;
    let mut header = &mut batch[..HEADER_BYTES];
    header.put_i64(base);
    header.put_i32(length);
    header.put_i32(0);
    header.put_i8(2);
    header.put_u32(0);
    header.put_i16(attributes);
    header.put_i32(last_offset_delta);
    header.put_i64(base_timestamp);
    header.put_i64(max_timestamp);
    header.put_i64(producer_id);
    header.put_i16(epoch);
    header.put_i32(-1);
    header.put_i32(count);
    let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

/// The control batch of a transaction's end.
pub(super) fn marker(offset: i64, marker: &Marker) -> Bytes {
    let mut batch = BytesMut::new();
    batch.put_bytes(0, HEADER_BYTES);
    let mut body = BytesMut::new();
    body.put_i8(0);
    put_varint(&mut body, 0);
    put_varint(&mut body, 0);
    // Version 0, and 0 for an abort or 1 for a commit.
    put_field(&mut body, Some(&[0, 0, 0, u8::from(marker.committed)]));
    // Version 0, and the coordinator's epoch.
    put_field(&mut body, Some(&[0; 6]));
    put_varint(&mut body, 0);
    put_varint(&mut batch, body.len() as i64);
    batch.put_slice(&body);
    let producer = (marker.producer.cast_signed(), marker.epoch);
    let timestamps = (marker.timestamp, marker.timestamp);
    seal(batch, offset, 0, TRANSACTIONAL | CONTROL, timestamps, producer, 1)
}
