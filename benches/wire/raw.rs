//! A client that only writes and reads prepared batches.

use std::io::{BufWriter, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion};

use super::{PARTITIONS, TOPICS, VALUE_BYTES};
use request::{BatchHeader, batch_of, frame, name};

#[path = "../../testkit/tests/wire/request.rs"]
#[allow(dead_code, reason = "shared with the tests of the listener")]
mod request;

const TOPIC: &str = TOPICS[0];
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

    /// Asks which versions are served: the first thing that any client asks.
    pub(super) fn versions(&mut self) -> usize {
        let request = frame(&ApiVersionsRequest::default(), 0);
        self.0.write_all(&request).expect("it is written");
        self.read::<ApiVersionsResponse>(0).api_keys.len()
    }

    /// Creates the topics, where a server has not been given them, and waits until their
    /// partitions are led: Kafka answers a little before.
    pub(super) fn create_topics(&mut self) {
        let topic = |topic| {
            CreatableTopic::default()
                .with_name(name(topic))
                .with_num_partitions(PARTITIONS)
                .with_replication_factor(1)
        };
        let request = CreateTopicsRequest::default()
            .with_topics(TOPICS.into_iter().map(topic).collect())
            .with_timeout_ms(30_000);
        self.0.write_all(&frame(&request, 5)).expect("it is written");
        let response: CreateTopicsResponse = self.read(5);
        assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{response:?}");
        while !self.is_led() {}
    }

    fn is_led(&mut self) -> bool {
        let response = self.fetch_from(&[0; PARTITIONS as usize], Duration::ZERO);
        response.responses[0].partitions.iter().all(|partition| partition.error_code == 0)
    }

    /// Writes so many records to all partitions, and reads every answer meanwhile.
    pub(super) fn produce(&mut self, records: usize) -> usize {
        let data = |partition| {
            PartitionProduceData::default().with_index(partition).with_records(Some(prepared()))
        };
        let topic = TopicProduceData::default()
            .with_name(name(TOPIC))
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
                assert!(partitions.all(|partition| partition.error_code == 0), "{response:?}");
            }
        });
        requests * BATCH_RECORDS * PARTITIONS as usize
    }

    /// Fetches so many records, each partition from its start.
    pub(super) fn fetch(&mut self, records: usize) -> usize {
        let mut next = vec![0; PARTITIONS as usize];
        while next.iter().sum::<i64>() < records as i64 {
            let response = self.fetch_from(&next, Duration::from_secs(1));
            for partition in &response.responses[0].partitions {
                assert_eq!(partition.error_code, 0);
                let records = partition.records.clone().unwrap_or_default();
                next[partition.partition_index as usize] += count(records);
            }
        }
        next.iter().sum::<i64>() as usize
    }

    /// What one request gets: each partition from its offset.
    fn fetch_from(&mut self, next: &[i64], max_wait: Duration) -> FetchResponse {
        let partition = |(number, &from): (i32, &i64)| {
            FetchPartition::default()
                .with_partition(number)
                .with_fetch_offset(from)
                .with_partition_max_bytes(FETCH_MAX_BYTES)
        };
        let topic = FetchTopic::default()
            .with_topic(name(TOPIC))
            .with_partitions((0..).zip(next).map(partition).collect());
        let request = FetchRequest::default()
            .with_max_bytes(FETCH_MAX_BYTES)
            .with_max_wait_ms(max_wait.as_millis() as i32)
            .with_min_bytes(1)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        self.0.write_all(&frame(&request, FETCH)).expect("it is written");
        self.read(FETCH)
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

/// A batch as both clients write it.
fn prepared() -> Bytes {
    let value = vec![b'j'; VALUE_BYTES];
    let keys: Vec<_> = (0..BATCH_RECORDS).map(|number| format!("{number:024x}")).collect();
    let records: Vec<_> = keys.iter().map(|key| (Some(key.as_bytes()), &value[..])).collect();
    batch_of(BatchHeader { timestamp: 1_700_000_000_000, ..BatchHeader::default() }, &records)
}
