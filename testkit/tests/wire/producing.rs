//! What Produce takes, and what it refuses.

use bytes::{Bytes, BytesMut};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;

use super::client::{BatchHeader, Client, batch, error, listen, metadata, produce};

async fn outcome(
    client: &mut Client,
    request: &ProduceRequest,
    version: i16,
) -> (Option<ResponseError>, i64) {
    let response = client.ask(request, version).await;
    let partition = &response.responses[0].partition_responses[0];
    (error(partition.error_code), partition.base_offset)
}

fn values(broker: &Broker) -> Vec<(i64, String)> {
    let records = broker.records("jobs", Isolation::ReadCommitted);
    let text = |value: Option<Bytes>| String::from_utf8(value.unwrap().to_vec()).unwrap();
    records.into_iter().map(|record| (record.offset, text(record.value))).collect()
}

#[tokio::test]
async fn a_batch_that_is_no_batch_is_refused_and_says_why() {
    let broker = Broker::new();
    broker.create_topic("jobs", TopicOptions::partitions(1).max_message_bytes(200));
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let good = batch(BatchHeader::default(), &["a", "b"]);
    let changed = |place: usize, to: u8| {
        let mut bytes = BytesMut::from(&good[..]);
        bytes[place] = to;
        bytes.freeze()
    };
    use ResponseError as E;
    let long = "x".repeat(200);
    let control = BatchHeader { attributes: 1 << 5, ..BatchHeader::default() };
    let unknown_codec = BatchHeader { attributes: 7, ..BatchHeader::default() };
    let zstd = BatchHeader { attributes: 4, ..BatchHeader::default() };
    for (records, version, expected) in [
        (Bytes::new(), 9, E::InvalidRecord),
        (good.slice(..60), 9, E::InvalidRecord),
        (good.slice(..good.len() - 1), 9, E::InvalidRecord),
        ([&good[..], &good[..]].concat().into(), 9, E::InvalidRecord),
        (changed(16, 1), 9, E::InvalidRecord),
        (changed(70, 9), 9, E::CorruptMessage),
        (batch(BatchHeader::default(), &[&long]), 9, E::MessageTooLarge),
        (batch(control, &["a"]), 9, E::InvalidRecord),
        (batch(unknown_codec, &["a"]), 9, E::InvalidRecord),
        (batch(zstd, &["a"]), 6, E::UnsupportedCompressionType),
    ] {
        let request = produce("jobs", 0, records);
        assert_eq!(outcome(&mut client, &request, version).await, (Some(expected), -1));
    }
    let elsewhere = produce("jobs", 1, good.clone());
    let expected = (Some(E::UnknownTopicOrPartition), -1);
    assert_eq!(outcome(&mut client, &elsewhere, 9).await, expected);
    let acks = produce("jobs", 0, good.clone()).with_acks(2);
    assert_eq!(outcome(&mut client, &acks, 9).await, (Some(E::InvalidRequiredAcks), -1));
    assert_eq!(values(&broker), []);
    assert_eq!(outcome(&mut client, &produce("jobs", 0, good), 9).await, (None, 0));
    assert_eq!(values(&broker), [(0, "a".to_owned()), (1, "b".to_owned())]);
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_kept_once_and_one_after_a_gap_is_refused() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let sent = |epoch, sequence, value| {
        let header = BatchHeader { producer_id: 5, epoch, sequence, ..BatchHeader::default() };
        produce("jobs", 0, batch(header, &[value, value]))
    };
    use ResponseError as E;
    for (epoch, sequence, value, expected) in [
        (0, 0, "a", (None, 0)),
        (0, 2, "b", (None, 2)),
        (0, 2, "b", (None, 2)),
        (0, 0, "a", (None, 0)),
        (0, 6, "d", (Some(E::OutOfOrderSequenceNumber), -1)),
        (0, 4, "c", (None, 4)),
        (1, 6, "d", (Some(E::OutOfOrderSequenceNumber), -1)),
        (1, 0, "e", (None, 6)),
        (0, 6, "d", (Some(E::InvalidProducerEpoch), -1)),
    ] {
        assert_eq!(outcome(&mut client, &sent(epoch, sequence, value), 9).await, expected);
    }
    let found: Vec<_> = values(&broker).into_iter().map(|(_, value)| value).collect();
    assert_eq!(found.concat(), "aabbccee");
}

/// Kafka answers with it whether or not the topic stamps.
#[tokio::test]
async fn a_batch_that_comes_twice_is_answered_with_the_time_of_the_first() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    for (timestamp, expected) in [(3_000, -1), (1_000, 3_000)] {
        let header = BatchHeader { producer_id: 5, timestamp, ..BatchHeader::default() };
        let header = BatchHeader { epoch: 0, sequence: 0, ..header };
        let answer = client.ask(&produce("jobs", 0, batch(header, &["a"])), 9).await;
        let found = answer.responses[0].partition_responses[0].log_append_time_ms;
        assert_eq!(found, expected);
    }
}

#[tokio::test]
async fn an_error_that_acks_0_hides_ends_the_connection() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let good = batch(BatchHeader::default(), &["a"]);
    let fine = super::client::frame(&produce("jobs", 0, good.clone()).with_acks(0), 9);
    client.0.write_all(&fine).await.unwrap();
    assert_eq!(outcome(&mut client, &produce("jobs", 0, good.clone()), 9).await, (None, 1));
    let lost = super::client::frame(&produce("nowhere", 0, good).with_acks(0), 9);
    client.0.write_all(&lost).await.unwrap();
    assert_eq!(client.0.read(&mut [0]).await.unwrap(), 0, "the end of the stream");
    assert_eq!(listener.refusals().len(), 1);
}

/// As Kafka, which creates it meanwhile.
#[tokio::test]
async fn a_topic_that_is_created_because_a_client_asks_is_there_when_it_asks_again() {
    let broker = Broker::new();
    let listener = broker.listener().auto_create(3).listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    for (code, partitions) in [(Some(ResponseError::UnknownTopicOrPartition), 0), (None, 3)] {
        let request = metadata("jobs").with_allow_auto_topic_creation(true);
        let topic = &client.ask(&request, 12).await.topics[0];
        assert_eq!((error(topic.error_code), topic.partitions.len()), (code, partitions));
    }
}
