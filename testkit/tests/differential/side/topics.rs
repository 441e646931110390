//! Topics: created, grown, described, deleted.

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest as AskedTopic;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeTopicPartitionsRequest, MetadataRequest,
};

use super::{Answer, Side, code, text};
use crate::operation::Topic;
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) enum TopicOperation {
    Create(Create),
    Delete { topic: Topic, by_id: bool, version: i16 },
    Grow { topic: Topic, count: i32, validate_only: bool },
    Metadata { topic: Topic, by_id: bool, version: i16 },
    DescribePartitions { topic: Topic },
}

#[derive(Clone, Debug)]
pub(crate) struct Create {
    topic: Topic,
    partitions: i32,
    replicas: i16,
    config: Option<(&'static str, &'static str)>,
    /// Whether the request has the topic twice.
    twice: bool,
    validate_only: bool,
    version: i16,
}

impl Create {
    fn generate(random: &mut Random) -> Self {
        Self {
            topic: Topic::generate(random),
            partitions: random.of(&[1, 2, 3, -1, 0, -2]),
            replicas: random.of(&[1, 1, 1, -1, 0, 2]),
            config: random.of(&[
                None,
                None,
                Some(("retention.ms", "-1")),
                Some(("cleanup.policy", "delete")),
                Some(("cleanup.policy", "compact")),
                Some(("cleanup.policy", "neither")),
                Some(("retention.ms", "long")),
                Some(("no.such.config", "1")),
                Some(("message.timestamp.type", "LogAppendTime")),
                Some(("max.message.bytes", "200")),
            ]),
            twice: random.one_in(20),
            validate_only: random.one_in(6),
            version: random.of(&[2, 4, 5, 7]),
        }
    }
}

impl TopicOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let topic = Topic::generate(random);
        match random.below(11) {
            0..=4 => Self::Create(Create::generate(random)),
            5 => Self::Delete { topic, by_id: random.one_in(3), version: random.of(&[1, 3, 5, 6]) },
            6 => Self::Grow {
                topic,
                count: random.of(&[1, 2, 3, 4, 0]),
                validate_only: random.one_in(2),
            },
            7..=9 => Self::Metadata {
                topic,
                by_id: random.one_in(3),
                version: random.of(&[1, 5, 9, 10, 12, 13]),
            },
            _ => Self::DescribePartitions { topic },
        }
    }
}

impl Side {
    pub(super) async fn ask_topic(&mut self, operation: &TopicOperation) -> Answer {
        match operation {
            TopicOperation::Create(create) => self.create(create).await,
            TopicOperation::Delete { topic, by_id, version } => {
                self.delete(*topic, *by_id && *version >= 6, *version).await
            }
            TopicOperation::Grow { topic, count, validate_only } => {
                self.grow(*topic, *count, *validate_only).await
            }
            TopicOperation::Metadata { topic, by_id, version } => {
                self.metadata(*topic, *by_id && *version >= 12, *version).await
            }
            TopicOperation::DescribePartitions { topic } => self.describe_partitions(*topic).await,
        }
    }

    async fn create(&mut self, create: &Create) -> Answer {
        let configs = create.config.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let asked = CreatableTopic::default()
            .with_name(self.topic(create.topic))
            .with_num_partitions(create.partitions)
            .with_replication_factor(create.replicas)
            .with_configs(configs.collect());
        let times = if create.twice { 2 } else { 1 };
        let request = CreateTopicsRequest::default()
            .with_topics(vec![asked; times])
            .with_timeout_ms(30_000)
            .with_validate_only(create.validate_only);
        let answer = self.client.ask(&request, create.version).await;
        let found = &answer.topics[0];
        let error = found.error_code;
        let counts = (answer.topics.len(), found.num_partitions, found.replication_factor);
        if error == 0 && !create.validate_only {
            self.settle_topic(create.topic, true, None).await;
        }
        (error, format!("{} {counts:?}", code(error)))
    }

    async fn delete(&mut self, topic: Topic, by_id: bool, version: i16) -> Answer {
        let state = match by_id {
            true => DeleteTopicState::default().with_topic_id(self.topic_id(topic)),
            false => DeleteTopicState::default().with_name(Some(self.topic(topic))),
        };
        let request = match version {
            6.. => DeleteTopicsRequest::default().with_topics(vec![state]),
            _ => DeleteTopicsRequest::default().with_topic_names(vec![self.topic(topic)]),
        };
        let answer = self.client.ask(&request.with_timeout_ms(30_000), version).await;
        let found = &answer.responses[0];
        let name = found.name.as_ref().map(|name| self.unnamed(name));
        let (error, id) = (found.error_code, self.topic_label(found.topic_id));
        if error == 0 {
            self.settle_topic(topic, false, None).await;
        }
        (error, format!("{} {name:?} {id}", code(error)))
    }

    async fn grow(&mut self, topic: Topic, count: i32, validate_only: bool) -> Answer {
        let asked = CreatePartitionsTopic::default()
            .with_name(self.topic(topic))
            .with_count(count)
            .with_assignments(None);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![asked])
            .with_timeout_ms(30_000)
            .with_validate_only(validate_only);
        let found = self.client.ask(&request, 3).await.results[0].error_code;
        if found == 0 && !validate_only {
            self.settle_topic(topic, true, Some(count)).await;
        }
        (found, code(found))
    }

    async fn metadata(&mut self, topic: Topic, by_id: bool, version: i16) -> Answer {
        let asked = match by_id {
            true => {
                MetadataRequestTopic::default().with_name(None).with_topic_id(self.topic_id(topic))
            }
            false => MetadataRequestTopic::default().with_name(Some(self.topic(topic))),
        };
        let request = MetadataRequest::default()
            .with_topics(Some(vec![asked]))
            .with_allow_auto_topic_creation(version < 4);
        let answer = self.client.ask(&request, version).await;
        let found = &answer.topics[0];
        let mut numbers: Vec<_> =
            found.partitions.iter().map(|p| (p.partition_index, p.leader_epoch)).collect();
        numbers.sort_unstable();
        let name = found.name.as_ref().map(|name| self.unnamed(name));
        let id = self.topic_label(found.topic_id);
        (0, format!("{} {name:?} {id} {numbers:?}", code(found.error_code)))
    }

    async fn describe_partitions(&mut self, topic: Topic) -> Answer {
        let asked = AskedTopic::default().with_name(self.topic(topic));
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
}
