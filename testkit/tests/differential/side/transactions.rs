//! Transactions and their producers.

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, DescribeProducersRequest,
    DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest,
    ProducerId, TxnOffsetCommitRequest, describe_producers_request,
};

use super::{Side, code, text};
use crate::client::name;
use crate::operation::{IDS, Operation};

impl Side {
    #[allow(clippy::too_many_lines, reason = "one arm for each request")]
    pub(super) async fn ask_transaction(&mut self, operation: &Operation) -> (i16, String) {
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
}
