//! A record with headers that no client library makes: a Produce request (protocol guide, api key
//! 0, version 3) with one record batch of version 2.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

const PRODUCE: i16 = 0;
const VERSION: i16 = 3;
const CASTAGNOLI_REVERSED: u32 = 0x82f6_3b78;

pub(crate) type RawHeader<'a> = (&'a [u8], Option<&'a [u8]>);

/// Appends a record without key to partition 0.
pub(crate) fn produce(bootstrap: &str, topic: &str, value: &[u8], headers: &[RawHeader<'_>]) {
    let batch = batch(&record(value, headers));
    let mut request = Vec::new();
    request.extend(PRODUCE.to_be_bytes());
    request.extend(VERSION.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    string(&mut request, "test");
    request.extend((-1_i16).to_be_bytes());
    request.extend((-1_i16).to_be_bytes());
    request.extend(10_000_i32.to_be_bytes());
    request.extend(1_i32.to_be_bytes());
    string(&mut request, topic);
    request.extend(1_i32.to_be_bytes());
    request.extend(0_i32.to_be_bytes());
    request.extend((batch.len() as i32).to_be_bytes());
    request.extend(batch);
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream.set_read_timeout(Some(super::LIMIT)).unwrap();
    stream.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    // Size and correlation, one topic with its name, one partition with its number, the error.
    let mut response = vec![0; 8 + 4 + 2 + topic.len() + 4 + 4 + 2];
    stream.read_exact(&mut response).unwrap();
    let error = &response[response.len() - 2..];
    assert_eq!(error, [0, 0], "the error code of Produce");
}

fn string(request: &mut Vec<u8>, string: &str) {
    request.extend((string.len() as i16).to_be_bytes());
    request.extend(string.as_bytes());
}

fn record(value: &[u8], headers: &[RawHeader<'_>]) -> Vec<u8> {
    let mut body = vec![0];
    varint(&mut body, 0);
    varint(&mut body, 0);
    varint(&mut body, -1);
    bytes(&mut body, Some(value));
    varint(&mut body, headers.len() as i64);
    for (name, value) in headers {
        bytes(&mut body, Some(name));
        bytes(&mut body, *value);
    }
    let mut record = Vec::new();
    varint(&mut record, body.len() as i64);
    record.extend(body);
    record
}

fn bytes(to: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(to, bytes.map_or(-1, |bytes| bytes.len() as i64));
    to.extend(bytes.unwrap_or_default());
}

fn varint(to: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        to.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    to.push(rest as u8);
}

fn batch(record: &[u8]) -> Vec<u8> {
    let mut checked = Vec::new();
    checked.extend(0_i16.to_be_bytes());
    checked.extend(0_i32.to_be_bytes());
    checked.extend(1_000_i64.to_be_bytes());
    checked.extend(1_000_i64.to_be_bytes());
    checked.extend((-1_i64).to_be_bytes());
    checked.extend((-1_i16).to_be_bytes());
    checked.extend((-1_i32).to_be_bytes());
    checked.extend(1_i32.to_be_bytes());
    checked.extend(record);
    let mut batch = Vec::new();
    batch.extend(0_i64.to_be_bytes());
    batch.extend((checked.len() as i32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc_32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn crc_32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { CASTAGNOLI_REVERSED } else { 0 }
        })
    })
}
