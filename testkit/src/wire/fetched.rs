//! The answer to a Fetch, whose batches are the log's own bytes.
//!
//! `kafka-protocol` would copy them into one buffer: a reader that is slow would hold that memory.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use uuid::Uuid;

use super::frame::Answer;
use crate::broker::log::AbortedTransaction;

/// The first version with compact lengths and tagged fields.
const FLEXIBLE: i16 = 12;

#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) error: i16,
    pub(super) topics: Vec<FetchedTopic>,
}

#[derive(Debug)]
pub(super) struct FetchedTopic {
    pub(super) name: TopicName,
    pub(super) id: Uuid,
    pub(super) partitions: Vec<FetchedPartition>,
}

#[derive(Debug)]
pub(super) struct FetchedPartition {
    pub(super) partition: i32,
    pub(super) error: i16,
    pub(super) high_watermark: i64,
    pub(super) last_stable_offset: i64,
    pub(super) log_start: i64,
    /// For a `read_committed` reader.
    pub(super) aborted: Option<Vec<AbortedTransaction>>,
    pub(super) batches: Vec<Bytes>,
}

impl FetchedPartition {
    pub(super) const fn refused(partition: i32, error: ResponseError) -> Self {
        Self {
            partition,
            error: error.code(),
            high_watermark: -1,
            last_stable_offset: -1,
            log_start: -1,
            aborted: None,
            batches: Vec::new(),
        }
    }

    fn bytes(&self) -> usize {
        self.batches.iter().map(Bytes::len).sum()
    }
}

impl Fetched {
    /// Whether the client waits for no more.
    pub(super) fn is_enough(&self, min_bytes: usize) -> bool {
        let mut partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        let bytes: usize = partitions.clone().map(FetchedPartition::bytes).sum();
        bytes >= min_bytes || partitions.any(|partition| partition.error != 0)
    }

    pub(super) fn encode(self, version: i16) -> Answer {
        let mut writer = Writer { version, out: BytesMut::new(), parts: Vec::new() };
        // The time for which the client is throttled.
        writer.out.put_i32(0);
        if version >= 7 {
            writer.out.put_i16(self.error);
            // The session: there is none.
            writer.out.put_i32(0);
        }
        writer.length(self.topics.len());
        for topic in self.topics {
            writer.topic(topic);
        }
        writer.no_tags();
        writer.cut();
        Answer::from_parts(writer.parts, version >= FLEXIBLE)
    }
}

struct Writer {
    version: i16,
    out: BytesMut,
    parts: Vec<Bytes>,
}

impl Writer {
    fn topic(&mut self, topic: FetchedTopic) {
        if self.version >= 13 {
            self.out.put_slice(topic.id.as_bytes());
        } else if self.version >= FLEXIBLE {
            self.length(topic.name.len());
            self.out.put_slice(topic.name.as_bytes());
        } else {
            self.out.put_i16(topic.name.len() as i16);
            self.out.put_slice(topic.name.as_bytes());
        }
        self.length(topic.partitions.len());
        for partition in topic.partitions {
            self.partition(partition);
        }
        self.no_tags();
    }

    fn partition(&mut self, partition: FetchedPartition) {
        self.out.put_i32(partition.partition);
        self.out.put_i16(partition.error);
        self.out.put_i64(partition.high_watermark);
        self.out.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.out.put_i64(partition.log_start);
        }
        match &partition.aborted {
            None if self.version >= FLEXIBLE => self.out.put_u8(0),
            None => self.out.put_i32(-1),
            Some(aborted) => {
                self.length(aborted.len());
                for AbortedTransaction { producer, first, .. } in aborted {
                    self.out.put_u64(*producer);
                    self.out.put_i64(*first);
                    self.no_tags();
                }
            }
        }
        if self.version >= 11 {
            // No other replica would be better to read from.
            self.out.put_i32(-1);
        }
        self.length(partition.bytes());
        self.cut();
        self.parts.extend(partition.batches);
        self.no_tags();
    }

    /// The length of an array or of bytes that are there.
    fn length(&mut self, length: usize) {
        if self.version < FLEXIBLE {
            self.out.put_i32(length as i32);
            return;
        }
        let mut varint = length as u64 + 1;
        while varint >= 0x80 {
            self.out.put_u8(varint as u8 | 0x80);
            varint >>= 7;
        }
        self.out.put_u8(varint as u8);
    }

    fn no_tags(&mut self) {
        if self.version >= FLEXIBLE {
            self.out.put_u8(0);
        }
    }

    /// Ends the part that is being written.
    fn cut(&mut self) {
        self.parts.push(self.out.split().freeze());
    }
}
