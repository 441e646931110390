//! A client that sends what it is given, and waits for the answer.

use std::net::SocketAddr;

use bytes::{Buf as _, Bytes};
use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{MetadataRequest, ProduceRequest, ResponseHeader};
use kafka_protocol::protocol::{Decodable as _, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) use request::{BatchHeader, batch, frame, name};

#[path = "request.rs"]
mod request;

pub(crate) async fn listen(broker: &Broker) -> Listener {
    broker.listen("127.0.0.1:0").await.unwrap()
}

pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn ask<Q>(&mut self, request: &Q, version: i16) -> Q::Response
    where
        Q: Request + Sync,
    {
        self.send(request, version).await;
        self.answer::<Q>(version).await
    }

    pub(crate) async fn send<Q: Request + Sync>(&mut self, request: &Q, version: i16) {
        self.0.write_all(&frame(request, version)).await.unwrap();
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
