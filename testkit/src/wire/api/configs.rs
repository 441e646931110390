//! DescribeConfigs and ListConfigResources.

use std::borrow::Cow;
use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{
    ApiKey, DescribeConfigsRequest, DescribeConfigsResponse, ListConfigResourcesRequest,
    ListConfigResourcesResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::cluster::LOG_DIR;
use super::topic_admin::{Refusal, refusal, told};
use crate::broker::config::Kind;
use crate::broker::state::State;
use crate::broker::topic_config::{ENTRIES, TopicConfig};
use crate::wire::broker_config::{BROKER_ENTRIES, BrokerConfig, UpdateMode};
use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::group_config::{self, GroupConfig};
use crate::wire::listener::Settings;
use crate::wire::topics::is_topic_name;

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// The entries of a broker that have no default, since others stand for it.
const WITHOUT_DEFAULT: &[&str] =
    &["", "log.flush.interval.ms", "log.roll.jitter.ms", "log.roll.ms"];

/// The first version that has types and texts of entries.
const TYPES: i16 = 3;

/// Where a value comes from.
const DYNAMIC_TOPIC: i8 = 1;
const DYNAMIC_BROKER: i8 = 2;
const DYNAMIC_DEFAULT_BROKER: i8 = 3;
const STATIC_BROKER: i8 = 4;
const OF_GROUP: i8 = 8;
const DEFAULT: i8 = 5;

pub(super) fn apis() -> Vec<Api> {
    vec![
        Api::at_once(ApiKey::DescribeConfigs, 1..=4, describe),
        Api::at_once(ApiKey::ListConfigResources, 0..=1, list),
    ]
}

/// An entry as it is described.
pub(super) struct Described {
    pub(super) name: StrBytes,
    pub(super) value: Option<StrBytes>,
    pub(super) source: i8,
    /// As DescribeConfigs numbers it.
    kind: i8,
    read_only: bool,
    is_sensitive: bool,
    synonyms: Vec<Place>,
}

/// A place where something is said of an entry: its name there, the value, and the source.
type Place = (Cow<'static, str>, Option<String>, i8);

impl Described {
    /// The first place decides.
    fn new(name: &'static str, kind: Kind, places: Vec<Place>) -> Self {
        let (value, source) = match places.first() {
            Some((_, value, source)) => (value.clone(), *source),
            None => (None, DEFAULT),
        };
        let is_sensitive = kind == Kind::Password;
        Self {
            name: StrBytes::from_static_str(name),
            value: value.filter(|_| !is_sensitive).map(StrBytes::from_string),
            source,
            kind: kind.number(),
            read_only: false,
            is_sensitive,
            synonyms: places,
        }
    }

    /// One that Kafka does not know: it may be a password of a plugin.
    fn custom(name: &str) -> Self {
        Self {
            name: StrBytes::from_string(name.to_owned()),
            value: None,
            source: DYNAMIC_DEFAULT_BROKER,
            kind: 0,
            read_only: true,
            is_sensitive: true,
            synonyms: vec![(name.to_owned().into(), None, DYNAMIC_DEFAULT_BROKER)],
        }
    }
}

/// The whole configuration of a topic.
pub(super) fn of_topic(config: &TopicConfig) -> impl Iterator<Item = Described> {
    ENTRIES.iter().map(|entry| {
        let place = |value: &str, name: &'static str, source| {
            Some((name.into(), Some(value.to_owned()), source))
        };
        let of_topic =
            config.said().get(entry.name).and_then(|said| place(said, entry.name, DYNAMIC_TOPIC));
        let of_broker = config
            .of_broker(entry.name)
            .and_then(|said| place(said, entry.of_broker, DYNAMIC_DEFAULT_BROKER));
        let default = place(entry.default, entry.of_broker, DEFAULT);
        let default = default.filter(|_| !WITHOUT_DEFAULT.contains(&entry.of_broker));
        let places: Vec<_> = of_topic.into_iter().chain(of_broker).chain(default).collect();
        let is_said = !places.is_empty();
        let described = Described::new(entry.name, entry.kind, places);
        let default = Some(StrBytes::from_static_str(entry.default));
        Described { value: if is_said { described.value } else { default }, ..described }
    })
}

/// The whole configuration of a group.
fn of_group(config: &GroupConfig, settings: &Settings) -> Vec<Described> {
    let described = group_config::ENTRIES.iter().map(|entry| {
        let place = match config.0.get(entry.name) {
            Some(said) => (entry.name.into(), Some(said.to_owned()), OF_GROUP),
            None => (entry.name.into(), Some(GroupConfig::default_of(entry, settings)), DEFAULT),
        };
        Described::new(entry.name, entry.kind, vec![place])
    });
    described.collect()
}

/// The whole configuration of a broker.
fn of_broker(call: &Call, state: &State) -> Vec<Described> {
    let configs = &state.wire.broker_configs;
    let own = configs.of(&call.node().id.to_string());
    let (of_all, fixed) = (configs.of(""), set_at_start(call, state));
    let described = BROKER_ENTRIES.values().map(|(entry, mode)| {
        let name = entry.name;
        let said = |config: &BrokerConfig, source| {
            config.said.get(name).map(|value| (name.into(), Some(value.to_owned()), source))
        };
        let fixed = fixed.iter().find(|(of, _)| *of == name);
        let fixed = fixed.map(|(_, value)| (name.into(), Some(value.clone()), STATIC_BROKER));
        let default = Some(entry.default).filter(|default| *default != "null");
        let default = default.map(|default| (name.into(), Some(default.to_owned()), DEFAULT));
        let places = said(&own, DYNAMIC_BROKER)
            .into_iter()
            .chain(said(&of_all, DYNAMIC_DEFAULT_BROKER))
            .chain(fixed)
            .chain(default);
        let read_only = *mode == UpdateMode::ReadOnly;
        Described { read_only, ..Described::new(name, entry.kind, places.collect()) }
    });
    described.collect()
}

/// What a listener is told at its start, by the names that it has in a broker's configuration.
fn set_at_start(call: &Call, state: &State) -> Vec<(&'static str, String)> {
    let settings = call.cluster().settings();
    let millis = |duration: std::time::Duration| duration.as_millis().to_string();
    let protocol = match (settings.accounts.is_empty(), settings.tls_names.is_some()) {
        (true, false) => "PLAINTEXT",
        (true, true) => "SSL",
        (false, false) => "SASL_PLAINTEXT",
        (false, true) => "SASL_SSL",
    };
    let listener = format!("{protocol}://{}:{}", call.node().host, call.node().port);
    vec![
        ("advertised.listeners", listener.clone()),
        ("auto.create.topics.enable", settings.auto_create.is_some().to_string()),
        ("group.consumer.heartbeat.interval.ms", millis(settings.consumer_heartbeat_interval)),
        ("group.consumer.session.timeout.ms", millis(settings.consumer_session_timeout)),
        ("group.initial.rebalance.delay.ms", millis(settings.rebalance_delay)),
        ("group.max.session.timeout.ms", millis(settings.session_timeout_max)),
        ("group.min.session.timeout.ms", millis(settings.session_timeout_min)),
        ("listeners", listener),
        ("log.dirs", LOG_DIR.to_owned()),
        ("node.id", call.node().id.to_string()),
        ("num.partitions", settings.auto_create.unwrap_or(1).to_string()),
        ("offset.metadata.max.bytes", state.metadata_max_bytes.to_string()),
        ("socket.request.max.bytes", settings.frame_max_bytes.to_string()),
    ]
}

/// What is said of all brokers.
fn of_all_brokers(state: &State) -> Vec<Described> {
    let config = state.wire.broker_configs.of("");
    let known = BROKER_ENTRIES.values().filter_map(|(entry, _)| {
        let value = config.said.get(entry.name)?.to_owned();
        let place = (entry.name.into(), Some(value), DYNAMIC_DEFAULT_BROKER);
        Some(Described::new(entry.name, entry.kind, vec![place]))
    });
    known.chain(config.custom.iter().map(|name| Described::custom(name))).collect()
}

/// The resources that have a configuration of their own, of these types or of all.
fn list(call: &Call, request: &ListConfigResourcesRequest) -> ListConfigResourcesResponse {
    const KNOWN: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
    let types = match &request.resource_types {
        _ if call.version() == 0 => vec![CLIENT_METRICS],
        asked if asked.is_empty() => KNOWN.to_vec(),
        asked => asked.clone(),
    };
    let response = ListConfigResourcesResponse::default();
    if types.iter().any(|asked| !KNOWN.contains(asked)) {
        return response.with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let types: BTreeSet<_> = types.into_iter().collect();
    let state = call.broker().lock();
    let resources = types.iter().flat_map(|resource_type| {
        let names: Vec<String> = match *resource_type {
            TOPIC => state.all_topics().map(|topic| topic.name.to_string()).collect(),
            BROKER | BROKER_LOGGER => {
                call.cluster().nodes().iter().map(|node| node.id.to_string()).collect()
            }
            GROUP => state.wire.group_configs.keys().cloned().collect(),
            _ => Vec::new(),
        };
        names.into_iter().map(|name| {
            let resource =
                ConfigResource::default().with_resource_name(StrBytes::from_string(name));
            // Version 0 knows one type, and does not name it.
            if call.version() == 0 { resource } else { resource.with_resource_type(*resource_type) }
        })
    });
    response.with_config_resources(resources.collect())
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
        BROKER if name.is_empty() => of_all_brokers(state),
        GROUP if name.is_empty() => {
            return Err(refusal(ResponseError::InvalidRequest, "Group name must not be empty"));
        }
        GROUP => {
            let config = state.wire.group_configs.get(name).cloned().unwrap_or_default();
            of_group(&config, call.cluster().settings())
        }
        BROKER => {
            check_broker(call, name)?;
            of_broker(call, state)
        }
        other => return Err(unsupported(other)),
    };
    if let Some(keys) = &resource.configuration_keys {
        entries.retain(|entry| keys.contains(&entry.name));
    }
    Ok(entries)
}

pub(super) fn unsupported(resource_type: i8) -> Refusal {
    refusal(ResponseError::InvalidRequest, format!("Unsupported resource type: {resource_type}"))
}

pub(super) fn config_of<'a>(state: &'a State, name: &str) -> Result<&'a TopicConfig, Refusal> {
    if !is_topic_name(name) {
        return Err(refusal(ResponseError::InvalidTopicException, "Topic name is invalid"));
    }
    let topic = state.topic_named(name);
    let unknown = "This server does not host this topic-partition.";
    let topic = topic.ok_or_else(|| refusal(ResponseError::UnknownTopicOrPartition, unknown))?;
    Ok(&topic.config)
}

