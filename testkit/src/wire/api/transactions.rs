//! AddPartitionsToTxn, AddOffsetsToTxn and EndTxn; DescribeTransactions and ListTransactions.

use std::collections::BTreeMap;
use std::sync::Arc;

use jobstream::record::{Topic, TopicPartition};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, ApiKey, DescribeTransactionsRequest, DescribeTransactionsResponse,
    EndTxnRequest, EndTxnResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
    TopicName, TransactionalId, list_transactions_response,
};
use kafka_protocol::protocol::StrBytes;

use crate::broker::DescribedTransaction;
use crate::broker::state::State;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::internal::{CONSUMER_OFFSETS, partition_of};
use crate::wire::topics::{code, whole_match};

/// The first version whose clients know `PRODUCER_FENCED`.
const FENCED: i16 = 2;
/// The first version of EndTxn that moves the epoch on (KIP-890).
const MOVES_ON: i16 = 5;
/// The states that there may be.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

pub(super) fn apis() -> Vec<Api> {
    vec![
        // From version 4 on it is what brokers ask each other.
        Api::at_once(ApiKey::AddPartitionsToTxn, 0..=3, add_partitions),
        Api::at_once(ApiKey::AddOffsetsToTxn, 0..=4, add_offsets),
        Api::at_once(ApiKey::EndTxn, 0..=5, end),
        Api::at_once(ApiKey::DescribeTransactions, 0..=0, describe),
        Api::at_once(ApiKey::ListTransactions, 0..=2, list),
    ]
}

/// Whether this node coordinates the transactional id.
pub(super) fn is_here(call: &Call, id: &str) -> Result<(), ResponseError> {
    match call.cluster().coordinator(id).id == call.node().id {
        true => Ok(()),
        false => Err(ResponseError::NotCoordinator),
    }
}

fn named(id: &str) -> Result<(), ResponseError> {
    if id.is_empty() { Err(ResponseError::InvalidRequest) } else { Ok(()) }
}

/// The code as a client of this version knows it.
const fn known(version: i16, error: ResponseError) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if version < FENCED => ResponseError::InvalidProducerEpoch,
        error => error,
    }
}

/// The partition that holds what a group commits.
pub(super) fn offsets_partition(group: &str) -> TopicPartition {
    TopicPartition::new(CONSUMER_OFFSETS, partition_of(group))
}

fn add_partitions(call: &Call, request: &AddPartitionsToTxnRequest) -> AddPartitionsToTxnResponse {
    let topics = &request.v3_and_below_topics;
    let results = call.broker().change(|state| {
        let exists = |topic: &AddPartitionsToTxnTopic, number: i32| {
            state.log(&TopicPartition::new(Topic::from(&**topic.name), number)).is_some()
        };
        let all =
            |topic: &AddPartitionsToTxnTopic| topic.partitions.iter().all(|n| exists(topic, *n));
        if !topics.iter().all(all) {
            return answered(topics, |topic, number| match exists(topic, number) {
                true => Err(ResponseError::OperationNotAttempted),
                false => Err(ResponseError::UnknownTopicOrPartition),
            });
        }
        let outcome = add(call, state, request);
        let outcome = outcome.map_err(|error| known(call.version(), error));
        answered(topics, |_, _| outcome)
    });
    AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results)
}

fn add(
    call: &Call,
    state: &mut State,
    request: &AddPartitionsToTxnRequest,
) -> Result<(), ResponseError> {
    let id = &request.v3_and_below_transactional_id;
    let producer = (*request.v3_and_below_producer_id, request.v3_and_below_producer_epoch);
    named(id)?;
    is_here(call, id)?;
    let partitions = request.v3_and_below_topics.iter().flat_map(|topic| {
        let name = Topic::from(&**topic.name);
        topic.partitions.iter().map(move |number| TopicPartition::new(name.clone(), *number))
    });
    state.join_transaction(id, producer, partitions)
}

