//! CreateTopics, DeleteTopics and CreatePartitions.

use std::collections::BTreeSet;

use jobstream::record::{Topic, TopicId};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    ApiKey, BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::configs;
use crate::broker::TopicOptions;
use crate::broker::state::State;
use crate::broker::topic_config::TopicConfig;
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::internal::{CLUSTER_METADATA, is_internal};
use crate::wire::topics::{TopicKey, is_topic_name};

/// Partitions that one request may create, as in Kafka.
const PARTITIONS_MAX: i64 = 10_000;
/// The first version of DeleteTopics that names topics by their ids.
const BY_ID: i16 = 6;
/// The first version of CreateTopics whose answer describes the topic.
const DESCRIBES: i16 = 5;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::CreateTopics, 2..=7, create_topics),
        Api::at_once(ApiKey::DeleteTopics, 1..=6, delete_topics),
        Api::at_once(ApiKey::CreatePartitions, 0..=3, create_partitions),
    ]
}

/// Why a request is refused, with what Kafka says to it.
pub(super) type Refusal = (ResponseError, Option<String>);

pub(super) fn refusal(error: ResponseError, message: impl Into<String>) -> Refusal {
    (error, Some(message.into()))
}

/// What an answer says of an error.
pub(super) fn told(message: Option<String>) -> Option<StrBytes> {
    message.map(StrBytes::from_string)
}

/// The names that a request has more than once.
fn duplicates<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

fn create_topics(call: &Call, request: &CreateTopicsRequest) -> CreateTopicsResponse {
    let twice = duplicates(request.topics.iter().map(|topic| &**topic.name));
    let partitions = |topic: &CreatableTopic| {
        i64::from(topic.num_partitions).max(topic.assignments.len() as i64)
    };
    let is_large = request.topics.iter().map(partitions).sum::<i64>() > PARTITIONS_MAX;
    let mut answered_twice = BTreeSet::new();
    let once = request
        .topics
        .iter()
        .filter(|topic| !twice.contains(&**topic.name) || answered_twice.insert(&**topic.name));
    let topics = call.broker().change(|state| {
        let topics = once.map(|topic| {
            let outcome = if twice.contains(&**topic.name) {
                Err(refusal(ResponseError::InvalidRequest, "Duplicate topic name."))
            } else if is_large {
                let message = "Excessively large number of partitions per request.";
                Err(refusal(ResponseError::PolicyViolation, message))
            } else {
                create(call, state, topic, request.validate_only)
            };
            let result = CreatableTopicResult::default().with_name(topic.name.clone());
            match outcome {
                Ok(created) => described(call, result, created),
                Err((error, message)) => result
                    .with_error_code(error.code())
                    .with_error_message(told(message))
                    .with_num_partitions(-1)
                    .with_replication_factor(-1),
            }
        });
        topics.collect()
    });
    CreateTopicsResponse::default().with_topics(topics)
}

/// A topic that was created, or would have been.
struct Created {
    /// None if it was only validated.
    id: Option<TopicId>,
    partitions: i32,
    replicas: i16,
    config: TopicConfig,
}

fn described(call: &Call, result: CreatableTopicResult, created: Created) -> CreatableTopicResult {
    let Created { id, partitions, replicas, config } = created;
    let id = id.map(|id| Uuid::from_u128(id.as_u128())).unwrap_or_default();
    let result = result.with_topic_id(id);
    if call.version() < DESCRIBES {
        return result.with_num_partitions(-1).with_replication_factor(-1);
    }
    let configs = configs::of_topic(&config).map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(entry.name)
            .with_value(entry.value)
            .with_config_source(entry.source)
    });
    result
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
        .with_configs(Some(configs.collect()))
}