fn answered(entry: Described, version: i16, with_synonyms: bool) -> DescribeConfigsResourceResult {
    let synonyms = entry.synonyms.into_iter().filter(|_| with_synonyms);
    let synonyms = synonyms.map(|(name, value, source)| {
        DescribeConfigsSynonym::default()
            .with_name(StrBytes::from_string(name.into_owned()))
            .with_value(value.filter(|_| !entry.is_sensitive).map(StrBytes::from_string))
            .with_source(source)
    });
    let result = DescribeConfigsResourceResult::default()
        .with_name(entry.name)
        .with_value(entry.value)
        .with_read_only(entry.read_only)
        .with_config_source(entry.source)
        .with_is_sensitive(entry.is_sensitive)
        .with_synonyms(synonyms.collect());
    if version >= TYPES {
        result.with_config_type(entry.kind).with_documentation(None)
    } else {
        result
    }
}

/// A broker speaks for itself, or for all of them.
pub(super) fn check_broker(call: &Call, name: &str) -> Result<(), Refusal> {
    let expected = call.node().id;
    match name.parse::<i32>() {
        _ if name.is_empty() => Ok(()),
        Ok(id) if id == expected => Ok(()),
        Ok(id) => {
            let message = format!("Unexpected broker id, expected {expected}, but received {id}");
            Err(refusal(ResponseError::InvalidRequest, message))
        }
        Err(_) => {
            let message = format!("Broker id must be an integer, but it is: {name}");
            Err(refusal(ResponseError::InvalidRequest, message))
        }
    }
}
