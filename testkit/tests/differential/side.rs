//! One of the two brokers: it is asked, and what it answers is made comparable.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DeleteRecordsRequest, DescribeTransactionsRequest, FetchRequest,
    FindCoordinatorRequest, GroupId, InitProducerIdRequest, ListOffsetsRequest,
    OffsetCommitRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::client::{self, BatchHeader, Client, batch, error, name};
use super::operation::{IDS, Operation, Shift};

mod topics;
mod transactions;

pub(crate) struct Side {
    client: Client,
    is_kafka: bool,
    /// What timestamps count from.
    base: i64,
    run: String,
    /// The producer of each transactional id, as it was last answered.
    producers: BTreeMap<usize, (i64, i16)>,
    /// In which order the numbers of producers came.
    known: Vec<i64>,
    sequences: BTreeMap<(i64, i16, String, i32), i32>,
}

/// Codes that go away: a coordinator or a transaction that is not ready.
const PASSING: &[i16] = &[14, 15, 16, 19, 51, 88];

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn code(code: i16) -> String {
    error(code).map_or_else(|| "ok".to_owned(), |error| format!("{error:?}"))
}

impl Side {
    pub(crate) async fn connect(address: &str, is_kafka: bool, base: i64) -> Self {
        let client = Client::connect(address.parse().unwrap()).await;
        let (producers, known, sequences) = Default::default();
        let run = format!("{:?}", std::process::id());
        let mut side = Self { client, is_kafka, base, run, producers, known, sequences };
        side.warm_up().await;
        side
    }