fn create(
    call: &Call,
    state: &mut State,
    asked: &CreatableTopic,
    validate_only: bool,
) -> Result<Created, Refusal> {
    let name = &**asked.name;
    if name == CLUSTER_METADATA {
        let message = format!("Creation of internal topic {name} is prohibited.");
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    check_name(state, name)?;
    let mut config = TopicConfig::new(state.wire.topic_defaults.clone());
    for entry in &asked.configs {
        let Some(value) = &entry.value else {
            let message = format!("Null value not supported for topic configs: {}", &*entry.name);
            return Err(refusal(ResponseError::InvalidConfig, message));
        };
        let set = config.said_mut().set(&entry.name, value);
        set.map_err(|message| refusal(ResponseError::InvalidConfig, message))?;
    }
    let (partitions, replicas) = match asked.assignments.is_empty() {
        true => counts(call, asked)?,
        false => assigned(call, asked)?,
    };
    let id = (!validate_only).then(|| {
        if is_internal(name) {
            return Some(state.add_internal(name, partitions, config.clone()));
        }
        let options = TopicOptions::partitions(partitions);
        let topic = Topic::from(name);
        state.create_topic(&topic, &options);
        state.configure(&topic, config.clone());
        state.topic_id(name)
    });
    Ok(Created { id: id.flatten(), partitions, replicas, config })
}

fn check_name(state: &State, name: &str) -> Result<(), Refusal> {
    let invalid = |message: String| Err(refusal(ResponseError::InvalidTopicException, message));
    if !is_topic_name(name) {
        return invalid(match name {
            "" => "Topic name is invalid: the empty string is not allowed".to_owned(),
            "." | ".." => format!("Topic name is invalid: '{name}' is not allowed"),
            _ if name.len() > 249 => format!(
                "Topic name is invalid: the length of '{name}' is longer than the max allowed \
                 length 249"
            ),
            _ => format!(
                "Topic name is invalid: '{name}' contains one or more characters other than \
                 ASCII alphanumerics, '.', '_' and '-'"
            ),
        });
    }
    if state.topic_named(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(refusal(ResponseError::TopicAlreadyExists, message));
    }
    // Names of metrics have an underscore for a point.
    let plain = name.replace('.', "_");
    let mut known = state.all_topics().map(|topic| &topic.name);
    let collides = known.find(|known| known.replace('.', "_") == plain);
    match collides {
        Some(known) => invalid(format!("Topic '{name}' collides with existing topic: {known}")),
        None => Ok(()),
    }
}

/// Partitions and replicas of a topic that is placed by the broker.
fn counts(call: &Call, asked: &CreatableTopic) -> Result<(i32, i16), Refusal> {
    let nodes = call.cluster().nodes().len();
    let replicas = match asked.replication_factor {
        -1 => 1,
        replicas if replicas < 1 => {
            let message =
                "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(refusal(ResponseError::InvalidReplicationFactor, message));
        }
        replicas => replicas,
    };
    let partitions = match asked.num_partitions {
        -1 => call.cluster().settings().auto_create.unwrap_or(1),
        partitions if partitions < 1 => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(refusal(ResponseError::InvalidPartitions, message));
        }
        partitions => partitions,
    };
    if usize::try_from(replicas).is_ok_and(|replicas| replicas > nodes) {
        let message = format!(
            "Unable to replicate the partition {replicas} time(s): The target replication factor \
             of {replicas} cannot be reached because only {nodes} broker(s) are registered."
        );
        return Err(refusal(ResponseError::InvalidReplicationFactor, message));
    }
    Ok((partitions, replicas))
}

