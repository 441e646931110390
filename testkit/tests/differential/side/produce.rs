//! Batches, good ones and broken ones.

use std::fmt::Write as _;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

use super::{Answer, IDS, PLAIN, Side, code};
use crate::client::{BatchHeader, batch};
use crate::operation::{Shift, Topic, partition, shift};
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) struct Produce {
    topic: Topic,
    partition: i32,
    acks: i16,
    count: usize,
    timestamp: i64,
    producer: Option<Producing>,
    flaw: Option<Flaw>,
    version: i16,
}

/// Whose batch it is.
#[derive(Clone, Copy, Debug)]
struct Producing {
    /// A transactional id, or a producer that has none.
    id: usize,
    transactional: bool,
    shift: Shift,
    /// How far its sequence number is off.
    off: i32,
}

/// What is wrong with a batch.
#[derive(Clone, Copy, Debug)]
enum Flaw {
    Checksum,
    Cut,
    Nothing,
    Two,
    Control,
    OldMagic,
    /// The header counts a record too many.
    Count,
    /// The header says an offset too few.
    LastOffset,
}

const FLAWS: &[Flaw] = &[
    Flaw::Checksum,
    Flaw::Cut,
    Flaw::Nothing,
    Flaw::Two,
    Flaw::Control,
    Flaw::OldMagic,
    Flaw::Count,
    Flaw::LastOffset,
];

impl Produce {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let topic = Topic::generate(random);
        let producer = (!random.one_in(3)).then(|| {
            let id = random.below(IDS + PLAIN);
            let off = if random.one_in(6) { random.of(&[-1, 1, 3]) } else { 0 };
            let transactional = id < IDS && !random.one_in(5);
            let shift = shift(random);
            // A later epoch outside of a transaction bars the marker of the open one, which in Kafka
            // then never ends; no client has such an epoch.
            let shift = if id < IDS && !transactional { shift.min(0) } else { shift };
            Producing { id, transactional, shift, off }
        });
        Self {
            topic,
            partition: partition(random),
            acks: if random.one_in(24) { 2 } else { random.of(&[-1, 1]) },
            count: random.below(3) + 1,
            timestamp: random.of(&[1_000, 2_000, 3_000]),
            producer,
            flaw: random.one_in(16).then(|| random.of(FLAWS)),
            version: random.of(&[3, 7, 9, 10, 11, 12, 12, 13]),
        }
    }
}

impl Side {
    pub(super) async fn produce(&mut self, asked: &Produce) -> Answer {
        const TRANSACTIONAL: i16 = 1 << 4;
        const CONTROL: i16 = 1 << 5;
        let timestamp = self.base + asked.timestamp;
        let mut header = BatchHeader { timestamp, ..BatchHeader::default() };
        let mut key = None;
        let mut transactional_id = None;
        if let Some(Producing { id, transactional, shift, off }) = asked.producer {
            let (number, epoch) = self.producer(id, shift);
            let place = (*number, epoch, asked.topic, asked.partition);
            let next = self.sequences.get(&place).copied().unwrap_or(0);
            header.producer_id = *number;
            header.epoch = epoch;
            header.sequence = (next + off).max(0);
            header.attributes = if transactional { TRANSACTIONAL } else { 0 };
            transactional_id = transactional.then(|| self.id(id));
            key = Some((place, header.sequence + asked.count as i32));
        }
        if matches!(asked.flaw, Some(Flaw::Control)) {
            header.attributes |= CONTROL;
        }
        let records = flawed(batch(header, &vec!["value"; asked.count]), asked.flaw);
        let data =
            PartitionProduceData::default().with_index(asked.partition).with_records(Some(records));
        let topic = TopicProduceData::default().with_partition_data(vec![data]);
        let topic = match asked.version {
            13.. => topic.with_topic_id(self.topic_id(asked.topic)),
            _ => topic.with_name(self.topic(asked.topic)),
        };
        let request = ProduceRequest::default()
            .with_topic_data(vec![topic])
            .with_acks(asked.acks)
            .with_timeout_ms(30_000)
            .with_transactional_id(transactional_id);
        let answer = self.client.ask(&request, asked.version).await;
        let found = &answer.responses[0].partition_responses[0];
        if let Some((place, next)) = key.filter(|_| found.error_code == 0) {
            self.sequences.insert(place, next);
        }
        let stamped = found.log_append_time_ms > 0;
        let rest = (found.base_offset, stamped, found.log_start_offset);
        (found.error_code, format!("{} {rest:?}", code(found.error_code)))
    }

    /// What a reader sees of batches.
    pub(super) fn batches(&self, mut bytes: Bytes) -> String {
        const HEADER_BYTES: usize = 61;
        const STAMPED: i16 = 1 << 3;
        const CONTROL: i16 = 1 << 5;
        let mut out = String::new();
        while bytes.len() >= HEADER_BYTES {
            let length = (&bytes[8..]).get_i32() as usize + 12;
            let whole = bytes.split_to(length.min(bytes.len()));
            let base = (&whole[..]).get_i64();
            // A marker on a topic of LogAppendTime says so in Kafka; its time is the broker's anyway.
            let stated = (&whole[21..]).get_i16();
            let attributes = if stated & CONTROL != 0 { stated & !STAMPED } else { stated };
            let delta = (&whole[23..]).get_i32();
            let producer = self.label((&whole[43..]).get_i64());
            let (epoch, sequence) = ((&whole[51..]).get_i16(), (&whole[53..]).get_i32());
            write!(out, "[{base}+{delta} {attributes} {producer}/{epoch}/{sequence}]").unwrap();
        }
        out
    }
}

/// The batch with what is wrong, and with the checksum that belongs to it unless that is wrong.
fn flawed(whole: Bytes, flaw: Option<Flaw>) -> Bytes {
    const MAGIC_AT: usize = 16;
    const CHECKED_AT: usize = 21;
    const LAST_OFFSET_AT: usize = 23;
    const COUNT_AT: usize = 57;
    let mut batch = BytesMut::from(&whole[..]);
    match flaw {
        None | Some(Flaw::Control) => return whole,
        Some(Flaw::Nothing) => return Bytes::new(),
        Some(Flaw::Cut) => return whole.slice(..whole.len() - 2),
        Some(Flaw::Two) => batch.put_slice(&whole),
        Some(Flaw::Checksum) => batch[whole.len() - 1] ^= 1,
        Some(Flaw::OldMagic) => batch[MAGIC_AT] = 1,
        Some(Flaw::Count) => batch[COUNT_AT + 3] += 1,
        Some(Flaw::LastOffset) => batch[LAST_OFFSET_AT + 3] += 1,
    }
    if matches!(flaw, Some(Flaw::Count | Flaw::LastOffset)) {
        let crc = crc32c::crc32c(&batch[CHECKED_AT..]);
        batch[CHECKED_AT - 4..CHECKED_AT].copy_from_slice(&crc.to_be_bytes());
    }
    batch.freeze()
}
