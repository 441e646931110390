//! What must hold at the end of every run.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use super::topics::PARTITIONS;

const LIMIT: Duration = Duration::from_secs(30);

/// Counts the keys of a topic: each number below `records` once, and no other.
pub(crate) fn assert_one_result_each(bootstrap: &str, topic: &str, records: usize) {
    let reader = reader(bootstrap, "bench-reader");
    reader.assign(&all(topic, Some(Offset::Beginning))).expect("the topic is there");
    let mut counts = vec![0_u32; records];
    let mut ended = BTreeSet::new();
    while ended.len() < PARTITIONS as usize {
        match reader.poll(LIMIT).expect("the topic's end is near") {
            Ok(message) => counts[number(message.key())] += 1,
            Err(KafkaError::PartitionEOF(partition)) => {
                ended.insert(partition);
            }
            Err(error) => panic!("{topic} can't be read: {error}"),
        }
    }
    let (lost, twice) = (count(&counts, |n| n == 0), count(&counts, |n| n > 1));
    assert_eq!((lost, twice), (0, 0), "{topic}: results lost, and results that came twice");
}

/// Asserts that the group's positions are at the end of the jobs.
pub(crate) fn assert_committed(bootstrap: &str, group: &str, topic: &str, records: usize) {
    let reader = reader(bootstrap, group);
    assert_eq!(committed(&reader, topic), records, "{group}: offsets that are committed");
}

/// How many offsets of a topic the reader's group has committed.
pub(crate) fn committed(reader: &BaseConsumer, topic: &str) -> usize {
    let committed = match reader.committed_offsets(all(topic, None), LIMIT) {
        Ok(committed) => committed,
        // The group is so new that nobody coordinates it.
        Err(KafkaError::MetadataFetch(Code::NotCoordinator)) => return 0,
        Err(error) => panic!("{topic}: no positions: {error}"),
    };
    let offsets = committed.elements().into_iter().map(|partition| partition.offset());
    let sum: i64 = offsets.filter_map(|offset| offset.to_raw().filter(|raw| *raw >= 0)).sum();
    sum as usize
}

/// How many results there are, without transactions.
pub(crate) fn results(reader: &BaseConsumer, topic: &str) -> usize {
    let end = |number| match reader.fetch_watermarks(topic, number, LIMIT) {
        Ok((_, end)) => end,
        // The partition is so new that nobody leads it.
        Err(KafkaError::MetadataFetch(Code::NotLeaderForPartition)) => 0,
        Err(error) => panic!("{topic}: no watermarks: {error}"),
    };
    (0..PARTITIONS).map(end).sum::<i64>() as usize
}

/// A consumer that joins no group.
pub(crate) fn reader(bootstrap: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .expect("a client")
}

fn all(topic: &str, offset: Option<Offset>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for number in 0..PARTITIONS {
        let mut partition = list.add_partition(topic, number);
        offset.map(|offset| partition.set_offset(offset)).transpose().expect("an offset");
    }
    list
}

fn number(key: Option<&[u8]>) -> usize {
    let key = std::str::from_utf8(key.expect("a result has a key")).expect("a key is text");
    usize::from_str_radix(key, 16).expect("a key is a number")
}

fn count(counts: &[u32], condition: impl Fn(u32) -> bool) -> usize {
    counts.iter().filter(|count| condition(**count)).count()
}
