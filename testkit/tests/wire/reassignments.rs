//! Elections and reassignments, where a partition has one copy.

use jobstream_testkit::broker::Broker;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest};

use super::client::{Client, error, listen, name};

/// In the codes of Apache Kafka 4.1.1.
#[tokio::test]
async fn a_partition_of_one_copy_needs_no_election_and_no_reassignment() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let asked = |topic, number| {
        TopicPartitions::default().with_topic(name(topic)).with_partitions(vec![number])
    };
    let request = ElectLeadersRequest::default().with_topic_partitions(Some(vec![
        asked("jobs", 0),
        asked("jobs", 9),
        asked("absent", 0),
    ]));
    let results = client.ask(&request, 2).await.replica_election_results;
    let found = results.iter().map(|topic| error(topic.partition_result[0].error_code));
    let unknown = Some(ResponseError::UnknownTopicOrPartition);
    assert!(found.eq([Some(ResponseError::ElectionNotNeeded), unknown, unknown]), "{results:?}");
    let all = ElectLeadersRequest::default().with_topic_partitions(None);
    assert!(client.ask(&all, 2).await.replica_election_results.is_empty());
    for (topic, number, replicas, expected) in [
        ("jobs", 0, Some(vec![1]), None),
        ("jobs", 9, Some(vec![1]), unknown),
        ("absent", 0, Some(vec![1]), unknown),
        ("jobs", 0, None, Some(ResponseError::NoReassignmentInProgress)),
        ("jobs", 0, Some(vec![1, 1]), Some(ResponseError::InvalidReplicaAssignment)),
        ("jobs", 0, Some(vec![77]), Some(ResponseError::InvalidReplicaAssignment)),
    ] {
        let replicas = replicas.map(|ids| ids.into_iter().map(BrokerId).collect());
        let asked =
            ReassignablePartition::default().with_partition_index(number).with_replicas(replicas);
        let asked =
            ReassignableTopic::default().with_name(name(topic)).with_partitions(vec![asked]);
        let request = AlterPartitionReassignmentsRequest::default().with_topics(vec![asked]);
        let found = client.ask(&request, 1).await.responses[0].partitions[0].error_code;
        assert_eq!(error(found), expected, "{topic}-{number}");
    }
}