fn answered(
    topics: &[AddPartitionsToTxnTopic],
    outcome: impl Fn(&AddPartitionsToTxnTopic, i32) -> Result<(), ResponseError>,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let topics = topics.iter().map(|topic| {
        let results = topic.partitions.iter().map(|number| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*number)
                .with_partition_error_code(code(outcome(topic, *number)))
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    topics.collect()
}

fn add_offsets(call: &Call, request: &AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse {
    let id = &request.transactional_id;
    let producer = (*request.producer_id, request.producer_epoch);
    let outcome = named(id).and_then(|()| is_here(call, id)).and_then(|()| {
        let partition = offsets_partition(&request.group_id);
        call.broker().change(|state| state.join_transaction(id, producer, [partition]))
    });
    let outcome = outcome.map_err(|error| known(call.version(), error));
    AddOffsetsToTxnResponse::default().with_error_code(code(outcome))
}

fn end(call: &Call, request: &EndTxnRequest) -> EndTxnResponse {
    let id = &request.transactional_id;
    let producer = (*request.producer_id, request.producer_epoch);
    let moves_on = call.version() >= MOVES_ON;
    let outcome = named(id).and_then(|()| is_here(call, id)).and_then(|()| {
        let id: Arc<str> = (&***id).into();
        let complete = |state: &mut State| {
            state.complete_transaction(&id, producer, request.committed, moves_on)
        };
        call.broker().change(complete)
    });
    let response =
        EndTxnResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    match outcome {
        Ok((id, epoch)) if moves_on => {
            response.with_producer_id(ProducerId(id)).with_producer_epoch(epoch)
        }
        Ok(_) => response,
        Err(error) => response.with_error_code(known(call.version(), error).code()),
    }
}

fn describe(call: &Call, request: &DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let state = call.broker().lock();
    let states = request.transactional_ids.iter().map(|id| {
        let found = named(id).and_then(|()| is_here(call, id)).and_then(|()| {
            let mut all = state.transactions.described();
            let found = all.find(|(name, _)| ***name == ***id);
            found.ok_or(ResponseError::TransactionalIdNotFound)
        });
        match found {
            Ok((_, described)) => describe_one(described),
            Err(error) => TransactionState::default()
                .with_error_code(error.code())
                .with_producer_id(ProducerId(0)),
        }
        .with_transactional_id(id.clone())
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

fn describe_one(described: DescribedTransaction) -> TransactionState {
    let (producer, epoch) = described.producer;
    let mut topics: BTreeMap<Topic, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in described.partitions {
        topics.entry(topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        let name = TopicName(StrBytes::from_string(topic.to_string()));
        TopicData::default().with_topic(name).with_partitions(partitions)
    });
    TransactionState::default()
        .with_transaction_state(StrBytes::from_static_str(described.state))
        .with_transaction_timeout_ms(
            i32::try_from(described.timeout.as_millis()).unwrap_or(i32::MAX),
        )
        .with_transaction_start_time_ms(described.began)
        .with_producer_id(ProducerId(producer))
        .with_producer_epoch(epoch)
        .with_topics(topics.collect())
}

fn list(call: &Call, request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let pattern = request.transactional_id_pattern.as_deref().filter(|text| !text.is_empty());
    let Ok(pattern) = pattern.map(whole_match).transpose() else {
        let error = ResponseError::InvalidRegularExpression;
        return ListTransactionsResponse::default().with_error_code(error.code());
    };
    let state = call.broker().lock();
    let now = (state.wall_clock)();
    let is_listed = |name: &str, described: &DescribedTransaction| {
        let (states, ids) = (&request.state_filters, &request.producer_id_filters);
        let is_older = now - described.began > request.duration_filter;
        (states.is_empty() || states.iter().any(|state| **state == *described.state))
            && (ids.is_empty() || ids.iter().any(|id| **id == described.producer.0))
            && (call.version() < 1 || request.duration_filter < 0 || is_older)
            && pattern.as_ref().is_none_or(|pattern| pattern.is_match(name))
    };
    let listed = state
        .transactions
        .described()
        .filter(|(name, described)| is_here(call, name).is_ok() && is_listed(name, described));
    let listed = listed.map(|(name, described)| {
        list_transactions_response::TransactionState::default()
            .with_transactional_id(TransactionalId(StrBytes::from_string(name.to_string())))
            .with_producer_id(ProducerId(described.producer.0))
            .with_transaction_state(StrBytes::from_static_str(described.state))
    });
    let unknown = request.state_filters.iter().filter(|state| !STATES.contains(&&***state));
    ListTransactionsResponse::default()
        .with_unknown_state_filters(unknown.cloned().collect())
        .with_transaction_states(listed.collect())
}
