//! Configurations that are altered at run time, and what is kept by them.

use std::time::Duration;

use jobstream::record::ProducerRecord;
use jobstream_testkit::broker::{Broker, Isolation, ProduceError, TopicOptions};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    BrokerId, DescribeConfigsRequest, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
    ListOffsetsRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::client::{BatchHeader, Client, batch, error, listen, name, produce};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const UNHEARD: i8 = 9;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Alters one entry, and says how that was refused.
async fn alter(
    client: &mut Client,
    (resource_type, resource): (i8, &str),
    operation: i8,
    (entry, value): (&str, &str),
) -> Option<(ResponseError, String)> {
    let config = AlterableConfig::default()
        .with_name(text(entry))
        .with_config_operation(operation)
        .with_value(Some(text(value)).filter(|_| operation != DELETE));
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(resource))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = &client.ask(&request, 1).await.responses[0];
    let message = answer.error_message.as_deref().unwrap_or_default().to_owned();
    error(answer.error_code).map(|error| (error, message))
}

async fn set(
    client: &mut Client,
    resource: (i8, &str),
    name: &str,
    value: &str,
) -> Option<ResponseError> {
    alter(client, resource, SET, (name, value)).await.map(|(error, _)| error)
}

/// The value of an entry, and where it comes from.
async fn described(client: &mut Client, resource: (i8, &str), name: &str) -> (String, i8) {
    let asked = DescribeConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(text(resource.1))
        .with_configuration_keys(Some(vec![text(name)]));
    let request = DescribeConfigsRequest::default().with_resources(vec![asked]);
    let answer = client.ask(&request, 4).await;
    let entry = &answer.results[0].configs[0];
    (entry.value.as_deref().unwrap_or_default().to_owned(), entry.config_source)
}

async fn first_offset(client: &mut Client) -> i64 {
    let asked = ListOffsetsPartition::default().with_current_leader_epoch(-1).with_timestamp(-2);
    let asked = ListOffsetsTopic::default().with_name(name("jobs")).with_partitions(vec![asked]);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![asked]);
    client.ask(&request, 6).await.topics[0].partitions[0].offset
}

#[tokio::test]
async fn a_partition_that_grows_larger_than_the_listener_keeps_loses_its_oldest_batches() {
    const BATCHES: i64 = 50;
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = broker.listener().retention_bytes(1_000).listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    for _ in 0..BATCHES {
        let records = batch(BatchHeader::default(), &["a value that takes some bytes"]);
        client.ask(&produce("jobs", 0, records), 9).await;
    }
    let mut first = first_offset(&mut client).await;
    while first == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        first = first_offset(&mut client).await;
    }
    assert!((BATCHES - 12..BATCHES).contains(&first), "{first}");
}

#[tokio::test]
async fn what_is_said_of_all_brokers_holds_for_topics_that_say_nothing() {
    const DYNAMIC_DEFAULT_BROKER: i8 = 3;
    const DYNAMIC_TOPIC: i8 = 1;
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    assert_eq!(set(&mut client, (BROKER, ""), "message.max.bytes", "100").await, None);
    broker.create_topic("later", 1);
    for topic in ["jobs", "later"] {
        let found = described(&mut client, (TOPIC, topic), "max.message.bytes").await;
        assert_eq!(found, ("100".to_owned(), DYNAMIC_DEFAULT_BROKER));
        let records = batch(BatchHeader::default(), &[&"v".repeat(100)]);
        let answer = client.ask(&produce(topic, 0, records), 9).await;
        let found = answer.responses[0].partition_responses[0].error_code;
        assert_eq!(error(found), Some(ResponseError::MessageTooLarge));
    }
    assert_eq!(set(&mut client, (TOPIC, "jobs"), "max.message.bytes", "1000").await, None);
    let found = described(&mut client, (TOPIC, "jobs"), "max.message.bytes").await;
    assert_eq!(found, ("1000".to_owned(), DYNAMIC_TOPIC));
    let another = set(&mut client, (BROKER, "77"), "message.max.bytes", "1").await;
    assert_eq!(another, Some(ResponseError::InvalidRequest));
}

