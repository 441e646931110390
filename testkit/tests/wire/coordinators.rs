//! Who coordinates, and what a commit keeps.

use jobstream_testkit::broker::Broker;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, EndTxnRequest, FindCoordinatorRequest, GroupId, InitProducerIdRequest,
    InitProducerIdResponse, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    ProducerId, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::client::{Client, listen, metadata, name};

#[tokio::test]
async fn the_coordinator_is_the_leader_of_the_partition_that_keeps_the_group_or_the_transactions() {
    let broker = Broker::new();
    let listener = broker.listener().nodes(3).listen("127.0.0.1:0").await.unwrap();
    let mut client = Client::connect(listener.address()).await;
    for moved in [false, true] {
        if moved {
            listener.move_coordinators();
        }
        for (key_type, topic) in [(0, "__consumer_offsets"), (1, "__transaction_state")] {
            // Java's `Math.abs(key.hashCode()) % 50`.
            for (key, number) in
                [("bakers", 14), ("couriers", 12), ("ovens", 5), ("a", 47), ("", 0)]
            {
                let request = FindCoordinatorRequest::default()
                    .with_key_type(key_type)
                    .with_coordinator_keys(vec![StrBytes::from_static_str(key)]);
                let found = client.ask(&request, 4).await.coordinators[0].node_id;
                let topic = client.ask(&metadata(topic), 12).await.topics.remove(0);
                let mut partitions = topic.partitions.iter();
                let partition = partitions.find(|p| p.partition_index == number).unwrap();
                assert_eq!(partition.leader_id, found, "{key}");
            }
        }
    }
}

#[tokio::test]
async fn a_commit_keeps_the_leader_epoch_that_the_client_knows() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    for epoch in [5, -1] {
        commit(&mut client, 3, epoch).await;
        let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
        let fetch = OffsetFetchRequest::default().with_groups(vec![asked]);
        let answer = client.ask(&fetch, 8).await;
        let found = &answer.groups[0].topics[0].partitions[0];
        assert_eq!((found.committed_offset, found.committed_leader_epoch), (3, epoch));
    }
}

/// Commits an offset of `jobs`, without a transaction.
async fn commit(client: &mut Client, offset: i64, leader_epoch: i32) {
    let asked = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_leader_epoch(leader_epoch);
    let asked =
        OffsetCommitRequestTopic::default().with_name(name("jobs")).with_partitions(vec![asked]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![asked]);
    assert_eq!(client.ask(&commit, 8).await.topics[0].partitions[0].error_code, 0);
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("bakers"))
}

fn transactional_id() -> TransactionalId {
    TransactionalId(StrBytes::from_static_str("ovens"))
}

/// A producer with a transaction in which it has committed offset 3 of `jobs`.
async fn commit_in_transaction(client: &mut Client) -> InitProducerIdResponse {
    let producer = init(client).await;
    add_offset(client, &producer, 3).await;
    producer
}

async fn init(client: &mut Client) -> InitProducerIdResponse {
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id()))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    client.ask(&init, 5).await
}

async fn add_offset(client: &mut Client, producer: &InitProducerIdResponse, offset: i64) {
    let asked = TxnOffsetCommitRequestPartition::default().with_committed_offset(offset);
    let asked =
        TxnOffsetCommitRequestTopic::default().with_name(name("jobs")).with_partitions(vec![asked]);
    let commit = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional_id())
        .with_group_id(group())
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch)
        .with_generation_id(-1)
        .with_topics(vec![asked]);
    assert_eq!(client.ask(&commit, 5).await.topics[0].partitions[0].error_code, 0);
}

async fn end(client: &mut Client, producer: &InitProducerIdResponse) {
    let end = EndTxnRequest::default()
        .with_transactional_id(transactional_id())
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch)
        .with_committed(true);
    assert_eq!(client.ask(&end, 5).await.error_code, 0);
}

/// The offsets that the group has committed.
async fn committed(client: &mut Client) -> Vec<i64> {
    let asked = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let fetch = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer = client.ask(&fetch, 8).await;
    let partitions = answer.groups[0].topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.committed_offset).collect()
}

#[tokio::test]
async fn what_is_deleted_of_a_group_no_open_transaction_brings_back() {
    for whole in [false, true] {
        let broker = Broker::new();
        broker.create_topic("jobs", 1);
        let listener = listen(&broker).await;
        let mut client = Client::connect(listener.address()).await;
        let producer = commit_in_transaction(&mut client).await;
        let delete_group = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
        if whole {
            assert_eq!(client.ask(&delete_group, 2).await.results[0].error_code, 0);
        } else {
            let asked = OffsetDeleteRequestPartition::default();
            let asked = OffsetDeleteRequestTopic::default()
                .with_name(name("jobs"))
                .with_partitions(vec![asked]);
            let delete =
                OffsetDeleteRequest::default().with_group_id(group()).with_topics(vec![asked]);
            let deleted = client.ask(&delete, 0).await;
            assert_eq!(deleted.topics[0].partitions[0].error_code, 0);
        }
        end(&mut client, &producer).await;
        assert_eq!(committed(&mut client).await, Vec::<i64>::new());
        let is_there = client.ask(&delete_group, 2).await.results[0].error_code == 0;
        assert_eq!(is_there, !whole);
    }
}

/// As Apache Kafka 4.1.1: what counts of a transaction is where its offsets were sent.
#[tokio::test]
async fn of_a_commit_and_a_transaction_the_newer_record_counts() {
    const PLAIN: bool = true;
    for (commits, expected) in [
        (&[!PLAIN, PLAIN][..], 2),
        (&[PLAIN, !PLAIN], 2),
        (&[!PLAIN, PLAIN, !PLAIN], 3),
        (&[!PLAIN, !PLAIN, PLAIN, PLAIN], 4),
    ] {
        let broker = Broker::new();
        broker.create_topic("jobs", 1);
        let listener = listen(&broker).await;
        let mut client = Client::connect(listener.address()).await;
        let producer = init(&mut client).await;
        for (offset, is_plain) in (1..).zip(commits) {
            if *is_plain {
                commit(&mut client, offset, -1).await;
            } else {
                add_offset(&mut client, &producer, offset).await;
            }
        }
        end(&mut client, &producer).await;
        assert_eq!(committed(&mut client).await, [expected], "{commits:?}");
    }
}
