//! Classic groups, request by request.

use std::time::Duration;

use bytes::Bytes;
use jobstream_testkit::broker::Broker;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncWriteExt as _;

use super::client::{Client, error, frame, listen};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("bakers"))
}

fn join(member: &str, instance: Option<&str>) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"metadata"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_group_instance_id(instance.map(text))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn sync(joined: &JoinGroupResponse, assignments: &[(&str, &'static str)]) -> SyncGroupRequest {
    let assignment = |(member, bytes): &(&str, &'static str)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(member))
            .with_assignment(Bytes::from_static(bytes.as_bytes()))
    };
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(joined.protocol_type.clone())
        .with_protocol_name(joined.protocol_name.clone())
        .with_assignments(assignments.iter().map(assignment).collect())
}

async fn heartbeat(client: &mut Client, joined: &JoinGroupResponse) -> Option<ResponseError> {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone());
    error(client.ask(&request, 4).await.error_code)
}

async fn leave(client: &mut Client, instance: &str) {
    let member = MemberIdentity::default().with_group_instance_id(Some(text(instance)));
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]);
    assert_eq!(client.ask(&leave, 5).await.members[0].error_code, 0);
}

#[tokio::test]
async fn a_member_is_given_its_id_first_and_a_second_one_lets_both_join_again() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut first = Client::connect(listener.address()).await;
    let mut second = Client::connect(listener.address()).await;
    let promised = first.ask(&join("", None), 9).await;
    assert_eq!(error(promised.error_code), Some(ResponseError::MemberIdRequired));
    let joined = first.ask(&join(&promised.member_id, None), 9).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!((&joined.leader, joined.members.len()), (&joined.member_id, 1));
    let synced = first.ask(&sync(&joined, &[(&joined.member_id, "all")]), 5).await;
    assert_eq!(&synced.assignment[..], b"all");
    assert_eq!(heartbeat(&mut first, &joined).await, None);

    let promised = second.ask(&join("", None), 9).await;
    second.0.write_all(&frame(&join(&promised.member_id, None), 9)).await.unwrap();
    while heartbeat(&mut first, &joined).await != Some(ResponseError::RebalanceInProgress) {}
    let joined = first.ask(&join(&joined.member_id, None), 9).await;
    let other = second.answer::<JoinGroupRequest>(9).await;
    assert_eq!((joined.generation_id, other.generation_id), (2, 2));
    assert_eq!((joined.members.len(), other.members.len()), (2, 0));
    second.0.write_all(&frame(&sync(&other, &[]), 5)).await.unwrap();
    let assignments = [(&*joined.member_id, "one"), (&*other.member_id, "two")];
    let synced = first.ask(&sync(&joined, &assignments), 5).await;
    assert_eq!(&synced.assignment[..], b"one");
    assert_eq!(&second.answer::<SyncGroupRequest>(5).await.assignment[..], b"two");
}

#[tokio::test]
async fn a_static_member_comes_back_without_a_rebalance_and_its_old_process_is_fenced() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut old = Client::connect(listener.address()).await;
    let joined = old.ask(&join("", Some("one")), 9).await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    old.ask(&sync(&joined, &[(&joined.member_id, "all")]), 5).await;

    let mut new = Client::connect(listener.address()).await;
    let again = new.ask(&join("", Some("one")), 9).await;
    assert_eq!((again.error_code, again.generation_id), (0, 1));
    assert!(again.skip_assignment && again.member_id != joined.member_id);
    let synced = new.ask(&sync(&again, &[]), 5).await;
    assert_eq!(&synced.assignment[..], b"all");
    let fenced = old.ask(&join(&joined.member_id, Some("one")), 9).await;
    assert_eq!(error(fenced.error_code), Some(ResponseError::FencedInstanceId));
    assert_eq!(heartbeat(&mut old, &joined).await, Some(ResponseError::UnknownMemberId));
    assert_eq!(heartbeat(&mut new, &again).await, None);
}

