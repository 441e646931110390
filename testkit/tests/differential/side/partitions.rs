//! Partitions: read, asked for offsets, truncated.

use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    BrokerId, DeleteRecordsRequest, FetchRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    TopicName,
};

use super::{Answer, Side, code};
use crate::operation::{Topic, partition};
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) enum PartitionOperation {
    Fetch(Fetch),
    ListOffsets {
        topic: Topic,
        partition: i32,
        timestamp: i64,
        isolation: i8,
        epoch: i32,
        version: i16,
    },
    DeleteRecords {
        topic: Topic,
        partition: i32,
        offset: i64,
    },
    OffsetForLeaderEpoch {
        topic: Topic,
        partition: i32,
        current: i32,
        epoch: i32,
        version: i16,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    topic: Topic,
    partition: i32,
    offset: i64,
    epoch: i32,
    max_bytes: i32,
    isolation: i8,
    version: i16,
}

/// The leader epoch that a client knows: none, the one that there is, one that is to come.
const EPOCHS: &[i32] = &[-1, -1, -1, 0, 0, 1];

impl PartitionOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let (topic, partition) = (Topic::generate(random), partition(random));
        let isolation = random.of(&[0, 1]);
        match random.below(22) {
            0..=11 => Self::Fetch(Fetch {
                topic,
                partition,
                offset: random.of(&[0, 0, 1, 2, 5, 9, -1, 100_000]),
                epoch: random.of(EPOCHS),
                max_bytes: random.of(&[1 << 20, 1 << 20, 100, 1]),
                isolation,
                version: random.of(&[4, 11, 12, 13, 15, 17]),
            }),
            12..=17 => Self::ListOffsets {
                topic,
                partition,
                timestamp: random.of(&[-1, -2, -3, -4, -5, -6, 0, 1_500, 2_500, 9_000]),
                isolation,
                epoch: random.of(EPOCHS),
                version: random.of(&[2, 4, 6, 7, 8, 9, 10]),
            },
            18..=19 => Self::DeleteRecords {
                topic,
                partition,
                offset: random.of(&[0, 1, 3, -1, -2, 1_000_000]),
            },
            _ => Self::OffsetForLeaderEpoch {
                topic,
                partition,
                current: random.of(EPOCHS),
                epoch: random.of(&[0, 0, 1, -1]),
                version: random.of(&[2, 3, 4]),
            },
        }
    }
}

pub(super) fn list_offsets(topic: TopicName, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let asked = ListOffsetsTopic::default().with_name(topic).with_partitions(vec![asked]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked])
}

impl Side {
    pub(super) async fn ask_partition(&mut self, operation: &PartitionOperation) -> Answer {
        match operation {
            PartitionOperation::Fetch(fetch) => self.fetch(fetch).await,
            PartitionOperation::ListOffsets {
                topic,
                partition,
                timestamp,
                isolation,
                epoch,
                version,
            } => {
                let asked = if *timestamp < 0 { *timestamp } else { self.base + *timestamp };
                let mut request = list_offsets(self.topic(*topic), *partition, asked);
                request.isolation_level = *isolation;
                request.timeout_ms = if *version >= 10 { 10_000 } else { 0 };
                let known = if *version >= 4 { *epoch } else { -1 };
                request.topics[0].partitions[0].current_leader_epoch = known;
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.topics[0].partitions[0];
                // What is later is the time of a marker, or of the broker.
                let timestamp = (found.timestamp - self.base).clamp(-1, 50_000);
                let rest = (found.offset, timestamp, found.leader_epoch);
                (0, format!("{} {rest:?}", code(found.error_code)))
            }
            PartitionOperation::DeleteRecords { topic, partition, offset } => {
                self.delete_records(*topic, *partition, *offset).await
            }
            PartitionOperation::OffsetForLeaderEpoch {
                topic,
                partition,
                current,
                epoch,
                version,
            } => {
                let asked = OffsetForLeaderPartition::default()
                    .with_partition(*partition)
                    .with_current_leader_epoch(*current)
                    .with_leader_epoch(*epoch);
                let asked = OffsetForLeaderTopic::default()
                    .with_topic(self.topic(*topic))
                    .with_partitions(vec![asked]);
                let request = OffsetForLeaderEpochRequest::default()
                    .with_replica_id(BrokerId(if *version >= 3 { -1 } else { -2 }))
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.topics[0].partitions[0];
                let rest = (found.leader_epoch, found.end_offset);
                (0, format!("{} {rest:?}", code(found.error_code)))
            }
        }
    }

    async fn fetch(&mut self, fetch: &Fetch) -> Answer {
        let asked = FetchPartition::default()
            .with_partition(fetch.partition)
            .with_current_leader_epoch(if fetch.version >= 9 { fetch.epoch } else { -1 })
            .with_fetch_offset(fetch.offset)
            .with_partition_max_bytes(fetch.max_bytes);
        let asked = FetchTopic::default().with_partitions(vec![asked]);
        let asked = match fetch.version {
            13.. => asked.with_topic_id(self.topic_id(fetch.topic)),
            _ => asked.with_topic(self.topic(fetch.topic)),
        };
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(1 << 20)
            .with_isolation_level(fetch.isolation)
            .with_session_epoch(-1)
            .with_topics(vec![asked]);
        let answer = self.client.ask(&request, fetch.version).await;
        (0, self.fetched(&answer.responses[0].partitions[0]))
    }

    pub(super) fn fetched(&self, found: &PartitionData) -> String {
        let mut aborted: Vec<_> = found
            .aborted_transactions
            .iter()
            .flatten()
            .map(|aborted| (aborted.first_offset, self.label(*aborted.producer_id)))
            .collect();
        aborted.sort_unstable();
        let ends = (found.high_watermark, found.last_stable_offset, found.log_start_offset);
        let batches = self.batches(found.records.clone().unwrap_or_default());
        format!("{} {ends:?} {aborted:?} {batches}", code(found.error_code))
    }

    async fn delete_records(&mut self, topic: Topic, partition: i32, offset: i64) -> Answer {
        let asked =
            DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let asked =
            DeleteRecordsTopic::default().with_name(self.topic(topic)).with_partitions(vec![asked]);
        let request =
            DeleteRecordsRequest::default().with_topics(vec![asked]).with_timeout_ms(30_000);
        let answer = self.client.ask(&request, 2).await;
        let found = &answer.topics[0].partitions[0];
        (0, format!("{} {}", code(found.error_code), found.low_watermark))
    }
}
