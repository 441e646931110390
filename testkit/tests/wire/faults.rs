//! Faults between a client and the broker.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use jobstream_testkit::broker::{Broker, Isolation};
use jobstream_testkit::wire::Listener;
use jobstream_testkit::wire::faults::{FaultAct, FaultMoment, FaultPer, WireFault};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiVersionsRequest, FindCoordinatorRequest, HeartbeatRequest, MetadataRequest,
    OffsetCommitRequest,
};
use kafka_protocol::protocol::{Request, StrBytes};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{BatchHeader, Client, batch, error, frame, listen, metadata, produce};

const VERSION: i16 = 9;

/// Long enough for an answer that is to come, if the machine has other work.
const LIMIT: Duration = Duration::from_secs(30);

async fn broker(script: &str) -> (Broker, Listener, Client) {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    for fault in WireFault::parse_script(script).unwrap() {
        listener.faults().push(fault);
    }
    let client = Client::connect(listener.address()).await;
    (broker, listener, client)
}

fn records(broker: &Broker) -> usize {
    broker.records("jobs", Isolation::ReadUncommitted).len()
}

fn one_record() -> Bytes {
    batch(BatchHeader::default(), &["bake"])
}

async fn produced(client: &mut Client) -> (Option<ResponseError>, i64) {
    let response = client.ask(&produce("jobs", 0, one_record()), VERSION).await;
    let partition = &response.responses[0].partition_responses[0];
    (error(partition.error_code), partition.base_offset)
}

