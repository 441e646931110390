//! A client that sends what it is given, and waits for the answer.

use std::net::SocketAddr;

use bytes::BufMut as _;
use bytes::{Buf as _, Bytes, BytesMut};
use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    MetadataRequest, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable as _, Encodable as _, Request, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) async fn listen(broker: &Broker) -> Listener {
    broker.listen("127.0.0.1:0").await.unwrap()
}

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
        .unwrap();
    request.encode(&mut frame, version).unwrap();
    let length = (frame.len() - 4) as i32;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame.freeze()
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn ask<Q: Request>(&mut self, request: &Q, version: i16) -> Q::Response {
        self.0.write_all(&frame(request, version)).await.unwrap();
        self.answer::<Q>(version).await
    }

    pub(crate) async fn answer<Q: Request>(&mut self, version: i16) -> Q::Response {
        let length = self.0.read_i32().await.unwrap();
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).await.unwrap();
        let mut body = Bytes::from(body);
        use kafka_protocol::protocol::HeaderVersion as _;
        let header_version = <Q::Response>::header_version(version);
        let header = ResponseHeader::decode(&mut body, header_version).unwrap();
        assert_eq!(header.correlation_id, 7);
        let response = Q::Response::decode(&mut body, version).unwrap();
        assert_eq!(body.remaining(), 0, "bytes after the answer");
        response
    }
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// A request for one partition.
pub(crate) fn produce(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic])
}

pub(crate) fn metadata(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

/// The name of an error code; nothing if it is none.
pub(crate) fn error(code: i16) -> Option<ResponseError> {
    ResponseError::try_from_code(code)
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
    let mut records = BytesMut::new();
    for (delta, value) in (0..).zip(values) {
        let mut body = BytesMut::new();
        body.put_i8(0);
        varint(&mut body, 0);
        varint(&mut body, delta);
        varint(&mut body, -1);
        varint(&mut body, value.len() as i64);
        body.put_slice(value.as_bytes());
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
