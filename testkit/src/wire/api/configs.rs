//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use std::collections::BTreeSet;

use jobstream::record::Topic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, ApiKey, DescribeConfigsRequest,
    DescribeConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    alter_configs_response, incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;

use super::topic_admin::{Refusal, refusal, told};
use crate::broker::state::State;
use crate::broker::topic_config::{ENTRIES, TopicConfig};
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::topics::is_topic_name;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::DescribeConfigs, 1..=4, describe),
        Api::at_once(ApiKey::AlterConfigs, 0..=2, alter),
        Api::at_once(ApiKey::IncrementalAlterConfigs, 0..=1, alter_some),
    ]
}

/// An entry as it is described.
pub(super) struct Described {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) source: i8,
    kind: i8,
    read_only: bool,
    /// The name and the value of each place where something is said of it.
    synonyms: Vec<(&'static str, String, i8)>,
}

/// The whole configuration of a topic.
pub(super) fn of_topic(config: &TopicConfig) -> impl Iterator<Item = Described> {
    ENTRIES.iter().map(|entry| {
        let said = config.said(entry.name).map(str::to_owned);
        let of_topic = said.clone().map(|value| (entry.name, value, DYNAMIC_TOPIC));
        let of_broker = (entry.of_broker, entry.default.to_owned(), DEFAULT);
        let of_broker = Some(of_broker).filter(|_| !entry.of_broker.is_empty());
        Described {
            name: entry.name,
            source: if said.is_some() { DYNAMIC_TOPIC } else { DEFAULT },
            value: said.unwrap_or_else(|| entry.default.to_owned()),
            kind: entry.kind.number(),
            read_only: false,
            synonyms: of_topic.into_iter().chain(of_broker).collect(),
        }
    })
}

/// What clients read of a broker's configuration.
fn of_broker(call: &Call, state: &State) -> Vec<Described> {
    const BOOLEAN: i8 = 1;
    const INT: i8 = 3;
    const LONG: i8 = 5;
    let settings = call.cluster().settings();
    let millis = |duration: std::time::Duration| duration.as_millis().to_string();
    let auto_create = settings.auto_create;
    let entries = [
        ("auto.create.topics.enable", auto_create.is_some().to_string(), BOOLEAN),
        ("default.replication.factor", "1".to_owned(), INT),
        ("delete.topic.enable", "true".to_owned(), BOOLEAN),
        ("fetch.max.bytes", (55 << 20).to_string(), INT),
        ("group.initial.rebalance.delay.ms", millis(settings.rebalance_delay), INT),
        ("group.max.session.timeout.ms", millis(settings.session_timeout_max), INT),
        ("group.min.session.timeout.ms", millis(settings.session_timeout_min), INT),
        ("message.max.bytes", "1048588".to_owned(), INT),
        ("min.insync.replicas", "1".to_owned(), INT),
        ("node.id", call.node().id.to_string(), INT),
        ("num.partitions", auto_create.unwrap_or(1).to_string(), INT),
        ("offset.metadata.max.bytes", state.metadata_max_bytes.to_string(), INT),
        ("socket.request.max.bytes", settings.frame_max_bytes.to_string(), INT),
        ("transaction.max.timeout.ms", "900000".to_owned(), INT),
        ("log.retention.ms", "-1".to_owned(), LONG),
    ];
    let described = entries.into_iter().map(|(name, value, kind)| Described {
        name,
        value: value.clone(),
        source: STATIC_BROKER,
        kind,
        read_only: true,
        synonyms: vec![(name, value, STATIC_BROKER)],
    });
    described.collect()
}

