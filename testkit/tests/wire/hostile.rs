//! Bytes that no client should send, and clients that do not read.

use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, FetchRequest, FindCoordinatorRequest, GroupId, JoinGroupRequest,
    ListOffsetsRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{BatchHeader, Client, batch, frame, listen, metadata, name, produce};

const LIMIT: Duration = Duration::from_secs(60);
/// Frames that are sent, each on a connection of its own.
const FRAMES: u64 = 4_000;
/// What the process may take more than before, in KiB.
const MORE_KIB: usize = 256 << 10;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// SplitMix64.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

/// Memory of this process that is resident, in KiB.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Good requests, in old and in new versions.
fn good() -> Vec<Bytes> {
    let records = batch(BatchHeader::default(), &["a", "b", "c"]);
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name("jobs")).with_partitions(vec![partition]);
    let fetch = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let topics = OffsetFetchRequestTopics::default().with_name(name("jobs"));
    let topics = topics.with_partition_indexes(vec![0, 1, 2]);
    let group = GroupId(StrBytes::from_static_str("group"));
    let offsets = OffsetFetchRequestGroup::default().with_group_id(group.clone());
    let offsets = offsets.with_topics(Some(vec![topics]));
    let join = JoinGroupRequest::default().with_group_id(group).with_session_timeout_ms(10_000);
    let key = StrBytes::from_static_str("group");
    vec![
        frame(&ApiVersionsRequest::default(), 0),
        frame(&ApiVersionsRequest::default(), 3),
        frame(&metadata("jobs"), 1),
        frame(&metadata("jobs"), 12),
        frame(&produce("jobs", 0, records.clone()), 3),
        frame(&produce("jobs", 0, records), 11),
        frame(&fetch, 4),
        frame(&fetch, 12),
        frame(&ListOffsetsRequest::default(), 1),
        frame(&FindCoordinatorRequest::default().with_key(key.clone()), 1),
        frame(&FindCoordinatorRequest::default().with_coordinator_keys(vec![key]), 4),
        frame(&OffsetFetchRequest::default().with_groups(vec![offsets]), 8),
        frame(&join, 5),
        frame(&join, 9),
    ]
}

/// A good frame with something wrong in it, or garbage.
fn mutated(good: &[Bytes], state: &mut u64) -> BytesMut {
    let mut bytes = BytesMut::from(&good[next(state) % good.len()][..]);
    for _ in 0..=next(state) % 4 {
        let place = next(state) % bytes.len();
        match next(state) % 6 {
            0 => bytes[place] = next(state) as u8,
            1 => bytes[place] ^= 1 << (next(state) % 8),
            2 => bytes.truncate(place + 1),
            // A length that claims more than there is.
            3 if place + 4 <= bytes.len() => bytes[place..place + 4].copy_from_slice(&[0x7f; 4]),
            4 => bytes[place..].fill(0xff),
            _ => (4..bytes.len()).for_each(|place| bytes[place] ^= (next(state) % 2) as u8),
        }
    }
    if next(state).is_multiple_of(2) && bytes.len() > 4 {
        // The frame is whole; what is in it is not.
        let length = (bytes.len() - 4) as i32;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// Sends bytes and the end of the stream, and reads until the broker ends it, too.
async fn throw(listener: &Listener, bytes: &[u8]) {
    let mut stream = TcpStream::connect(listener.address()).await.unwrap();
    // The broker may have ended the connection before all was sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("an end");
}

/// Produces and fetches as if nothing was.
async fn works(client: &mut Client) {
    let sent = produce("own", 0, batch(BatchHeader::default(), &["good"]));
    let asked = timeout(LIMIT, client.ask(&sent, 9)).await.expect("an answer");
    assert_eq!(asked.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_the_broker_goes_on_for_others() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let broker = Broker::new();
    broker.create_topic("jobs", 3);
    broker.create_topic("own", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let (good, mut state) = (good(), 18);
    let resident = resident_kib();
    for number in 0..FRAMES {
        throw(&listener, &mutated(&good, &mut state)).await;
        if number % 100 == 0 {
            works(&mut client).await;
        }
    }
    works(&mut client).await;
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    let more = resident_kib().saturating_sub(resident);
    assert!(more < MORE_KIB, "{more} KiB more than before");
    // What the traits read of it is all right, too.
    broker.records("jobs", jobstream_testkit::broker::Isolation::ReadUncommitted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_claims_too_much_is_refused_before_it_is_read() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    for (length, key) in [(-1, 0_i16), (101 << 20, 0), (17 << 20, 3), (i32::MAX, 1)] {
        let mut stream = TcpStream::connect(listener.address()).await.unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        stream.write_all(&key.to_be_bytes()).await.unwrap();
        let read = timeout(LIMIT, stream.read(&mut [0])).await.expect("an end");
        assert_eq!(read.unwrap_or(0), 0, "a length of {length}");
    }
    assert_eq!(listener.refusals().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_connections_and_slow_readers_take_little_memory() {
    const CONNECTIONS: usize = 2_000;
    const SLOW: usize = 200;
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    broker.create_topic("own", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let value = "x".repeat(100_000);
    for _ in 0..100 {
        let sent = produce("jobs", 0, batch(BatchHeader::default(), &[&value]));
        client.ask(&sent, 9).await;
    }
    let resident = resident_kib();
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let mut other = Client::connect(listener.address()).await;
        if number < SLOW {
            let partition = FetchPartition::default().with_partition_max_bytes(50 << 20);
            let topic = FetchTopic::default().with_topic(name("jobs"));
            let topic = topic.with_partitions(vec![partition]);
            let fetch = FetchRequest::default().with_max_bytes(50 << 20).with_topics(vec![topic]);
            // Ten megabytes each, which nobody reads.
            other.0.write_all(&frame(&fetch, 12)).await.unwrap();
        } else {
            other.ask(&ApiVersionsRequest::default(), 0).await;
        }
        idle.push(other);
    }
    works(&mut client).await;
    let more = resident_kib().saturating_sub(resident);
    assert!(more < MORE_KIB, "{more} KiB more than before");
    println!("{CONNECTIONS} connections, {SLOW} slow readers of 10 MB: {more} KiB more");
    drop(idle);
    works(&mut client).await;
}

#[tokio::test]
async fn a_length_that_no_frame_may_have_ends_the_connection_before_anything_follows() {
    let broker = Broker::new();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    for length in [-1, i32::MIN, i32::MAX] {
        let mut stream = TcpStream::connect(listener.bootstrap()).await.unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        let read = timeout(LIMIT, stream.read(&mut [0; 8])).await.expect("an end");
        assert_eq!(read.unwrap_or(0), 0, "{length}");
    }
    assert_eq!(listener.refusals().len(), 3, "{:?}", listener.refusals());
}