/// Sessions here last 10 s or 100 ms; an id was kept for five minutes once.
#[tokio::test]
async fn an_id_whose_answer_was_lost_holds_a_group_up_for_a_session_at_most() {
    const LIMIT: Duration = Duration::from_secs(60);
    for (session_ms, unheard) in [(100, None), (3_600_000, Some(Duration::from_millis(100)))] {
        let broker = Broker::new();
        let listener = broker.listener();
        let listener =
            listener.session_timeouts(Duration::from_millis(1), Duration::from_secs(3_600));
        let listener = unheard.iter().fold(listener, |it, limit| it.unheard_members(*limit));
        let listener = listener.listen("127.0.0.1:0").await.unwrap();
        let join = |member| join(member, None).with_session_timeout_ms(session_ms);
        let mut lost = Client::connect(listener.address()).await;
        let promised = lost.ask(&join(""), 9).await;
        assert_eq!(error(promised.error_code), Some(ResponseError::MemberIdRequired));
        let mut client = Client::connect(listener.address()).await;
        let promised = client.ask(&join(""), 9).await;
        let joining = join(&promised.member_id);
        let joined = tokio::time::timeout(LIMIT, client.ask(&joining, 9)).await.unwrap();
        assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    }
}

#[tokio::test]
async fn a_member_that_does_not_fit_is_refused() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    use ResponseError as E;
    let short = join("", Some("one")).with_session_timeout_ms(5_999);
    let nameless = join("", Some("one")).with_group_id(GroupId(StrBytes::default()));
    for (request, expected) in [
        (short, E::InvalidSessionTimeout),
        (nameless, E::InvalidGroupId),
        (join("unknown", None), E::UnknownMemberId),
        (join("", None).with_protocols(Vec::new()), E::InconsistentGroupProtocol),
    ] {
        let refused = client.ask(&request, 9).await;
        assert_eq!(error(refused.error_code), Some(expected));
    }
    assert_eq!(client.ask(&join("", Some("one")), 9).await.error_code, 0);
    let other = join("", Some("two")).with_protocol_type(text("connect"));
    let refused = client.ask(&other, 9).await;
    assert_eq!(error(refused.error_code), Some(E::InconsistentGroupProtocol));
}

/// Kafka asks whether the group is empty, not whether it has members.
#[tokio::test]
async fn a_group_whose_members_leave_while_an_id_is_handed_out_keeps_its_protocol_type() {
    let broker = Broker::new();
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    let joined = client.ask(&join("", Some("one")), 9).await;
    assert_eq!(joined.error_code, 0);
    let mut waiting = Client::connect(listener.address()).await;
    waiting.0.write_all(&frame(&join("", Some("two")), 9)).await.unwrap();
    while heartbeat(&mut client, &joined).await != Some(ResponseError::RebalanceInProgress) {}
    let promised = client.ask(&join("", None), 9).await;
    assert_eq!(error(promised.error_code), Some(ResponseError::MemberIdRequired));
    leave(&mut client, "one").await;
    leave(&mut client, "two").await;
    let other = join(&promised.member_id, None).with_protocol_type(text("connect"));
    let refused = client.ask(&other, 9).await;
    assert_eq!(error(refused.error_code), Some(ResponseError::InconsistentGroupProtocol));
    let joined = client.ask(&join(&promised.member_id, None), 9).await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
}

#[tokio::test]
async fn a_consumer_in_memory_joins_when_the_clients_have_left() {
    use futures::StreamExt as _;
    use jobstream::sources::{Source as _, SourceEvent};
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let listener = listen(&broker).await;
    let mut client = Client::connect(listener.address()).await;
    client.ask(&join("", Some("one")), 9).await;
    let consumer = broker.consumer("bakers", ["jobs"]).build();
    let mut events = consumer.events();
    assert!(futures::poll!(events.next()).is_pending());
    leave(&mut client, "one").await;
    let assigned = events.next().await;
    assert!(matches!(assigned, Some(Ok(SourceEvent::Assigned(_)))), "found {assigned:?}");
    let refused = client.ask(&join("", Some("one")), 9).await;
    let expected = Some(ResponseError::InconsistentGroupProtocol);
    assert_eq!(error(refused.error_code), expected);
}
