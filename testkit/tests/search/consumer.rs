//! Consumers that the tests start: this very test program, asked for one of its tests.

use std::env;
use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use jobstream_testkit::search::{Jobs, Plays, Program, Promise, Search};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FetchRequest, GroupId, JoinGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::RecordBatchDecoder;

use super::client::{BatchHeader, Client, batch, name, produce};

const PARTITIONS: i32 = 2;
/// Says what a consumer does.
const DOES: &str = "CONSUMER_DOES";

/// The command of a consumer that does this, in these words: `commits-first`, `asks` (an HTTP request
/// for each job), `joins` (another group before); nothing for one that commits what it has done.
pub(crate) fn command(does: &str) -> Vec<OsString> {
    let variable = format!("{DOES}={does}");
    let this = env::current_exe().unwrap().into_os_string();
    let test = ["--exact", "consumer::is_a_program_of_other_tests", "--ignored", "--nocapture"];
    let words = ["env".into(), variable.into(), this].into_iter();
    words.chain(test.map(OsString::from)).collect()
}

pub(crate) const JOBS: &str = r#"
    {"id":"job-a"} {"id":"job-b"} {"id":"job-c"} {"id":"job-d"} {"id":"job-e"} {"id":"job-f"}
    {"id":"job-g"} {"id":"job-h"} {"id":"job-i"}"#;

pub(crate) fn search(does: &str, promise: Promise) -> Search {
    let jobs = Jobs::parse(JOBS.trim(), Some("id".parse().unwrap()), None).unwrap();
    let mut program = Program::new(command(does), jobs, "jobs", ["results"], promise);
    program.nodes = 1;
    Search { program, schedules: 60, seed: 0, plays: Plays { broken: 2, of: 3 }, parallel: 2 }
}

#[tokio::test]
#[ignore = "is a program that other tests start"]
async fn is_a_program_of_other_tests() {
    if let Ok(does) = env::var(DOES) {
        consume(&does).await;
    }
}

/// Reads each partition alone, without a group that assigns them; ends with a panic on any error.
async fn consume(does: &str) {
    let brokers = env::var("KAFKA_BROKERS").unwrap();
    let address: SocketAddr = brokers.split(',').next().unwrap().parse().unwrap();
    // A connection that is cut ends it with a panic; it comes back as another member.
    while does.contains("joins") && tokio::spawn(join(address)).await.is_err() {}
    let mut client = Client::connect(address).await;
    let mut next = [0_i64; PARTITIONS as usize];
    for (partition, next) in (0..).zip(&mut next) {
        *next = committed(&mut client, partition).await.max(0);
    }
    loop {
        for (partition, next) in (0..).zip(&mut next) {
            for (offset, value) in fetched(&mut client, partition, *next).await {
                *next = offset + 1;
                if does.contains("commits-first") {
                    commit(&mut client, partition, *next).await;
                }
                if does.contains("asks") {
                    ask(&value);
                }
                let records = batch(BatchHeader::default(), &[&value]);
                let produced = client.ask(&produce("results", partition, records), 3).await;
                assert_eq!(produced.responses[0].partition_responses[0].error_code, 0);
                if !does.contains("commits-first") {
                    commit(&mut client, partition, *next).await;
                }
            }
        }
    }
}

/// Becomes the only member of a group, whose session is a long one.
async fn join(address: SocketAddr) {
    let mut client = Client::connect(address).await;
    let text = StrBytes::from_static_str;
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(text("others")))
        .with_session_timeout_ms(60_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol]);
    let promised = client.ask(&join, 4).await;
    let joined = client.ask(&join.with_member_id(promised.member_id), 4).await;
    assert_eq!(joined.error_code, 0);
    let assignment = SyncGroupRequestAssignment::default().with_member_id(joined.member_id.clone());
    let sync = SyncGroupRequest::default()
        .with_group_id(GroupId(text("others")))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id)
        .with_assignments(vec![assignment]);
    assert_eq!(client.ask(&sync, 3).await.error_code, 0);
}

async fn committed(client: &mut Client, partition: i32) -> i64 {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(name("jobs"))
        .with_partition_indexes(vec![partition]);
    let request =
        OffsetFetchRequest::default().with_group_id(group()).with_topics(Some(vec![topic]));
    let response = client.ask(&request, 5).await;
    assert_eq!(response.error_code, 0);
    response.topics[0].partitions[0].committed_offset
}

async fn commit(client: &mut Client, partition: i32, offset: i64) {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(StrBytes::default()));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(name("jobs"))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let response = client.ask(&request, 3).await;
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("app"))
}

/// The records of a partition from an offset on, each with its offset.
async fn fetched(client: &mut Client, partition: i32, from: i64) -> Vec<(i64, String)> {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(from)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("jobs")).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(10)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic]);
    let response = client.ask(&request, 4).await;
    let data = &response.responses[0].partitions[0];
    assert_eq!(data.error_code, 0);
    let mut bytes: Bytes = data.records.clone().unwrap_or_default();
    let sets = RecordBatchDecoder::decode_all(&mut bytes).unwrap();
    let records = sets.into_iter().flat_map(|set| set.records);
    let read = records.map(|record| {
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        (record.offset, value)
    });
    read.filter(|(offset, _)| *offset >= from).collect()
}

/// Sends a job to the receiver, and waits for its answer.
fn ask(value: &str) {
    let url = env::var("HTTP_RECEIVER").unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let length = value.len();
    let request = format!(
        "POST /jobs HTTP/1.1\r\nHost: receiver\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{value}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
