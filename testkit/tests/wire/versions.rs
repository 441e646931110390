//! What clients of other ages ask, and how.

use jobstream_testkit::broker::Broker;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, ListOffsetsRequest, MetadataRequest, RequestHeader,
};
use kafka_protocol::protocol::{Encodable as _, StrBytes};
use tokio::io::AsyncWriteExt as _;

use super::client::{BatchHeader, Client, batch, error, listen, name, produce};

#[tokio::test]
async fn produce_is_named_from_0_since_older_librdkafka_does_not_compress_otherwise() {
    let listener = listen(&Broker::new()).await;
    let mut client = Client::connect(listener.address()).await;
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let response = client.ask(&request, 3).await;
    let versions = response.api_keys.iter().find(|api| api.api_key == ApiKey::Produce as i16);
    assert_eq!(versions.map(|api| (api.min_version, api.max_version)), Some((0, 13)));
}

#[tokio::test]
async fn who_asks_for_versions_in_too_new_a_version_is_told_which_one_to_ask_in() {
    let listener = listen(&Broker::new()).await;
    let mut client = Client::connect(listener.address()).await;
    let mut frame = vec![0; 4];
    RequestHeader::default()
        .with_request_api_key(ApiKey::ApiVersions as i16)
        .with_request_api_version(99)
        .with_correlation_id(7)
        .encode(&mut frame, 2)
        .unwrap();
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    client.0.write_all(&frame).await.unwrap();
    let response = client.answer::<ApiVersionsRequest>(0).await;
    let named = response.api_keys.iter().map(|api| (api.api_key, api.min_version, api.max_version));
    assert_eq!(error(response.error_code), Some(ResponseError::UnsupportedVersion));
    assert_eq!(named.collect::<Vec<_>>(), [(ApiKey::ApiVersions as i16, 0, 4)]);
}

#[tokio::test]
async fn bytes_that_follow_a_request_are_passed_over() {
    const VERSION: i16 = 13;
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let mut frame = vec![0; 4];
    RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(VERSION)
        .with_correlation_id(7)
        .encode(&mut frame, 2)
        .unwrap();
    // All topics as librdkafka asks for them: their array's length in four bytes, not in one.
    frame.extend([0; 7]);
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    client.0.write_all(&frame).await.unwrap();
    let response = client.answer::<MetadataRequest>(VERSION).await;
    assert_eq!(response.topics.len(), 1, "{:?}", listener.refusals());
}

#[tokio::test]
async fn offsets_are_listed_in_every_version() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    client.ask(&produce("jobs", 0, batch(BatchHeader::default(), &["a", "b"])), 9).await;
    for version in 1..=10 {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic =
            ListOffsetsTopic::default().with_name(name("jobs")).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let response = client.ask(&request, version).await;
        assert_eq!(response.topics[0].partitions[0].offset, 2, "version {version}");
    }
}
