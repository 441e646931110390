//! A client that only writes and reads prepared batches.

use std::io::{BufWriter, Read as _, Write as _};
use std::net::TcpStream;

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader,
    TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable as _, HeaderVersion, Request, StrBytes};

use super::{PARTITIONS, VALUE_BYTES};

const BATCH_RECORDS: usize = 100;
const PRODUCE: i16 = 9;
const FETCH: i16 = 12;
const FETCH_MAX_BYTES: i32 = 10 << 20;

pub(super) struct Client(TcpStream);

impl Client {
    pub(super) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("a socket");
        Self(stream)
    }

    /// Writes so many records to all partitions, and reads every answer meanwhile.
    pub(super) fn produce(&mut self, records: usize) -> usize {
        let data = |partition| {
            PartitionProduceData::default().with_index(partition).with_records(Some(batch()))
        };
        let topic = TopicProduceData::default()
            .with_name(topic())
            .with_partition_data((0..PARTITIONS).map(data).collect());
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000);
        let frame = frame(&request.with_topic_data(vec![topic]), PRODUCE);
        let requests = records / BATCH_RECORDS / PARTITIONS as usize;
        let mut writer = BufWriter::new(self.0.try_clone().expect("a socket"));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                (0..requests).for_each(|_| writer.write_all(&frame).expect("it is written"));
                writer.flush().expect("it is written");
            });
            for _ in 0..requests {
                let response: ProduceResponse = self.read(PRODUCE);
                let mut partitions = response.responses.iter().flat_map(|t| &t.partition_responses);
                assert!(partitions.all(|partition| partition.error_code == 0));
            }
        });
        requests * BATCH_RECORDS * PARTITIONS as usize
    }

    /// Fetches so many records, each partition from its start.
    pub(super) fn fetch(&mut self, records: usize) -> usize {
        let mut next = vec![0; PARTITIONS as usize];
        while next.iter().sum::<i64>() < records as i64 {
            let partition = |(number, &from): (i32, &i64)| {
                FetchPartition::default()
                    .with_partition(number)
                    .with_fetch_offset(from)
                    .with_partition_max_bytes(FETCH_MAX_BYTES)
            };
            let topic = FetchTopic::default()
                .with_topic(topic())
                .with_partitions((0..).zip(&next).map(partition).collect());
            let request = FetchRequest::default()
                .with_max_bytes(FETCH_MAX_BYTES)
                .with_max_wait_ms(1_000)
                .with_min_bytes(1)
                .with_session_epoch(-1)
                .with_topics(vec![topic]);
            self.0.write_all(&frame(&request, FETCH)).expect("it is written");
            let response: FetchResponse = self.read(FETCH);
            for partition in &response.responses[0].partitions {
                assert_eq!(partition.error_code, 0);
                let records = partition.records.clone().unwrap_or_default();
                next[partition.partition_index as usize] += count(records);
            }
        }
        next.iter().sum::<i64>() as usize
    }

    fn read<R: Decodable + HeaderVersion>(&mut self, version: i16) -> R {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("an answer");
        let mut body = vec![0; i32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut body).expect("an answer");
        let mut body = Bytes::from(body);
        ResponseHeader::decode(&mut body, R::header_version(version)).expect("a header");
        R::decode(&mut body, version).expect("an answer of this version")
    }
}

fn topic() -> TopicName {
    TopicName(StrBytes::from_static_str("raw"))
}

fn frame<Q: Request>(request: &Q, version: i16) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(Q::KEY)
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("bench")));
    header.encode(&mut frame, Q::header_version(version)).expect("a header");
    request.encode(&mut frame, version).expect("a request of this version");
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

/// The records of whole batches; the last may be cut off.
fn count(mut batches: Bytes) -> i64 {
    let mut records = 0;
    while batches.len() >= 61 {
        let length = i32::from_be_bytes(*batches[8..].first_chunk().expect("a header")) as usize;
        if batches.len() < 12 + length {
            break;
        }
        let count = i32::from_be_bytes(*batches[57..].first_chunk().expect("a header"));
        records += i64::from(count);
        drop(batches.split_to(12 + length));
    }
    records
}

fn varint(out: &mut BytesMut, number: usize) {
    let mut rest = number << 1;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// A batch of magic 2, uncompressed.
fn batch() -> Bytes {
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(BATCH_RECORDS as i32 - 1);
    checked.put_i64(1_700_000_000_000);
    checked.put_i64(1_700_000_000_000);
    checked.put_i64(-1);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(BATCH_RECORDS as i32);
    for number in 0..BATCH_RECORDS {
        let mut body = BytesMut::new();
        body.put_i8(0);
        varint(&mut body, 0);
        varint(&mut body, number);
        let key = format!("{number:024x}");
        varint(&mut body, key.len());
        body.put_slice(key.as_bytes());
        varint(&mut body, VALUE_BYTES);
        body.put_bytes(b'j', VALUE_BYTES);
        varint(&mut body, 0);
        varint(&mut checked, body.len());
        checked.put_slice(&body);
    }
    let mut batch = BytesMut::new();
    batch.put_i64(0);
    batch.put_i32(checked.len() as i32 + 9);
    batch.put_i32(-1);
    batch.put_i8(2);
    batch.put_u32(crc32c::crc32c(&checked));
    batch.put_slice(&checked);
    batch.freeze()
}
