//! Requests as bytes: frames, and batches of records.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, TopicName};
use kafka_protocol::protocol::{Encodable as _, Request, StrBytes};

/// The frame of a request, with its length.
pub(crate) fn frame<Q: Request>(request: &Q, version: i16) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("test")))
        .encode(&mut frame, Q::header_version(version))
        .expect("fields that the version has");
    request.encode(&mut frame, version).expect("fields that the version has");
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// What a batch is made of, beside its records.
#[derive(Clone, Copy)]
pub(crate) struct BatchHeader {
    pub(crate) attributes: i16,
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) timestamp: i64,
}

impl Default for BatchHeader {
    fn default() -> Self {
        Self { attributes: 0, producer_id: -1, epoch: -1, sequence: -1, timestamp: 1_000 }
    }
}

fn varint(out: &mut BytesMut, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// A batch of magic 2 whose records have these values, and no keys.
pub(crate) fn batch(header: BatchHeader, values: &[&str]) -> Bytes {
    let records: Vec<_> = values.iter().map(|value| (None, value.as_bytes())).collect();
    batch_of(header, &records)
}

/// A batch of magic 2, uncompressed, of these keys and values.
pub(crate) fn batch_of(header: BatchHeader, values: &[(Option<&[u8]>, &[u8])]) -> Bytes {
    let mut records = BytesMut::new();
    for (delta, (key, value)) in (0..).zip(values) {
        let mut body = BytesMut::new();
        body.put_i8(0);
        varint(&mut body, 0);
        varint(&mut body, delta);
        varint(&mut body, key.map_or(-1, |key| key.len() as i64));
        body.put_slice(key.unwrap_or_default());
        varint(&mut body, value.len() as i64);
        body.put_slice(value);
        varint(&mut body, 0);
        varint(&mut records, body.len() as i64);
        records.put_slice(&body);
    }
    let mut checked = BytesMut::new();
    checked.put_i16(header.attributes);
    checked.put_i32(values.len() as i32 - 1);
    checked.put_i64(header.timestamp);
    checked.put_i64(header.timestamp);
    checked.put_i64(header.producer_id);
    checked.put_i16(header.epoch);
    checked.put_i32(header.sequence);
    checked.put_i32(values.len() as i32);
    checked.put_slice(&records);
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(checked.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    batch.freeze()
}