    /// Lets the broker make the topics of its coordinators.
    async fn warm_up(&mut self) {
        for (key_type, key) in [(0, text("warm-up")), (1, text("warm-up"))] {
            let request = FindCoordinatorRequest::default()
                .with_key_type(key_type)
                .with_coordinator_keys(vec![key]);
            while self.client.ask(&request, 4).await.coordinators[0].error_code != 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        for id in 0..IDS {
            // A timeout that is refused: the coordinator is ready, and has nothing to remember.
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(self.id(id)))
                .with_transaction_timeout_ms(0)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            while PASSING.contains(&self.client.ask(&request, 4).await.error_code) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    fn id(&self, id: usize) -> TransactionalId {
        TransactionalId(text(&format!("id-{}-{id}", self.run)))
    }

    /// The group of this name in this run; no name stays none.
    fn group(&self, group: &str) -> GroupId {
        let run = if group.is_empty() { "" } else { &*self.run };
        GroupId(text(&format!("{group}{run}")))
    }

    fn producer(&self, id: usize, shift: Shift) -> (ProducerId, i16) {
        let (producer, epoch) = self.producers.get(&id).copied().unwrap_or((987_654, 0));
        (ProducerId(producer), epoch + shift)
    }

    fn learn(&mut self, id: usize, producer: i64, epoch: i16) {
        if producer >= 0 {
            self.producers.insert(id, (producer, epoch));
            if !self.known.contains(&producer) {
                self.known.push(producer);
            }
        }
    }

    /// What stands for the number of a producer on both sides.
    fn label(&self, producer: i64) -> i64 {
        let place = self.known.iter().position(|known| *known == producer);
        place.map_or(-1, |place| place as i64)
    }

    /// Does it until the answer is no passing one.
    pub(crate) async fn run(&mut self, operation: &Operation) -> String {
        for _ in 0..200 {
            let (passing, answer) = self.ask(operation).await;
            if !PASSING.contains(&passing) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        "never ready".to_owned()
    }

    async fn settle(&mut self, id: usize) {
        for _ in 0..400 {
            let request =
                DescribeTransactionsRequest::default().with_transactional_ids(vec![self.id(id)]);
            let answer = self.client.ask(&request, 0).await;
            let state = &answer.transaction_states[0];
            if !PASSING.contains(&state.error_code) && !state.transaction_state.starts_with("Prep")
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until every part of the broker knows the topic as the controller does.
    async fn settle_topic(&mut self, topic: &str, exists: bool, partitions: Option<i32>) {
        if !self.is_kafka {
            return;
        }
        for _ in 0..400 {
            let answer = self.client.ask(&client::metadata(topic), 4).await;
            let found = &answer.topics[0];
            let count = found.partitions.len() as i32;
            let as_many = partitions.is_none_or(|partitions| partitions == count);
            let mut ready = (found.error_code == 0) == exists && (!exists || as_many);
            for partition in 0..count {
                ready &= !exists || self.offset(topic, partition).await;
            }
            if ready {
                tokio::time::sleep(Duration::from_millis(20)).await;
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn offset(&mut self, topic: &str, partition: i32) -> bool {
        let answer = self.client.ask(&list_offsets(topic, partition, -1, 0), 6).await;
        answer.topics[0].partitions[0].error_code == 0
    }

    async fn ask(&mut self, operation: &Operation) -> (i16, String) {
        match operation {
            Operation::Produce { .. }
            | Operation::Fetch { .. }
            | Operation::ListOffsets { .. }
            | Operation::DeleteRecords { .. }
            | Operation::OffsetForLeaderEpoch { .. } => self.ask_partition(operation).await,
            Operation::OffsetCommit { .. }
            | Operation::OffsetFetch { .. }
            | Operation::DeleteGroup { .. } => self.ask_group(operation).await,
            Operation::CreateTopic { .. }
            | Operation::DeleteTopic { .. }
            | Operation::CreatePartitions { .. }
            | Operation::AlterConfig { .. }
            | Operation::DescribeConfigs { .. }
            | Operation::Metadata { .. }
            | Operation::DescribeTopicPartitions { .. } => self.ask_topic(operation).await,
            _ => self.ask_transaction(operation).await,
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each request")]
    async fn ask_partition(&mut self, operation: &Operation) -> (i16, String) {
        match operation {
            Operation::Produce { topic, partition, acks, count, timestamp, producer, version } => {
                let values: Vec<_> = (0..*count).map(|_| "value").collect();
                let mut header =
                    BatchHeader { timestamp: self.base + *timestamp, ..BatchHeader::default() };
                let mut key = None;
                let mut transactional_id = None;
                if let Some((id, transactional, shift, off)) = producer {
                    let (number, epoch) = self.producer(*id, *shift);
                    let place = (*number, epoch, topic.clone(), *partition);
                    let next = self.sequences.get(&place).copied().unwrap_or(0);
                    header.producer_id = *number;
                    header.epoch = epoch;
                    header.sequence = (next + off).max(0);
                    header.attributes = if *transactional { 1 << 4 } else { 0 };
                    transactional_id = transactional.then(|| self.id(*id));
                    key = Some((place, header.sequence + *count as i32));
                }
                let request = client::produce(topic, *partition, batch(header, &values))
                    .with_acks(*acks)
                    .with_timeout_ms(30_000)
                    .with_transactional_id(transactional_id);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.responses[0].partition_responses[0];
                if let Some((place, next)) = key.filter(|_| found.error_code == 0) {
                    self.sequences.insert(place, next);
                }
                let stamped = found.log_append_time_ms > 0;
                let rest = (found.base_offset, stamped, found.log_start_offset);
                (found.error_code, format!("{} {rest:?}", code(found.error_code)))
            }
            Operation::Fetch { topic, partition, offset, isolation, version } => {
                let asked = FetchPartition::default()
                    .with_partition(*partition)
                    .with_current_leader_epoch(-1)
                    .with_fetch_offset(*offset)
                    .with_partition_max_bytes(1 << 20);
                let asked =
                    FetchTopic::default().with_topic(name(topic)).with_partitions(vec![asked]);
                let request = FetchRequest::default()
                    .with_replica_id(BrokerId(-1))
                    .with_max_wait_ms(0)
                    .with_min_bytes(0)
                    .with_max_bytes(1 << 20)
                    .with_isolation_level(*isolation)
                    .with_session_epoch(-1)
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.responses[0].partitions[0];
                let mut aborted: Vec<_> = found
                    .aborted_transactions
                    .iter()
                    .flatten()
                    .map(|aborted| (aborted.first_offset, self.label(*aborted.producer_id)))
                    .collect();
                aborted.sort_unstable();
                let ends = (found.high_watermark, found.last_stable_offset, found.log_start_offset);
                let batches = self.batches(found.records.clone().unwrap_or_default());
                (0, format!("{} {ends:?} {aborted:?} {batches}", code(found.error_code)))
            }
            Operation::ListOffsets { topic, partition, timestamp, isolation, version } => {
                let asked = if *timestamp < 0 { *timestamp } else { self.base + *timestamp };
                let request = list_offsets(topic, *partition, asked, *isolation);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.topics[0].partitions[0];
                // What is later is the time of a marker, or of the broker.
                let timestamp = (found.timestamp - self.base).clamp(-1, 50_000);
                let rest = (found.offset, timestamp, found.leader_epoch);
                (0, format!("{} {rest:?}", code(found.error_code)))
            }
            Operation::DeleteRecords { topic, partition, offset } => {
                let asked = DeleteRecordsPartition::default()
                    .with_partition_index(*partition)
                    .with_offset(*offset);
                let asked = DeleteRecordsTopic::default()
                    .with_name(name(topic))
                    .with_partitions(vec![asked]);
                let request = DeleteRecordsRequest::default()
                    .with_topics(vec![asked])
                    .with_timeout_ms(30_000);
                let answer = self.client.ask(&request, 2).await;
                let found = &answer.topics[0].partitions[0];
                (0, format!("{} {}", code(found.error_code), found.low_watermark))
            }
            Operation::OffsetForLeaderEpoch { topic, partition, current, epoch } => {
                let asked = OffsetForLeaderPartition::default()
                    .with_partition(*partition)
                    .with_current_leader_epoch(*current)
                    .with_leader_epoch(*epoch);
                let asked = OffsetForLeaderTopic::default()
                    .with_topic(name(topic))
                    .with_partitions(vec![asked]);
                let request = OffsetForLeaderEpochRequest::default()
                    .with_replica_id(BrokerId(-1))
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, 4).await;
                let found = &answer.topics[0].partitions[0];
                let rest = (found.leader_epoch, found.end_offset);
                (0, format!("{} {rest:?}", code(found.error_code)))
            }
            other => panic!("{other:?} is asked elsewhere"),
        }
    }

    async fn ask_group(&mut self, operation: &Operation) -> (i16, String) {
        match operation {
            Operation::OffsetCommit { group, topic, partition, offset, long } => {
                let metadata = if *long { "x".repeat(5_000) } else { "note".to_owned() };
                let asked = OffsetCommitRequestPartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(*offset)
                    .with_committed_metadata(Some(text(&metadata)));
                let asked = OffsetCommitRequestTopic::default()
                    .with_name(name(topic))
                    .with_partitions(vec![asked]);
                let request = OffsetCommitRequest::default()
                    .with_group_id(self.group(group))
                    .with_generation_id_or_member_epoch(-1)
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, 8).await;
                let found = answer.topics[0].partitions[0].error_code;
                (found, code(found))
            }
            Operation::OffsetFetch { group, topic, partition, version } => {
                let asked = OffsetFetchRequestTopic::default()
                    .with_name(name(topic))
                    .with_partition_indexes(vec![*partition]);
                let request = OffsetFetchRequest::default()
                    .with_group_id(self.group(group))
                    .with_topics(Some(vec![asked]));
                let answer = self.client.ask(&request, *version).await;
                if answer.error_code != 0 {
                    return (answer.error_code, code(answer.error_code));
                }
                let found = &answer.topics[0].partitions[0];
                let rest = (found.committed_offset, found.metadata.as_deref());
                (0, format!("{} {rest:?}", code(found.error_code)))
            }
            Operation::DeleteGroup { group } => {
                let request =
                    DeleteGroupsRequest::default().with_groups_names(vec![self.group(group)]);
                let answer = self.client.ask(&request, 2).await;
                let found = answer.results[0].error_code;
                (found, code(found))
            }
            other => panic!("{other:?} is asked elsewhere"),
        }
    }

    /// What a reader sees of batches.
    fn batches(&self, mut bytes: Bytes) -> String {
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

fn list_offsets(topic: &str, partition: i32, timestamp: i64, isolation: i8) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let asked = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![asked]);
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(isolation)
        .with_topics(vec![asked])
}
