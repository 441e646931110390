//! AlterConfigs and IncrementalAlterConfigs.

use std::collections::BTreeSet;

use jobstream::record::Topic;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, ApiKey, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_response, incremental_alter_configs_response,
};

use super::configs::{BROKER, GROUP, TOPIC, check_broker, config_of, unsupported};
use super::topic_admin::{Refusal, refusal, told};
use crate::broker::config::{Kind, Said};
use crate::broker::state::State;
use crate::broker::topic_config::TopicConfig;
use crate::wire::broker_config::{BROKER_ENTRIES, BrokerConfig, UpdateMode};
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::group_config::GroupConfig;
use crate::wire::listener::Settings;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::AlterConfigs, 0..=2, alter),
        Api::at_once(ApiKey::IncrementalAlterConfigs, 0..=1, alter_some),
    ]
}

/// What is asked of one entry.
#[derive(Clone, Copy)]
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
    call: &Call,
    state: &mut State,
    (resource_type, name): (i8, &'a str),
    changes: impl Iterator<Item = Change<'a>>,
    keeps: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    let changes: Vec<_> = changes.collect();
    let names: BTreeSet<_> = changes.iter().map(|change| change.name).collect();
    if names.len() < changes.len() {
        let message = "Error due to duplicate config keys";
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    if let Some(null) = changes.iter().find(|c| c.operation != DELETE && c.value.is_none()) {
        let message = format!("Null value not supported for : {}", null.name);
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    match resource_type {
        TOPIC => change_topic(state, name, &changes, keeps, validate_only),
        BROKER => change_broker(call, state, name, &changes, keeps, validate_only),
        GROUP => {
            let settings = call.cluster().settings();
            change_group(settings, state, name, &changes, keeps, validate_only)
        }
        other => Err(unsupported(other)),
    }
}

/// Whether there are such operations, and lists where they want some, in the words of a broker.
fn check_operations_of_broker(changes: &[Change<'_>]) -> Result<(), Refusal> {
    for change in changes {
        let word = match change.operation {
            SET | DELETE => continue,
            APPEND => "append",
            SUBTRACT => "subtract",
            operation => return Err(unknown_operation(operation)),
        };
        match BROKER_ENTRIES.get(change.name).map(|(entry, _)| entry.kind) {
            Some(Kind::List(_)) => {}
            Some(_) => {
                let message =
                    format!("Config value {word} is not allowed for config key: {}", change.name);
                return Err(refusal(ResponseError::InvalidConfig, message));
            }
            None => {
                let message = format!("Unknown broker config name: {}", change.name);
                return Err(refusal(ResponseError::UnknownServerError, message));
            }
        }
    }
    Ok(())
}

fn unknown_operation(operation: i8) -> Refusal {
    refusal(ResponseError::UnknownServerError, format!("Unknown operation type {operation}"))
}

fn change_broker(
    call: &Call,
    state: &mut State,
    name: &str,
    changes: &[Change<'_>],
    keeps: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_broker(call, name)?;
    check_operations_of_broker(changes)?;
    let now = state.wire.broker_configs.of(name);
    let mut config = if keeps { now.clone() } else { BrokerConfig::default() };
    let sets = |change: &&Change<'_>| change.operation != DELETE;
    let names = changes.iter().filter(sets).map(|change| change.name).collect();
    let invalid = |message| refusal(ResponseError::InvalidRequest, message);
    UpdateMode::ReadOnly.refuse(&names).map_err(invalid)?;
    UpdateMode::PerListener.refuse(&names).map_err(invalid)?;
    let (known, custom): (Vec<Change<'_>>, Vec<_>) =
        changes.iter().copied().partition(|change| BROKER_ENTRIES.contains_key(change.name));
    apply(&mut config.said, &known).map_err(|(error, message)| match error {
        ResponseError::InvalidConfig => (ResponseError::InvalidRequest, message),
        other => (other, message),
    })?;
    if name.is_empty() {
        UpdateMode::PerBroker.refuse(&names).map_err(invalid)?;
    }
    config.check_threads(&now).map_err(invalid)?;
    if !name.is_empty() && names.contains("min.insync.replicas") {
        let message = "Broker-level min.insync.replicas cannot be altered while ELR is enabled.";
        return Err(refusal(ResponseError::InvalidConfig, message));
    }
    for change in custom {
        match change.operation {
            DELETE => config.custom.remove(change.name),
            _ => config.custom.insert(change.name.to_owned()),
        };
    }
    if !validate_only {
        state.wire.broker_configs.set(name, config);
        let defaults = state.wire.broker_configs.topic_defaults();
        state.set_topic_defaults(&defaults);
    }
    Ok(())
}

fn change_group(
    settings: &Settings,
    state: &mut State,
    name: &str,
    changes: &[Change<'_>],
    keeps: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    check_operations(&GroupConfig::default().0, changes)?;
    if name.is_empty() {
        let message = "Default group resources are not allowed.";
        return Err(refusal(ResponseError::InvalidRequest, message));
    }
    let now = state.wire.group_configs.get(name).filter(|_| keeps);
    let mut config = now.cloned().unwrap_or_default();
    apply(&mut config.0, changes)?;
    let limits = config.check(settings);
    limits.map_err(|message| refusal(ResponseError::InvalidConfig, message))?;
    if !validate_only {
        state.wire.group_configs.insert(name.to_owned(), config);
    }
    Ok(())
}

fn change_topic(
    state: &mut State,
    name: &str,
    changes: &[Change<'_>],
    keeps: bool,
    validate_only: bool,
) -> Result<(), Refusal> {
    let new = || TopicConfig::new(state.wire.topic_defaults.clone());
    check_operations(new().said(), changes)?;
    // What is wrong with a change is answered before that there is no such topic.
    let known = match config_of(state, name) {
        Err((ResponseError::InvalidTopicException, message)) => {
            return Err((ResponseError::InvalidTopicException, message));
        }
        known => known.cloned(),
    };
    let now = known.as_ref().ok().filter(|_| keeps);
    let mut config = now.cloned().unwrap_or_else(new);
    apply(config.said_mut(), changes)?;
    known?;
    if !validate_only {
        state.configure(&Topic::from(name), config);
    }
    Ok(())
}

/// Whether there are such operations, and lists where they want some.
fn check_operations(said: &Said, changes: &[Change<'_>]) -> Result<(), Refusal> {
    for change in changes {
        match change.operation {
            SET | DELETE => {}
            APPEND | SUBTRACT => said
                .check_list(change.name, change.operation == APPEND)
                .map_err(|message| refusal(ResponseError::InvalidConfig, message))?,
            operation => return Err(unknown_operation(operation)),
        }
    }
    Ok(())
}

fn apply(said: &mut Said, changes: &[Change<'_>]) -> Result<(), Refusal> {
    for &Change { name, operation, value } in changes {
        let changed = match (operation, value) {
            (DELETE, _) => {
                said.unset(name);
                Ok(())
            }
            (SET, Some(value)) => said.set(name, value),
            (APPEND, Some(value)) => said.change_list(name, value, true),
            (SUBTRACT, Some(value)) => said.change_list(name, value, false),
            _ => return Err(unknown_operation(operation)),
        };
        changed.map_err(|message| refusal(ResponseError::InvalidConfig, message))?;
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
            let outcome = change(call, state, key, changes, false, request.validate_only);
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
            let outcome = change(call, state, key, changes, true, request.validate_only);
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
