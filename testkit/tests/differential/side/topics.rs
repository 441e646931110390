//! Topics and their configuration.

use std::time::Duration;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest as AskedTopic;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    DescribeTopicPartitionsRequest, IncrementalAlterConfigsRequest,
};

use super::{Side, code, text};
use crate::client::{self, name};
use crate::operation::Operation;

impl Side {
    #[allow(clippy::too_many_lines, reason = "one arm for each request")]
    pub(super) async fn ask_topic(&mut self, operation: &Operation) -> (i16, String) {
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
}
