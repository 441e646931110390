//! One of the two brokers: it is asked, and what it answers is made comparable.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest as AskedTopic;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::client::{self, BatchHeader, Client, batch, error, name};
use super::operation::{IDS, Operation, Shift};

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

    async fn ask_topic(&mut self, operation: &Operation) -> (i16, String) {
        match operation {
            Operation::CreateTopic {
                topic,
                partitions,
                replicas,
                config,
                validate_only,
                version,
            } => {
                let configs = config.iter().map(|(name, value)| {
                    CreatableTopicConfig::default()
                        .with_name(text(name))
                        .with_value(Some(text(value)))
                });
                let asked = CreatableTopic::default()
                    .with_name(name(topic))
                    .with_num_partitions(*partitions)
                    .with_replication_factor(*replicas)
                    .with_configs(configs.collect());
                let request = CreateTopicsRequest::default()
                    .with_topics(vec![asked])
                    .with_timeout_ms(30_000)
                    .with_validate_only(*validate_only);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.topics[0];
                if found.error_code == 0 && !validate_only {
                    self.settle_topic(topic, true, None).await;
                }
                let counts = (found.num_partitions, found.replication_factor);
                (found.error_code, format!("{} {counts:?}", code(found.error_code)))
            }
            Operation::DeleteTopic { topic, version } => {
                let by_name = DeleteTopicState::default().with_name(Some(name(topic)));
                let request = match version {
                    6.. => DeleteTopicsRequest::default().with_topics(vec![by_name]),
                    _ => DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]),
                };
                let answer = self.client.ask(&request.with_timeout_ms(30_000), *version).await;
                let found = answer.responses[0].error_code;
                self.settle_topic(topic, false, None).await;
                (found, code(found))
            }
            Operation::CreatePartitions { topic, count, validate_only } => {
                let asked = CreatePartitionsTopic::default()
                    .with_name(name(topic))
                    .with_count(*count)
                    .with_assignments(None);
                let request = CreatePartitionsRequest::default()
                    .with_topics(vec![asked])
                    .with_timeout_ms(30_000)
                    .with_validate_only(*validate_only);
                let answer = self.client.ask(&request, 3).await;
                let found = answer.results[0].error_code;
                if found == 0 && !validate_only {
                    self.settle_topic(topic, true, Some(*count)).await;
                }
                (found, code(found))
            }
            Operation::AlterConfig { topic, operation, name, value } => {
                let config = AlterableConfig::default()
                    .with_name(text(name))
                    .with_config_operation(*operation)
                    .with_value(value.map(text));
                let resource = AlterConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(topic))
                    .with_configs(vec![config]);
                let request =
                    IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
                let answer = self.client.ask(&request, 1).await;
                let found = answer.responses[0].error_code;
                if self.is_kafka {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                (found, code(found))
            }
            Operation::DescribeConfigs { topic } => {
                let resource = DescribeConfigsResource::default()
                    .with_resource_type(2)
                    .with_resource_name(text(topic))
                    .with_configuration_keys(None);
                let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
                let answer = self.client.ask(&request, 4).await;
                let result = &answer.results[0];
                let mut lines: Vec<_> = result
                    .configs
                    .iter()
                    // The test's Kafka has a retention of its own.
                    .filter(|c| &*c.name != "retention.ms" || c.config_source == 1)
                    .map(|c| {
                        let value = c.value.as_deref().unwrap_or("null");
                        let is_said = c.config_source == 1;
                        format!("{}={value} {} {is_said}", &*c.name, c.config_type)
                    })
                    .collect();
                lines.sort();
                (result.error_code, format!("{} {lines:?}", code(result.error_code)))
            }
            Operation::Metadata { topic, version } => {
                let request = client::metadata(topic).with_allow_auto_topic_creation(*version < 4);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.topics[0];
                let mut numbers: Vec<_> =
                    found.partitions.iter().map(|p| (p.partition_index, p.leader_epoch)).collect();
                numbers.sort_unstable();
                (0, format!("{} {numbers:?}", code(found.error_code)))
            }
            Operation::DescribeTopicPartitions { topic } => {
                let asked = AskedTopic::default().with_name(name(topic));
                let request = DescribeTopicPartitionsRequest::default()
                    .with_topics(vec![asked])
                    .with_response_partition_limit(2);
                let answer = self.client.ask(&request, 0).await;
                let found = &answer.topics[0];
                let mut numbers: Vec<_> =
                    found.partitions.iter().map(|p| (p.partition_index, p.leader_epoch)).collect();
                numbers.sort_unstable();
                let next = answer.next_cursor.as_ref().map(|cursor| cursor.partition_index);
                (0, format!("{} {numbers:?} {next:?}", code(found.error_code)))
            }
            other => panic!("{other:?} is asked elsewhere"),
        }
    }

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

    async fn ask_transaction(&mut self, operation: &Operation) -> (i16, String) {
        match operation {
            Operation::Init { id, continues, shift, timeout, version } => {
                let mut request = InitProducerIdRequest::default()
                    .with_transactional_id(Some(self.id(*id)))
                    .with_transaction_timeout_ms(*timeout)
                    .with_producer_id(ProducerId(-1))
                    .with_producer_epoch(-1);
                if *continues && *version >= 3 {
                    let (producer, epoch) = self.producer(*id, *shift);
                    request = request.with_producer_id(producer).with_producer_epoch(epoch);
                }
                let answer = self.client.ask(&request, *version).await;
                self.learn(*id, *answer.producer_id, answer.producer_epoch);
                let rest = (self.label(*answer.producer_id), answer.producer_epoch);
                (answer.error_code, format!("{} {rest:?}", code(answer.error_code)))
            }
            Operation::AddPartitions { id, topic, partition, shift, version } => {
                let (producer, epoch) = self.producer(*id, *shift);
                let asked = AddPartitionsToTxnTopic::default()
                    .with_name(name(topic))
                    .with_partitions(vec![*partition]);
                let request = AddPartitionsToTxnRequest::default()
                    .with_v3_and_below_transactional_id(self.id(*id))
                    .with_v3_and_below_producer_id(producer)
                    .with_v3_and_below_producer_epoch(epoch)
                    .with_v3_and_below_topics(vec![asked]);
                let answer = self.client.ask(&request, *version).await;
                let found = &answer.results_by_topic_v3_and_below[0].results_by_partition[0];
                let found = found.partition_error_code;
                (found, code(found))
            }
            Operation::AddOffsets { id, group, shift, version } => {
                let (producer, epoch) = self.producer(*id, *shift);
                let request = AddOffsetsToTxnRequest::default()
                    .with_transactional_id(self.id(*id))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
                    .with_group_id(self.group(group));
                let found = self.client.ask(&request, *version).await.error_code;
                (found, code(found))
            }
            Operation::TxnOffsetCommit {
                id,
                group,
                topic,
                partition,
                generation,
                shift,
                version,
            } => {
                let (producer, epoch) = self.producer(*id, *shift);
                let asked = TxnOffsetCommitRequestPartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(1)
                    .with_committed_metadata(Some(text("")));
                let asked = TxnOffsetCommitRequestTopic::default()
                    .with_name(name(topic))
                    .with_partitions(vec![asked]);
                let generation = if *version >= 3 { *generation } else { -1 };
                let request = TxnOffsetCommitRequest::default()
                    .with_transactional_id(self.id(*id))
                    .with_group_id(self.group(group))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
                    .with_generation_id(generation)
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, *version).await;
                let found = answer.topics[0].partitions[0].error_code;
                (found, code(found))
            }
            Operation::End { id, committed, shift, version } => {
                let (producer, epoch) = self.producer(*id, *shift);
                let request = EndTxnRequest::default()
                    .with_transactional_id(self.id(*id))
                    .with_producer_id(producer)
                    .with_producer_epoch(epoch)
                    .with_committed(*committed);
                let answer = self.client.ask(&request, *version).await;
                if *version >= 5 && answer.error_code == 0 {
                    self.learn(*id, *answer.producer_id, answer.producer_epoch);
                }
                self.settle(*id).await;
                let rest = (self.label(*answer.producer_id), answer.producer_epoch);
                (answer.error_code, format!("{} {rest:?}", code(answer.error_code)))
            }
            Operation::DescribeProducers { topic, partition } => {
                let asked = describe_producers_request::TopicRequest::default()
                    .with_name(name(topic))
                    .with_partition_indexes(vec![*partition]);
                let request = DescribeProducersRequest::default().with_topics(vec![asked]);
                let answer = self.client.ask(&request, 0).await;
                let found = &answer.topics[0].partitions[0];
                let mut producers: Vec<_> = found
                    .active_producers
                    .iter()
                    .map(|p| {
                        let label = self.label(*p.producer_id);
                        let open = p.current_txn_start_offset;
                        (label, p.producer_epoch, p.last_sequence, p.coordinator_epoch, open)
                    })
                    .collect();
                producers.sort_unstable();
                (0, format!("{} {producers:?}", code(found.error_code)))
            }
            Operation::DescribeTransaction { id } => {
                let request = DescribeTransactionsRequest::default()
                    .with_transactional_ids(vec![self.id(*id)]);
                let answer = self.client.ask(&request, 0).await;
                let found = &answer.transaction_states[0];
                // How many partitions the offsets have is another number on each side.
                let mut topics: Vec<_> = found
                    .topics
                    .iter()
                    .filter(|topic| !topic.topic.starts_with("__"))
                    .flat_map(|topic| {
                        topic.partitions.iter().map(|p| (topic.topic.to_string(), *p))
                    })
                    .collect();
                topics.sort_unstable();
                let state = found.transaction_state.to_string();
                let number = if found.error_code == 0 { *found.producer_id } else { -1 };
                let rest = (self.label(number), found.producer_epoch);
                let began = found.transaction_start_time_ms > 0;
                let rest = (state, rest, found.transaction_timeout_ms, began, topics);
                (found.error_code, format!("{} {rest:?}", code(found.error_code)))
            }
            Operation::ListTransactions => {
                let request = ListTransactionsRequest::default()
                    .with_state_filters(vec![text("Ongoing"), text("Open")])
                    .with_duration_filter(-1);
                let answer = self.client.ask(&request, 1).await;
                let own: Vec<_> = (0..IDS).map(|id| self.id(id)).collect();
                let states = answer.transaction_states.iter();
                let mut listed: Vec<_> = states
                    .filter(|state| own.contains(&state.transactional_id))
                    .map(|state| {
                        (state.transactional_id.to_string(), self.label(*state.producer_id))
                    })
                    .collect();
                listed.sort_unstable();
                let unknown = answer.unknown_state_filters;
                (answer.error_code, format!("{} {listed:?} {unknown:?}", code(answer.error_code)))
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