/// All that a client gets until the connection ends.
async fn rest(client: &mut Client) -> usize {
    let mut bytes = Vec::new();
    match timeout(LIMIT, client.0.read_to_end(&mut bytes)).await.expect("an end") {
        Ok(_) => bytes.len(),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => bytes.len(),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_code_refuses_the_request_that_is_meant_and_no_other() {
    let (broker, listener, mut client) =
        broker("produce topic=jobs nth=2 error NOT_LEADER_OR_FOLLOWER").await;
    assert_eq!(produced(&mut client).await, (None, 0));
    assert_eq!(produced(&mut client).await, (Some(ResponseError::NotLeaderOrFollower), -1));
    assert_eq!(produced(&mut client).await, (None, 1));
    assert_eq!(records(&broker), 2);
    assert_eq!(listener.faults().strikes()[0].1, 1);
}

#[tokio::test]
async fn a_request_can_be_applied_though_its_answer_says_otherwise() {
    let (broker, _listener, mut client) =
        broker("produce nth=1 apply-then-error REQUEST_TIMED_OUT").await;
    assert_eq!(produced(&mut client).await, (Some(ResponseError::RequestTimedOut), -1));
    assert_eq!(records(&broker), 1);
}

#[tokio::test]
async fn a_connection_is_cut_before_within_or_after() {
    for (act, applied, half) in [
        ("disconnect-before", 0, false),
        ("disconnect-within", 1, true),
        ("apply-then-disconnect", 1, false),
    ] {
        let (broker, listener, mut client) = broker(&format!("produce nth=1 {act}")).await;
        client.0.write_all(&frame(&produce("jobs", 0, one_record()), VERSION)).await.unwrap();
        let got = rest(&mut client).await;
        assert_eq!((got > 0, records(&broker)), (half, applied), "{act}: {got} bytes");
        assert_eq!(listener.refusals(), Vec::<String>::new());
        let mut again = Client::connect(listener.address()).await;
        assert_eq!(produced(&mut again).await, (None, applied as i64), "{act}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_holds_up_nobody_else() {
    for (act, applied) in [("stall", 0), ("apply-then-stall", 1)] {
        let (broker, listener, mut client) = broker(&format!("produce nth=1 {act}")).await;
        client.0.write_all(&frame(&produce("jobs", 0, one_record()), VERSION)).await.unwrap();
        let mut other = Client::connect(listener.address()).await;
        while listener.faults().strikes()[0].1 == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(produced(&mut other).await, (None, applied));
        assert_eq!(records(&broker) as i64, applied + 1, "{act}");
        client.0.shutdown().await.unwrap();
        assert_eq!(rest(&mut client).await, 0, "{act}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_the_effect_or_after_it() {
    for (act, late) in [("delay", false), ("apply-then-delay", true)] {
        let (broker, _listener, mut client) = broker(&format!("produce {act} 3s")).await;
        let start = tokio::time::Instant::now();
        client.0.write_all(&frame(&produce("jobs", 0, one_record()), VERSION)).await.unwrap();
        let applied = async {
            while records(&broker) == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            start.elapsed()
        };
        let at = applied.await;
        let response = client.answer::<kafka_protocol::messages::ProduceRequest>(VERSION).await;
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
        assert!(start.elapsed() >= Duration::from_secs(3), "{act}");
        assert_eq!(at < Duration::from_secs(3), late, "{act}: applied after {at:?}");
    }
}

#[tokio::test]
async fn chance_depends_on_the_seed_and_the_count_of_each_client() {
    async fn outcomes(seed: u64, others: usize) -> Vec<bool> {
        let broker = Broker::new();
        broker.create_topic("jobs", 1);
        let fault = WireFault::at(FaultMoment::PRODUCE).per(FaultPer::Client).probability(0.5);
        let fault = fault.then(FaultAct::Error(ResponseError::NotEnoughReplicas.code()));
        let listener = broker.listener().seed(seed).fault(fault);
        let listener = listener.listen("127.0.0.1:0").await.unwrap();
        let mut client = Client::connect(listener.address()).await;
        let mut other = Client::connect(listener.address()).await;
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            for _ in 0..others {
                // Another API is not counted.
                other.ask(&metadata("jobs"), 9).await;
            }
            outcomes.push(produced(&mut client).await.0.is_some());
        }
        outcomes
    }
    let first = outcomes(1, 0).await;
    assert_eq!(first, outcomes(1, 2).await);
    assert_ne!(first, outcomes(2, 0).await);
    assert!(first.contains(&true) && first.contains(&false));
}

#[tokio::test]
async fn conditions_are_about_the_client_the_group_and_the_connection() {
    let script = "produce client=another* error -1\nproduce connection=2 nth=1 error 29\n\
                  offset-commit group=bakers error 27\nproduce topic=other stall";
    let (broker, listener, mut client) = broker(script).await;
    assert_eq!(produced(&mut client).await, (None, 0));
    let mut second = Client::connect(listener.address()).await;
    let denied = Some(ResponseError::TopicAuthorizationFailed);
    assert_eq!(produced(&mut second).await, (denied, -1));
    for (group, expected) in [("bakers", Some(ResponseError::RebalanceInProgress)), ("b", None)] {
        let partition =
            kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition::default(
            );
        let topic =
            kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(super::client::name("jobs"))
                .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(kafka_protocol::messages::GroupId(StrBytes::from_static_str(group)))
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        let response = client.ask(&request, 8).await;
        assert_eq!(error(response.topics[0].partitions[0].error_code), expected, "{group}");
    }
    assert_eq!(records(&broker), 1);
}

#[tokio::test]
async fn every_connection_may_be_cut_at_once() {
    let (_broker, listener, mut client) = broker("connect after=1 disconnect-before").await;
    assert_eq!(produced(&mut client).await, (None, 0));
    let mut refused = Client::connect(listener.address()).await;
    assert_eq!(rest(&mut refused).await, 0);
    listener.faults().clear();
    let mut served = Client::connect(listener.address()).await;
    assert_eq!(produced(&mut served).await, (None, 1));
}

/// The leader of the only partition, and its epoch; the nodes that are there.
async fn seen(client: &mut Client) -> (i32, i32, Vec<i32>) {
    let response = client.ask(&metadata("jobs"), 9).await;
    let partition = &response.topics[0].partitions[0];
    let nodes = response.brokers.iter().map(|broker| broker.node_id.0).collect();
    (partition.leader_id.0, partition.leader_epoch, nodes)
}

async fn three_nodes() -> (Broker, Listener, Vec<Client>) {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = broker.listener().nodes(3).listen("127.0.0.1:0").await.unwrap();
    let mut clients = Vec::new();
    for node in listener.bootstrap().split(',') {
        clients.push(Client(TcpStream::connect(node).await.unwrap()));
    }
    (broker, listener, clients)
}

#[tokio::test]
async fn leaders_move_under_a_new_epoch() {
    let (_broker, listener, mut clients) = three_nodes().await;
    assert_eq!(seen(&mut clients[2]).await, (1, 0, vec![1, 2, 3]));
    assert_eq!(produced(&mut clients[0]).await, (None, 0));
    let fault = "produce nth=1 move-leaders".parse().unwrap();
    listener.faults().push(fault);
    let moved = Some(ResponseError::NotLeaderOrFollower);
    assert_eq!(produced(&mut clients[0]).await, (moved, -1));
    assert_eq!(seen(&mut clients[2]).await, (2, 1, vec![1, 2, 3]));
    assert_eq!(produced(&mut clients[1]).await, (None, 1));
}

#[tokio::test]
async fn a_node_goes_away_and_another_leads_until_it_is_back() {
    let (_broker, listener, mut clients) = three_nodes().await;
    listener.take_away(1);
    assert_eq!(rest(&mut clients[0]).await, 0);
    assert_eq!(seen(&mut clients[2]).await, (2, 1, vec![2, 3]));
    assert_eq!(produced(&mut clients[1]).await, (None, 0));
    let mut refused = Client::connect(listener.address()).await;
    assert_eq!(rest(&mut refused).await, 0);
    listener.bring_back(1);
    assert_eq!(seen(&mut clients[2]).await, (1, 2, vec![1, 2, 3]));
    let mut back = Client::connect(listener.address()).await;
    assert_eq!(produced(&mut back).await, (None, 1));
}

#[tokio::test]
async fn a_node_is_away_for_a_time() {
    let (_broker, listener, mut clients) = three_nodes().await;
    listener.faults().push("metadata node=1 nth=1 node-away 50ms".parse().unwrap());
    clients[0].0.write_all(&frame(&metadata("jobs"), 9)).await.unwrap();
    assert_eq!(rest(&mut clients[0]).await, 0);
    let back = async {
        while seen(&mut clients[2]).await.2.len() < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, back).await.expect("it is back");
    let mut back = Client::connect(listener.address()).await;
    assert_eq!(produced(&mut back).await, (None, 0));
}

#[tokio::test]
async fn coordinators_move() {
    let (_broker, listener, mut clients) = three_nodes().await;
    let request = FindCoordinatorRequest::default().with_key(StrBytes::from_static_str("bakers"));
    let before = clients[0].ask(&request, 3).await.node_id.0;
    listener.faults().push("heartbeat move-coordinators".parse().unwrap());
    let heartbeat = HeartbeatRequest::default()
        .with_group_id(kafka_protocol::messages::GroupId(StrBytes::from_static_str("bakers")));
    let asked = &mut clients[before as usize - 1];
    let code = asked.ask(&heartbeat, 3).await.error_code;
    assert_eq!(error(code), Some(ResponseError::NotCoordinator));
    let after = clients[0].ask(&request, 3).await.node_id.0;
    assert_eq!(after, before % 3 + 1);
}

#[tokio::test]
async fn retention_overtakes_a_reader() {
    let (broker, _listener, mut client) = broker("produce nth=5 retain 1").await;
    for expected in 0..5 {
        assert_eq!(produced(&mut client).await, (None, expected));
    }
    let offsets = broker.records("jobs", Isolation::ReadUncommitted).into_iter();
    assert_eq!(offsets.map(|record| record.offset).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test]
async fn a_producer_is_fenced_and_a_member_expelled() {
    use kafka_protocol::messages::{
        ConsumerGroupHeartbeatRequest, EndTxnRequest, GroupId, InitProducerIdRequest,
        TransactionalId,
    };
    let script = "end-txn transaction=one fence-producer\n\
                  consumer-group-heartbeat group=bakers nth=2 expel-member";
    let (_broker, _listener, mut client) = broker(script).await;
    let id = TransactionalId(StrBytes::from_static_str("one"));
    let init = InitProducerIdRequest::default()
        .with_transactional_id(Some(id.clone()))
        .with_transaction_timeout_ms(60_000);
    let producer = client.ask(&init, 3).await;
    assert_eq!(producer.error_code, 0);
    let end = EndTxnRequest::default()
        .with_transactional_id(id)
        .with_producer_id(producer.producer_id)
        .with_producer_epoch(producer.producer_epoch);
    let ended = client.ask(&end, 3).await;
    assert_eq!(error(ended.error_code), Some(ResponseError::ProducerFenced));

    let mut beat = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("bakers")))
        .with_member_id(StrBytes::from_static_str("a"))
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![super::client::name("jobs")]))
        .with_topic_partitions(Some(Vec::new()));
    beat.member_epoch = client.ask(&beat, 1).await.member_epoch;
    let expelled = client.ask(&beat, 1).await;
    assert_eq!(error(expelled.error_code), Some(ResponseError::UnknownMemberId));
}

/// Every API that is served takes an error, or ends the connection; none gets an answer that it can't
/// read.
#[tokio::test]
async fn a_refusal_can_be_read_in_every_version() {
    async fn refused<Q: Request + Send + Sync>(listener: &Listener, request: Q, versions: &[i16]) {
        for &version in versions {
            let mut client = Client::connect(listener.address()).await;
            client.ask(&request, version).await;
        }
    }
    let (_broker, listener, _) = broker("any error NOT_COORDINATOR").await;
    refused(&listener, ApiVersionsRequest::default(), &[0, 1, 2, 3, 4]).await;
    refused(&listener, MetadataRequest::default(), &[1, 4, 8, 9, 12, 13]).await;
    refused(&listener, HeartbeatRequest::default(), &[0, 3, 4]).await;
    refused(&listener, FindCoordinatorRequest::default(), &[0, 3, 4, 6]).await;
    refused(&listener, produce("jobs", 0, Bytes::new()), &[3, 9, 12]).await;
    use kafka_protocol::messages as m;
    refused(&listener, m::JoinGroupRequest::default(), &[0, 4, 5, 7, 9]).await;
    refused(&listener, m::SyncGroupRequest::default(), &[0, 3, 5]).await;
    refused(&listener, m::LeaveGroupRequest::default(), &[0, 3, 5]).await;
    refused(&listener, OffsetCommitRequest::default(), &[2, 8, 9]).await;
    refused(&listener, m::OffsetFetchRequest::default(), &[1, 2, 7, 8, 9]).await;
    refused(&listener, m::FetchRequest::default(), &[4, 7, 13, 16]).await;
    refused(&listener, m::ListOffsetsRequest::default(), &[1, 6, 10]).await;
    refused(&listener, m::InitProducerIdRequest::default(), &[0, 3, 5]).await;
    refused(&listener, m::ListGroupsRequest::default(), &[0, 4, 5]).await;
    refused(&listener, m::DeleteGroupsRequest::default(), &[0, 2]).await;
    assert_eq!(listener.refusals(), Vec::<String>::new());
}