fn describe(call: &Call, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let state = call.broker().lock();
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match described(call, &state, resource) {
            Ok(entries) => {
                let entries = entries.into_iter();
                let configs =
                    entries.map(|e| answered(e, call.version(), request.include_synonyms));
                result.with_configs(configs.collect()).with_error_message(Some(StrBytes::default()))
            }
            Err((error, message)) => {
                result.with_error_code(error.code()).with_error_message(told(message))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn described(
    call: &Call,
    state: &State,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Described>, Refusal> {
    let name = &*resource.resource_name;
    let mut entries = match resource.resource_type {
        TOPIC => of_topic(config_of(state, name)?).collect(),
        BROKER if name.is_empty() => Vec::new(),
        BROKER => match name.parse::<i32>() {
            Ok(id) if id == call.node().id => of_broker(call, state),
            Ok(id) => {
                let expected = call.node().id;
                let message =
                    format!("Unexpected broker id, expected {expected}, but received {id}");
                return Err(refusal(ResponseError::InvalidRequest, message));
            }
            Err(_) => {
                let message = format!("Broker id must be an integer, but it is: {name}");
                return Err(refusal(ResponseError::InvalidRequest, message));
            }
        },
        other => return Err(unsupported(other)),
    };
    if let Some(keys) = &resource.configuration_keys {
        entries.retain(|entry| keys.iter().any(|key| **key == *entry.name));
    }
    Ok(entries)
}

fn unsupported(resource_type: i8) -> Refusal {
    refusal(ResponseError::InvalidRequest, format!("Unsupported resource type: {resource_type}"))
}

fn config_of<'a>(state: &'a State, name: &str) -> Result<&'a TopicConfig, Refusal> {
    if !is_topic_name(name) {
        return Err(refusal(ResponseError::InvalidTopicException, "Topic name is invalid"));
    }
    let topic = state.topic_named(name);
    let unknown = "This server does not host this topic-partition.";
    let topic = topic.ok_or_else(|| refusal(ResponseError::UnknownTopicOrPartition, unknown))?;
    Ok(&topic.config)
}

fn answered(entry: Described, version: i16, with_synonyms: bool) -> DescribeConfigsResourceResult {
    let synonyms =
        entry.synonyms.into_iter().filter(|_| with_synonyms).map(|(name, value, source)| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_static_str(name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_source(source)
        });
    DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(entry.name))
        .with_value(Some(StrBytes::from_string(entry.value)))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source)
        .with_synonyms(synonyms.collect())
        .with_config_type(if version >= 3 { entry.kind } else { 0 })
}

/// What is asked of one entry.
struct Change<'a> {
    name: &'a str,
    operation: i8,
    value: Option<&'a str>,
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Changes the configuration of a resource, on top of what is said of it or instead of that.
fn change<'a>(
    state: &mut State,
    (resource_type, name): (i8, &'a str),
    changes: impl Iterator<Item = Change<'a>>,
    keeps: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    let changes: Vec<_> = changes.collect();
    if let Some(null) = changes.iter().find(|c| c.operation != DELETE && c.value.is_none()) {
        let message = format!("Null value not supported for : {}", null.name);
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    match resource_type {
        TOPIC => {}
        BROKER => {
            let message = "The configuration of a broker can't be altered.";
            return Err(refusal(ResponseError::InvalidRequest, message));
        }
        other => return Err(unsupported(other)),
    }
    // What is wrong with a change is answered before that there is no such topic.
    let known = config_of(state, name).cloned();
    let now = known.as_ref().ok().filter(|_| keeps);
    let mut config = now.cloned().unwrap_or_default();
    let mut names = BTreeSet::new();
    for Change { name, operation, value } in changes {
        if !names.insert(name) {
            let message = "Error due to duplicate config keys";
            return Err(refusal(ResponseError::InvalidRequest, message));
        }
        let changed = match (operation, value) {
            (DELETE, _) => {
                config.unset(name);
                Ok(())
            }
            (SET, Some(value)) => config.set(name, value),
            (APPEND, Some(value)) => config.change_list(name, value, true),
            (SUBTRACT, Some(value)) => config.change_list(name, value, false),
            _ => {
                let message = format!("Unknown operation type {operation}");
                return Err(refusal(ResponseError::UnknownServerError, message));
            }
        };
        changed.map_err(|message| refusal(ResponseError::InvalidConfig, message))?;
    }
    known?;
    if !validate_only {
        state.configure(&Topic::from(name), config);
    }
    Ok(())
}

fn alter(call: &Call, request: &AlterConfigsRequest) -> AlterConfigsResponse {
    let responses = call.broker().change(|state| {
        let responses = request.resources.iter().map(|resource| {
            let changes = resource.configs.iter().map(|config| Change {
                name: &config.name,
                operation: SET,
                value: config.value.as_deref(),
            });
            let key = (resource.resource_type, &*resource.resource_name);
            let outcome = change(state, key, changes, false, request.validate_only);
            let (error, message) = outcome.err().map_or((0, None), |(e, m)| (e.code(), m));
            alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(error)
                .with_error_message(told(message))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
        });
        responses.collect()
    });
    AlterConfigsResponse::default().with_responses(responses)
}

fn alter_some(
    call: &Call,
    request: &IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let responses = call.broker().change(|state| {
        let responses = request.resources.iter().map(|resource| {
            let changes = resource.configs.iter().map(|config| Change {
                name: &config.name,
                operation: config.config_operation,
                value: config.value.as_deref(),
            });
            let key = (resource.resource_type, &*resource.resource_name);
            let outcome = change(state, key, changes, true, request.validate_only);
            let (error, message) = outcome.err().map_or((0, None), |(e, m)| (e.code(), m));
            incremental_alter_configs_response::AlterConfigsResourceResponse::default()
                .with_error_code(error)
                .with_error_message(told(message))
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone())
        });
        responses.collect()
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}
