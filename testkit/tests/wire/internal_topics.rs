//! The topics in which Kafka keeps groups and transactions.

use jobstream_testkit::broker::{Broker, Isolation};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeTopicPartitionsRequest, FetchRequest, FindCoordinatorRequest, ListOffsetsRequest,
    MetadataRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::client::{BatchHeader, Client, batch, error, listen, metadata, name, produce};

const OFFSETS: &str = "__consumer_offsets";
const TRANSACTIONS: &str = "__transaction_state";
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

async fn find_coordinator(client: &mut Client, key_type: i8) {
    let request = FindCoordinatorRequest::default()
        .with_key_type(key_type)
        .with_coordinator_keys(vec![StrBytes::from_static_str("key")]);
    let response = client.ask(&request, 6).await;
    assert_eq!(error(response.coordinators[0].error_code), None);
}

/// Name, partitions, and whether it is internal, of every topic.
async fn listed(client: &mut Client) -> Vec<(String, usize, bool)> {
    let response = client.ask(&MetadataRequest::default().with_topics(None), 12).await;
    let topics = response.topics.into_iter();
    topics
        .map(|topic| (topic.name.unwrap().to_string(), topic.partitions.len(), topic.is_internal))
        .collect()
}

#[tokio::test]
async fn they_are_there_once_a_coordinator_was_looked_for_and_the_process_sees_none() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = broker.listener().nodes(3).listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    let jobs = ("jobs".to_owned(), 1, false);
    assert_eq!(listed(&mut client).await, std::slice::from_ref(&jobs));
    find_coordinator(&mut client, GROUP).await;
    let offsets = (OFFSETS.to_owned(), 50, true);
    assert_eq!(listed(&mut client).await, [offsets.clone(), jobs.clone()]);
    find_coordinator(&mut client, TRANSACTION).await;
    find_coordinator(&mut client, GROUP).await;
    let transactions = (TRANSACTIONS.to_owned(), 50, true);
    assert_eq!(listed(&mut client).await, [offsets, transactions, jobs]);

    let named = client.ask(&metadata(OFFSETS), 12).await;
    let leaders = named.topics[0].partitions.iter().map(|partition| *partition.leader_id);
    let leaders: std::collections::BTreeSet<i32> = leaders.collect();
    assert_eq!((named.topics[0].is_internal, leaders), (true, [1, 2, 3].into()));
    let asked = TopicRequest::default().with_name(name(TRANSACTIONS));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![asked])
        .with_response_partition_limit(2_000);
    let described = client.ask(&request, 0).await;
    assert_eq!((described.topics[0].is_internal, described.topics[0].partitions.len()), (true, 50));

    assert_eq!(broker.topics(), ["jobs".into()]);
    assert!(broker.records(OFFSETS, Isolation::ReadUncommitted).is_empty());
}

#[tokio::test]
async fn they_are_read_as_empty_and_not_written() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let request = produce(OFFSETS, 7, batch(BatchHeader::default(), &["a"]));
    let produced = client.ask(&request, 9).await;
    let partition = &produced.responses[0].partition_responses[0];
    assert_eq!(error(partition.error_code), Some(ResponseError::UnknownTopicOrPartition));
    find_coordinator(&mut client, GROUP).await;
    for (partition, expected) in
        [(7, ResponseError::InvalidTopicException), (50, ResponseError::UnknownTopicOrPartition)]
    {
        let request = produce(OFFSETS, partition, batch(BatchHeader::default(), &["a"]));
        let produced = client.ask(&request, 9).await;
        let partition = &produced.responses[0].partition_responses[0];
        assert_eq!(error(partition.error_code), Some(expected));
    }
    let asked = DeleteRecordsPartition::default().with_partition_index(7);
    let topic = DeleteRecordsTopic::default().with_name(name(OFFSETS)).with_partitions(vec![asked]);
    let deleted = client.ask(&DeleteRecordsRequest::default().with_topics(vec![topic]), 2).await;
    let deleted = &deleted.topics[0].partitions[0];
    assert_eq!(error(deleted.error_code), Some(ResponseError::InvalidTopicException));
    let partition = ListOffsetsPartition::default().with_partition_index(7).with_timestamp(-1);
    let topic =
        ListOffsetsTopic::default().with_name(name(OFFSETS)).with_partitions(vec![partition]);
    let end = client.ask(&ListOffsetsRequest::default().with_topics(vec![topic]), 7).await;
    let end = &end.topics[0].partitions[0];
    assert_eq!((error(end.error_code), end.offset), (None, 0));
    let partition = FetchPartition::default().with_partition(7).with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(name(OFFSETS)).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let fetched = client.ask(&request, 12).await;
    let fetched = &fetched.responses[0].partitions[0];
    let bytes = fetched.records.as_ref().map_or(0, bytes::Bytes::len);
    assert_eq!((error(fetched.error_code), fetched.high_watermark, bytes), (None, 0, 0));
}

async fn create(client: &mut Client, topic: &str, partitions: i32) -> Option<ResponseError> {
    let topic = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
    error(client.ask(&request, 7).await.topics[0].error_code)
}

async fn delete(client: &mut Client, topic: &str) -> Option<ResponseError> {
    let topic = DeleteTopicState::default().with_name(Some(name(topic)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(1_000);
    error(client.ask(&request, 6).await.responses[0].error_code)
}

#[tokio::test]
async fn they_are_created_and_deleted_as_other_topics_but_for_that_of_the_controllers() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    assert_eq!(delete(&mut client, OFFSETS).await, Some(ResponseError::UnknownTopicOrPartition));
    assert_eq!(create(&mut client, OFFSETS, 2).await, None);
    find_coordinator(&mut client, GROUP).await;
    assert_eq!(listed(&mut client).await, [(OFFSETS.to_owned(), 2, true)]);
    assert_eq!(create(&mut client, OFFSETS, 2).await, Some(ResponseError::TopicAlreadyExists));
    let more = CreatePartitionsTopic::default()
        .with_name(name(OFFSETS))
        .with_count(3)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![more]).with_timeout_ms(1_000);
    assert_eq!(error(client.ask(&request, 3).await.results[0].error_code), None);
    assert_eq!(listed(&mut client).await, [(OFFSETS.to_owned(), 3, true)]);
    assert_eq!(delete(&mut client, OFFSETS).await, None);
    assert_eq!(listed(&mut client).await, []);
    find_coordinator(&mut client, GROUP).await;
    assert_eq!(listed(&mut client).await, [(OFFSETS.to_owned(), 50, true)]);
    let refused = Some(ResponseError::InvalidRequest);
    assert_eq!(create(&mut client, "__cluster_metadata", 1).await, refused);
}
