//! Configurations of topics, brokers and groups: described and altered.

use std::time::Duration;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
    alter_configs_request, incremental_alter_configs_request,
};

use super::{Answer, Side, code, text};
use crate::operation::Topic;
use crate::random::Random;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource {
    Topic(Topic),
    Group(&'static str),
    /// One that does not name any.
    Broker(&'static str),
    Unknown,
}

impl Resource {
    fn generate(random: &mut Random) -> Self {
        match random.below(10) {
            0 => Self::Group(random.of(&["k0", "k1", ""])),
            1 => Self::Broker(random.of(&["no-number", "77"])),
            2 => Self::Unknown,
            _ => Self::Topic(Topic::generate(random)),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ConfigOperation {
    /// One entry, by an operation.
    Alter {
        resource: Resource,
        operation: i8,
        name: &'static str,
        value: Option<&'static str>,
        twice: bool,
        validate_only: bool,
    },
    /// All of them, by those that are said.
    AlterAll {
        resource: Resource,
        name: &'static str,
        value: Option<&'static str>,
        validate_only: bool,
        version: i16,
    },
    Describe {
        resource: Resource,
        keys: Option<&'static str>,
        synonyms: bool,
        version: i16,
    },
}

const NAMES: &[&str] = &[
    "retention.ms",
    "cleanup.policy",
    "segment.ms",
    "segment.bytes",
    "max.message.bytes",
    "no.such.config",
    "consumer.session.timeout.ms",
];
const VALUES: &[Option<&str>] =
    &[Some("delete"), Some("9000000000"), Some("2000000"), Some("-1"), Some(""), None];

impl ConfigOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let resource = Resource::generate(random);
        let (name, value) = (random.of(NAMES), random.of(VALUES));
        let validate_only = random.one_in(6);
        match random.below(6) {
            0..=1 => Self::Alter {
                resource,
                operation: random.of(&[0, 0, 1, 2, 3, 9]),
                name,
                value,
                twice: random.one_in(12),
                validate_only,
            },
            2 => Self::AlterAll {
                resource,
                name,
                value,
                validate_only,
                version: random.of(&[0, 1, 2]),
            },
            _ => Self::Describe {
                resource,
                keys: random.of(&[None, None, Some("retention.ms"), Some("no.such.config")]),
                synonyms: random.one_in(2),
                version: random.of(&[1, 2, 3, 4]),
            },
        }
    }
}

/// Kafka's other parts learn of a change a moment after its controller.
const KNOWN_AFTER: Duration = Duration::from_millis(50);

impl Side {
    fn resource(&self, resource: Resource) -> (i8, String) {
        match resource {
            Resource::Topic(topic) => (2, self.named(topic)),
            Resource::Broker(name) => (4, name.to_owned()),
            Resource::Group(name) => (32, self.group(name).to_string()),
            Resource::Unknown => (77, "name".to_owned()),
        }
    }

    pub(super) async fn ask_config(&mut self, operation: &ConfigOperation) -> Answer {
        let answer = match operation {
            ConfigOperation::Alter { resource, operation, name, value, twice, validate_only } => {
                let config = incremental_alter_configs_request::AlterableConfig::default()
                    .with_name(text(name))
                    .with_config_operation(*operation)
                    .with_value(value.map(text));
                let (kind, of) = self.resource(*resource);
                let resource = incremental_alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(&of))
                    .with_configs(vec![config; if *twice { 2 } else { 1 }]);
                let request = IncrementalAlterConfigsRequest::default()
                    .with_validate_only(*validate_only)
                    .with_resources(vec![resource]);
                self.client.ask(&request, 1).await.responses[0].error_code
            }
            ConfigOperation::AlterAll { resource, name, value, validate_only, version } => {
                let config = alter_configs_request::AlterableConfig::default()
                    .with_name(text(name))
                    .with_value(value.map(text));
                let (kind, of) = self.resource(*resource);
                let resource = alter_configs_request::AlterConfigsResource::default()
                    .with_resource_type(kind)
                    .with_resource_name(text(&of))
                    .with_configs(vec![config]);
                let request = AlterConfigsRequest::default()
                    .with_validate_only(*validate_only)
                    .with_resources(vec![resource]);
                self.client.ask(&request, *version).await.responses[0].error_code
            }
            ConfigOperation::Describe { resource, keys, synonyms, version } => {
                return self.describe_config(*resource, *keys, *synonyms, *version).await;
            }
        };
        if self.is_kafka {
            tokio::time::sleep(KNOWN_AFTER).await;
        }
        (answer, code(answer))
    }

    async fn describe_config(
        &mut self,
        resource: Resource,
        keys: Option<&str>,
        synonyms: bool,
        version: i16,
    ) -> Answer {
        let (kind, of) = self.resource(resource);
        let asked = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(&of))
            .with_configuration_keys(keys.map(|key| vec![text(key)]));
        let request = DescribeConfigsRequest::default()
            .with_include_synonyms(synonyms)
            .with_resources(vec![asked]);
        let answer = self.client.ask(&request, version).await;
        let result = &answer.results[0];
        let mut lines: Vec<_> = result.configs.iter().filter_map(line).collect();
        lines.sort();
        (result.error_code, format!("{} {lines:?}", code(result.error_code)))
    }
}

/// What is compared of an entry: nothing where the test's Kafka is configured in a way of its own.
fn line(entry: &DescribeConfigsResourceResult) -> Option<String> {
    const OF_THE_TESTS: &[&str] =
        &["retention.ms", "min.insync.replicas", "consumer.session.timeout.ms"];
    const OF_TOPIC: i8 = 1;
    const OF_GROUP: i8 = 8;
    let is_said = matches!(entry.config_source, OF_TOPIC | OF_GROUP);
    if !is_said && OF_THE_TESTS.contains(&&*entry.name) {
        return None;
    }
    let value = entry.value.as_deref().unwrap_or("null");
    let synonyms = entry.synonyms.iter().map(|synonym| &*synonym.name);
    let synonyms: Vec<_> = synonyms.filter(|_| !OF_THE_TESTS.contains(&&*entry.name)).collect();
    Some(format!("{}={value} {} {is_said} {synonyms:?}", &*entry.name, entry.config_type))
}