/// Partitions and replicas of a topic that the client places; it is led as all others are.
fn assigned(call: &Call, asked: &CreatableTopic) -> Result<(i32, i16), Refusal> {
    if asked.replication_factor != -1 {
        let message = "A manual partition assignment was specified, but replication factor was not set to -1.";
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    if asked.num_partitions != -1 {
        let message =
            "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    let numbers: BTreeSet<i32> = asked.assignments.iter().map(|a| a.partition_index).collect();
    let invalid = |message| Err(refusal(ResponseError::InvalidReplicaAssignment, message));
    if !numbers.iter().copied().eq(0..asked.assignments.len() as i32) {
        return invalid("partitions should be a consecutive 0-based integer sequence");
    }
    let first = asked.assignments[0].broker_ids.len();
    for assignment in &asked.assignments {
        let ids = &assignment.broker_ids;
        check_replicas(call, ids)?;
        if ids.len() != first {
            return invalid(
                "The manual partition assignment includes a partition with another \
                            number of replicas, but this is not consistent with previous partitions",
            );
        }
    }
    Ok((asked.assignments.len() as i32, i16::try_from(first).unwrap_or(i16::MAX)))
}

pub(super) fn check_replicas(call: &Call, ids: &[BrokerId]) -> Result<(), Refusal> {
    let invalid = |message: String| Err(refusal(ResponseError::InvalidReplicaAssignment, message));
    if ids.is_empty() {
        return invalid(
            "The manual partition assignment includes an empty replica list.".to_owned(),
        );
    }
    let once: BTreeSet<i32> = ids.iter().map(|id| **id).collect();
    if once.len() != ids.len() {
        let twice = ids.iter().enumerate().find(|(place, id)| ids[..*place].contains(id));
        let twice = twice.map_or(-1, |(_, id)| **id);
        return invalid(format!(
            "The manual partition assignment includes the broker {twice} more than once."
        ));
    }
    let nodes = call.cluster().nodes();
    match ids.iter().find(|id| !nodes.iter().any(|node| node.id == ***id)) {
        Some(id) => invalid(format!(
            "The manual partition assignment includes broker {}, but no such broker is registered.",
            **id
        )),
        None => Ok(()),
    }
}

fn delete_topics(call: &Call, request: &DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = |name: &TopicName| DeleteTopicState::default().with_name(Some(name.clone()));
    let asked: Vec<_> = match call.version() {
        BY_ID.. => request.topics.clone(),
        _ => request.topic_names.iter().map(named).collect(),
    };
    let names = asked.iter().filter_map(|asked| asked.name.as_deref());
    let twice: BTreeSet<String> =
        duplicates(names.map(|name| &**name)).into_iter().map(str::to_owned).collect();
    let responses = call.broker().change(|state| {
        let responses = asked.into_iter().map(|asked| {
            let is_twice = asked.name.as_deref().is_some_and(|name| twice.contains(&**name));
            let outcome = match is_twice {
                true => Err(refusal(ResponseError::InvalidRequest, "Duplicate topic name.")),
                false => delete(state, &asked),
            };
            let result = DeletableTopicResult::default();
            match outcome {
                Ok((name, id)) => {
                    let name = TopicName(StrBytes::from_string(name.to_string()));
                    let id = Uuid::from_u128(id.as_u128());
                    let id = if call.version() >= BY_ID { id } else { Uuid::nil() };
                    result.with_name(Some(name)).with_topic_id(id)
                }
                Err((error, message)) => result
                    .with_name(asked.name.clone())
                    .with_topic_id(asked.topic_id)
                    .with_error_code(error.code())
                    .with_error_message(told(message).filter(|_| call.version() >= 5)),
            }
        });
        responses.collect()
    });
    DeleteTopicsResponse::default().with_responses(responses)
}

fn delete(state: &mut State, asked: &DeleteTopicState) -> Result<(Topic, TopicId), Refusal> {
    let key = match &asked.name {
        Some(_) if !asked.topic_id.is_nil() => {
            let message = "You may not specify both topic name and topic id.";
            return Err(refusal(ResponseError::InvalidRequest, message));
        }
        None if asked.topic_id.is_nil() => {
            let message = "Neither topic name nor id were specified.";
            return Err(refusal(ResponseError::InvalidRequest, message));
        }
        Some(name) => TopicKey::Name(name),
        None => TopicKey::Id(asked.topic_id),
    };
    let unknown = |error| match error {
        ResponseError::UnknownTopicId => refusal(error, "This server does not host this topic ID."),
        error => refusal(error, "This server does not host this topic-partition."),
    };
    let topic = state.topic(key).map_err(unknown)?;
    let (name, id) = (topic.name.clone(), topic.id);
    state.delete_topic(&name);
    Ok((name, id))
}

fn create_partitions(call: &Call, request: &CreatePartitionsRequest) -> CreatePartitionsResponse {
    let twice = duplicates(request.topics.iter().map(|topic| &**topic.name));
    let mut answered_twice = BTreeSet::new();
    let once = request
        .topics
        .iter()
        .filter(|topic| !twice.contains(&**topic.name) || answered_twice.insert(&**topic.name));
    let results = call.broker().change(|state| {
        let results = once.map(|topic| {
            let outcome = match twice.contains(&**topic.name) {
                true => Err(refusal(ResponseError::InvalidRequest, "Duplicate topic name.")),
                false => grow(call, state, topic, request.validate_only),
            };
            let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
            match outcome {
                Ok(()) => result,
                Err((error, message)) => {
                    result.with_error_code(error.code()).with_error_message(told(message))
                }
            }
        });
        results.collect()
    });
    CreatePartitionsResponse::default().with_results(results)
}

fn grow(
    call: &Call,
    state: &mut State,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let topic = state.topic(TopicKey::Name(&asked.name)).map_err(|error| (error, None))?;
    let (name, before) = (topic.name.clone(), topic.partitions());
    let invalid = |message: String| Err(refusal(ResponseError::InvalidPartitions, message));
    if asked.count == before {
        return invalid(format!("Topic already has {before} partition(s)."));
    }
    if asked.count < before {
        let count = asked.count;
        return invalid(format!(
            "The topic {} currently has {before} partition(s); {count} would not be an increase.",
            &**asked.name
        ));
    }
    let more = asked.count - before;
    if i64::from(more) > PARTITIONS_MAX {
        let message = "Excessively large number of partitions per request.";
        return Err(refusal(ResponseError::PolicyViolation, message));
    }
    if let Some(assignments) = &asked.assignments {
        if assignments.len() as i64 != i64::from(more) {
            let message = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were \
                 specified.",
                assignments.len()
            );
            return Err(refusal(ResponseError::InvalidReplicaAssignment, message));
        }
        assignments.iter().try_for_each(|ids| check_replicas(call, &ids.broker_ids))?;
    }
    if !validate_only {
        let has_grown = state.grow_topic(&name, asked.count);
        if !has_grown && let Some(topic) = state.topic_named_mut(&name) {
            topic.grow(asked.count);
        }
    }
    Ok(())
}