/// As Apache Kafka 4.1.1 has answered them.
#[tokio::test]
async fn an_entry_of_a_broker_is_altered_where_kafka_alters_it() {
    const LISTENER: &str = "can be dynamically updated only per-listener";
    let static_one = |name: &str| format!("Cannot update these configs dynamically: Set({name})");
    let invalid = |message: &str| Some((ResponseError::InvalidRequest, message.to_owned()));
    let append = "Config value append is not allowed for config key: num.io.threads".to_owned();
    let elr = "Broker-level min.insync.replicas cannot be altered while ELR is enabled.".to_owned();
    let per_broker = "Cannot update these configs at default cluster level, broker id must be \
                      specified: Set(ssl.protocol)";
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    for (of, operation, name, value, expected) in [
        ("1", SET, "log.cleaner.threads", "2", None),
        ("1", SET, "num.io.threads", "9", None),
        ("", SET, "num.io.threads", "9", None),
        ("1", SET, "num.io.threads", "100", invalid("should not be greater than double")),
        ("1", SET, "num.io.threads", "x", invalid("Not a number of type INT")),
        ("1", APPEND, "num.io.threads", "1", Some((ResponseError::InvalidConfig, append))),
        ("1", DELETE, "num.io.threads", "", None),
        ("1", SET, "no.such.config", "1", None),
        ("1", DELETE, "no.such.config", "", None),
        (
            "1",
            APPEND,
            "no.such.config",
            "1",
            Some((ResponseError::UnknownServerError, String::new())),
        ),
        ("1", SET, "message.max.bytes", "-5", invalid("Value must be at least 0")),
        ("1", SET, "message.max.bytes", "abc", invalid("Not a number of type INT")),
        ("1", SET, "message.max.bytes", "1000000", None),
        ("1", SET, "node.id", "7", invalid(&static_one("node.id"))),
        ("", SET, "num.partitions", "3", invalid(&static_one("num.partitions"))),
        (
            "1",
            SET,
            "auto.create.topics.enable",
            "true",
            invalid(&static_one("auto.create.topics.enable")),
        ),
        ("1", SET, "log.cleaner.enable", "true", invalid(&static_one("log.cleaner.enable"))),
        ("1", SET, "log.retention.hours", "1", invalid(&static_one("log.retention.hours"))),
        ("1", DELETE, "node.id", "", None),
        ("1", SET, "log.cleanup.policy", "foo", invalid("String must be one of: compact, delete")),
        ("1", APPEND, "log.cleanup.policy", "compact", None),
        ("1", SET, "min.insync.replicas", "1", Some((ResponseError::InvalidConfig, elr))),
        ("", SET, "min.insync.replicas", "1", None),
        ("1", SET, "ssl.protocol", "TLSv1.2", None),
        ("", SET, "ssl.protocol", "TLSv1.2", invalid(per_broker)),
        ("", SET, "ssl.client.auth", "x", invalid("String must be one of: required, requested")),
        ("1", SET, "ssl.keystore.location", "/x", invalid(LISTENER)),
        ("1", SET, "principal.builder.class", "x", invalid("Class x could not be found.")),
        (
            "1",
            UNHEARD,
            "no.such.config",
            "1",
            Some((ResponseError::UnknownServerError, String::new())),
        ),
    ] {
        let found = alter(&mut client, (BROKER, of), operation, (name, value)).await;
        let case = format!("{of:?} {operation} {name}={value}: {found:?}");
        match (&found, &expected) {
            (None, None) => {}
            (Some((found, said)), Some((error, message))) => {
                assert!(found == error && said.contains(message.as_str()), "{case}");
            }
            _ => panic!("{case}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn a_broker_describes_every_entry_that_kafka_describes_and_no_secret() {
    let broker = Broker::new();
    let listener = broker.listener().auto_create(3).listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    for (name, expected) in [
        ("num.io.threads", ("8", 5)),
        ("num.partitions", ("3", 4)),
        ("advertised.listeners", (&*format!("PLAINTEXT://{}", listener.bootstrap()), 4)),
        ("log.cleanup.policy", ("delete", 5)),
        ("ssl.keystore.password", ("", 5)),
    ] {
        let found = described(&mut client, (BROKER, "1"), name).await;
        assert_eq!(found, (expected.0.to_owned(), expected.1), "{name}");
    }
    assert_eq!(set(&mut client, (BROKER, "1"), "sasl.jaas.config", "secret").await, None);
    assert_eq!(described(&mut client, (BROKER, "1"), "sasl.jaas.config").await, (String::new(), 2));
    assert_eq!(set(&mut client, (BROKER, ""), "a.plugin", "secret").await, None);
    assert_eq!(described(&mut client, (BROKER, ""), "a.plugin").await, (String::new(), 3));
}

#[tokio::test]
async fn a_group_says_how_long_its_sessions_last() {
    const SESSION: &str = "consumer.session.timeout.ms";
    const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    assert_eq!(described(&mut client, (GROUP, "bakers"), SESSION).await.0, "45000");
    assert_eq!(set(&mut client, (GROUP, "bakers"), SESSION, "50000").await, None);
    assert_eq!(described(&mut client, (GROUP, "bakers"), SESSION).await.0, "50000");
    for (name, value, expected) in [
        (SESSION, "60000", ""),
        (SESSION, "60001", "must be less than or equal to group.consumer.max.session.timeout.ms"),
        (
            SESSION,
            "44999",
            "must be greater than or equal to group.consumer.min.session.timeout.ms",
        ),
        (SESSION, "0", "Value must be at least 1"),
        (HEARTBEAT, "15000", ""),
        (
            HEARTBEAT,
            "15001",
            "must be less than or equal to group.consumer.max.heartbeat.interval.ms",
        ),
        (
            HEARTBEAT,
            "4999",
            "must be greater than or equal to group.consumer.min.heartbeat.interval.ms",
        ),
        (
            "streams.num.standby.replicas",
            "3",
            "must be less than or equal to group.streams.max.standby.replicas",
        ),
        ("share.auto.offset.reset", "by_duration:PT1H", ""),
        ("share.auto.offset.reset", "never", "must be either"),
    ] {
        let found = alter(&mut client, (GROUP, "bakers"), SET, (name, value)).await;
        match &found {
            None => assert_eq!(expected, "", "{name}={value}"),
            Some((error, message)) => {
                assert_eq!(*error, ResponseError::InvalidConfig, "{name}={value}");
                assert!(!expected.is_empty() && message.contains(expected), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn the_resources_that_have_a_configuration_are_listed() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = broker.listener().nodes(2).listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    let set = set(&mut client, (GROUP, "bakers"), "consumer.session.timeout.ms", "50000").await;
    assert_eq!(set, None);
    for (types, version, expected) in [
        (vec![GROUP], 1, vec![(GROUP, "bakers")]),
        (vec![TOPIC, BROKER], 1, vec![(TOPIC, "jobs"), (BROKER, "1"), (BROKER, "2")]),
        (vec![], 0, vec![]),
    ] {
        let request = ListConfigResourcesRequest::default().with_resource_types(types);
        let answer = client.ask(&request, version).await;
        let found = answer.config_resources.iter();
        let found: Vec<_> =
            found.map(|found| (found.resource_type, &*found.resource_name)).collect();
        assert_eq!((answer.error_code, found), (0, expected));
    }
    let request = ListConfigResourcesRequest::default().with_resource_types(vec![77]);
    let refused = client.ask(&request, 1).await.error_code;
    assert_eq!(error(refused), Some(ResponseError::UnsupportedVersion));
}

/// However the topic was given its policy.
#[tokio::test]
async fn a_compacted_topic_refuses_records_without_a_key_and_names_them() {
    let broker = Broker::new();
    broker.create_topic("totals", TopicOptions::partitions(1).compacted());
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let policy = described(&mut client, (TOPIC, "totals"), "cleanup.policy").await;
    assert_eq!(policy, ("compact".to_owned(), 1));
    assert_eq!(set(&mut client, (TOPIC, "jobs"), "cleanup.policy", "compact").await, None);
    for topic in ["totals", "jobs"] {
        let records = batch(BatchHeader::default(), &["v", "v"]);
        let answer = client.ask(&produce(topic, 0, records), 9).await;
        let refused = &answer.responses[0].partition_responses[0];
        assert_eq!(error(refused.error_code), Some(ResponseError::InvalidRecord));
        let message = format!(
            "Compacted topic cannot accept message without key in topic partition {topic}-0"
        );
        let named = refused.record_errors.iter();
        let named: Vec<_> = named
            .map(|it| (it.batch_index, it.batch_index_error_message.as_deref().unwrap().to_owned()))
            .collect();
        assert_eq!(named, [(0, message.clone()), (1, message)]);
        assert!(refused.error_message.as_deref().unwrap().contains("2 record errors in total"));
        assert_eq!(
            broker.produce(ProducerRecord::to(topic).value("v")),
            Err(ProduceError::NoKey(topic.into()))
        );
    }
    assert_eq!(alter(&mut client, (TOPIC, "totals"), DELETE, ("cleanup.policy", "")).await, None);
    let records = batch(BatchHeader::default(), &["v"]);
    let answer = client.ask(&produce("totals", 0, records), 9).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// A topic that was made compacted, and one that became it.
#[tokio::test]
async fn a_listener_compacts_the_topics_whose_policy_says_so_and_no_other() {
    let broker = Broker::new();
    broker.create_topic("totals", TopicOptions::partitions(1).compacted());
    broker.create_topic("jobs", 1);
    broker.create_topic("plain", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    assert_eq!(set(&mut client, (TOPIC, "jobs"), "cleanup.policy", "compact").await, None);
    for topic in ["plain", "jobs", "totals"] {
        for value in ["1", "2", "3"] {
            broker.produce(ProducerRecord::to(topic).key("k").value(value)).unwrap();
        }
    }
    let values = |topic: &str| broker.records(topic, Isolation::ReadCommitted).len();
    while values("jobs") > 1 || values("totals") > 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(values("plain"), 3);
}

/// Kafka looks at the operations first.
#[tokio::test]
async fn a_group_without_a_name_has_no_configuration_but_is_told_of_a_wrong_operation_first() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    for (operation, expected) in [
        (SET, ResponseError::InvalidRequest),
        (APPEND, ResponseError::InvalidConfig),
        (UNHEARD, ResponseError::UnknownServerError),
    ] {
        let entry = ("consumer.session.timeout.ms", "50000");
        let found = alter(&mut client, (GROUP, ""), operation, entry).await;
        assert_eq!(found.map(|(error, _)| error), Some(expected));
    }
}
