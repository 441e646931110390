//! What Fetch and ListOffsets answer.

use std::time::Duration;

use bytes::Bytes;
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream_testkit::broker::Broker;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest};
use tokio::io::AsyncWriteExt as _;

use super::client::{BatchHeader, Client, batch, error, frame, listen, name, produce};

fn fetch(from: i64) -> FetchRequest {
    let partition =
        FetchPartition::default().with_fetch_offset(from).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("jobs")).with_partitions(vec![partition]);
    FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic])
}

/// The error, and the bytes of the records.
async fn fetched(client: &mut Client, request: &FetchRequest) -> (Option<ResponseError>, Bytes) {
    let response = client.ask(request, 12).await;
    let partition = &response.responses[0].partitions[0];
    (error(partition.error_code), partition.records.clone().unwrap_or_default())
}

/// The base offsets of the batches.
fn bases(mut records: Bytes) -> Vec<i64> {
    let mut bases = Vec::new();
    while let Some(base) = records.first_chunk() {
        bases.push(i64::from_be_bytes(*base));
        let length = i32::from_be_bytes(*records[8..].first_chunk().unwrap());
        drop(records.split_to(12 + length as usize));
    }
    bases
}

#[tokio::test]
async fn a_batch_comes_back_as_it_was_sent_and_what_does_not_fit_comes_later() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    // Nobody can decode this one: it is kept all the same.
    let garbled = BatchHeader { attributes: 2, ..BatchHeader::default() };
    for sent in [batch(garbled, &["a", "b"]), batch(BatchHeader::default(), &["c"])] {
        client.ask(&produce("jobs", 0, sent.clone()), 9).await;
        let end = broker.high_watermark(&TopicPartition::new("jobs", 0)).unwrap();
        let (error, records) = fetched(&mut client, &fetch(end - 1)).await;
        assert_eq!((error, &records[12..16], &records[16..]), (None, &[0; 4][..], &sent[16..]));
    }
    broker.produce(ProducerRecord::to("jobs").value("d")).unwrap();
    let (_, all) = fetched(&mut client, &fetch(1)).await;
    assert_eq!(bases(all.clone()), [0, 2, 3]);
    for (max_bytes, expected) in [(1, vec![0]), (all.len() as i32 - 1, vec![0, 2])] {
        let (_, records) = fetched(&mut client, &fetch(0).with_max_bytes(max_bytes)).await;
        assert_eq!(bases(records), expected);
    }
    for beyond in [-1, 5] {
        let (error, records) = fetched(&mut client, &fetch(beyond)).await;
        assert_eq!((error, records.len()), (Some(ResponseError::OffsetOutOfRange), 0));
    }
    assert_eq!(fetched(&mut client, &fetch(4)).await, (None, Bytes::new()));
}

#[tokio::test]
async fn a_fetch_waits_for_records_and_others_go_on_meanwhile() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut waiting = Client::connect(listener.address()).await;
    let request = fetch(0).with_max_wait_ms(60_000).with_min_bytes(100);
    waiting.0.write_all(&frame(&request, 12)).await.unwrap();
    let mut other = Client::connect(listener.address()).await;
    for expected in 0..3 {
        let sent = produce("jobs", 0, batch(BatchHeader::default(), &["a"]));
        let response = other.ask(&sent, 9).await;
        assert_eq!(response.responses[0].partition_responses[0].base_offset, expected);
    }
    let answer = tokio::time::timeout(Duration::from_secs(50), waiting.answer::<FetchRequest>(12));
    let answer = answer.await.expect("an answer before the wait is over");
    let records = answer.responses[0].partitions[0].records.clone().unwrap();
    assert!(
        records.len() >= 100 && bases(records.clone())[0] == 0,
        "found {} bytes",
        records.len()
    );
}

#[tokio::test]
async fn offsets_are_found_by_time() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    for timestamp in [1_000, 3_000, 2_000] {
        let header = BatchHeader { timestamp, ..BatchHeader::default() };
        client.ask(&produce("jobs", 0, batch(header, &["a", "b"])), 9).await;
    }
    for (timestamp, expected) in [
        (-2, (0, -1)),
        (-1, (6, -1)),
        (-3, (2, 3_000)),
        (1_000, (0, 1_000)),
        (1_001, (2, 3_000)),
        (3_001, (-1, -1)),
    ] {
        let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(name("jobs"));
        let topic = topic.with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![topic]);
        let response = client.ask(&request, 8).await;
        let found = &response.topics[0].partitions[0];
        assert_eq!((found.offset, found.timestamp), expected, "at {timestamp}");
    }
}
