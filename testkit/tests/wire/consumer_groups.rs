//! Groups whose partitions the broker assigns (KIP-848), heartbeat by heartbeat.

use std::collections::BTreeSet;

use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    GroupId, OffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::client::{Client, error, listen, metadata, name};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group() -> GroupId {
    GroupId(text("bakers"))
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(text(member))
        .with_member_epoch(epoch)
}

fn join(member: &str) -> ConsumerGroupHeartbeatRequest {
    beat(member, 0)
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(vec![name("jobs")]))
        .with_topic_partitions(Some(Vec::new()))
}

/// The numbers that a member may read; nothing if it is not told.
fn numbers(response: &ConsumerGroupHeartbeatResponse) -> Option<BTreeSet<i32>> {
    let assignment = response.assignment.as_ref()?;
    let topics = assignment.topic_partitions.iter();
    Some(topics.flat_map(|topic| topic.partitions.iter().copied()).collect())
}

struct Group {
    _listener: Listener,
    broker: Broker,
    client: Client,
    topic: Uuid,
}

impl Group {
    async fn start(partitions: i32) -> Self {
        let broker = Broker::new();
        broker.create_topic("jobs", partitions);
        let listener = listen(&broker).await;
        let mut client = Client::connect(listener.address()).await;
        let topic = client.ask(&metadata("jobs"), 12).await.topics[0].topic_id;
        Self { _listener: listener, broker, client, topic }
    }

    async fn ask(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        self.client.ask(&request, 1).await
    }

    fn owning(&self, numbers: &[i32]) -> Option<Vec<TopicPartitions>> {
        let owned = TopicPartitions::default().with_topic_id(self.topic);
        Some(vec![owned.with_partitions(numbers.to_vec())])
    }
}

#[tokio::test]
async fn a_partition_is_given_on_when_its_holder_has_stopped() {
    let mut group = Group::start(4).await;
    let first = group.ask(join("a")).await;
    assert_eq!((first.error_code, first.member_epoch), (0, 1));
    assert_eq!(numbers(&first), Some(BTreeSet::from([0, 1, 2, 3])));

    let second = group.ask(join("b")).await;
    assert_eq!((second.error_code, second.member_epoch), (0, 2));
    assert_eq!(numbers(&second), Some(BTreeSet::new()));

    // The first is to give two up, and stays where it is until it says that it has.
    let owning = group.owning(&[0, 1, 2, 3]);
    let told = group.ask(beat("a", 1).with_topic_partitions(owning)).await;
    let kept = numbers(&told).unwrap();
    assert_eq!((told.member_epoch, kept.len()), (1, 2));
    let waiting = group.ask(beat("b", 2)).await;
    assert_eq!((waiting.member_epoch, numbers(&waiting)), (2, None));

    let owning = group.owning(&kept.iter().copied().collect::<Vec<_>>());
    let stopped = group.ask(beat("a", 1).with_topic_partitions(owning)).await;
    assert_eq!((stopped.error_code, stopped.member_epoch), (0, 2));
    let given = numbers(&group.ask(beat("b", 2)).await).unwrap();
    assert!(given.is_disjoint(&kept));
    assert_eq!(given.len(), 2);

    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![self::group()]);
    let described = group.client.ask(&request, 1).await.groups.remove(0);
    assert_eq!((&*described.group_state, &*described.assignor_name), ("Stable", "uniform"));
    assert_eq!((described.group_epoch, described.assignment_epoch), (2, 2));
    assert_eq!(described.members.len(), 2);
}

#[tokio::test]
async fn epochs_fence_members_and_their_commits() {
    let mut group = Group::start(1).await;
    group.ask(join("a")).await;
    let ahead = group.ask(beat("a", 7)).await;
    assert_eq!(error(ahead.error_code), Some(ResponseError::FencedMemberEpoch));
    let unknown = group.ask(beat("b", 1)).await;
    assert_eq!(error(unknown.error_code), Some(ResponseError::UnknownMemberId));
    for (member, epoch, expected) in [
        ("a", 1, None),
        ("a", 0, Some(ResponseError::StaleMemberEpoch)),
        ("b", 1, Some(ResponseError::UnknownMemberId)),
    ] {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(5);
        let topic = OffsetCommitRequestTopic::default()
            .with_name(name("jobs"))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self::group())
            .with_member_id(text(member))
            .with_generation_id_or_member_epoch(epoch)
            .with_topics(vec![topic]);
        let response = group.client.ask(&request, 9).await;
        let code = response.topics[0].partitions[0].error_code;
        assert_eq!(error(code), expected, "{member} {epoch}");
    }
    assert_eq!(group.broker.committed("bakers").len(), 1);
}

#[tokio::test]
async fn a_regular_expression_takes_topics_that_come_later() {
    let mut group = Group::start(1).await;
    let mut request = join("a").with_subscribed_topic_names(None);
    request.subscribed_topic_regex = Some(text("jobs|jobs-.*"));
    let joined = group.ask(request).await;
    assert_eq!(numbers(&joined).unwrap().len(), 1);
    group.broker.create_topic("jobs-later", 3);
    group.broker.create_topic("no-jobs", 3);
    let later = group.ask(beat("a", 1)).await;
    assert_eq!(later.member_epoch, 2);
    let topics = later.assignment.unwrap().topic_partitions;
    assert_eq!(topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 4);
    let mut wrong = join("b").with_subscribed_topic_names(None);
    wrong.subscribed_topic_regex = Some(text("("));
    let refused = group.ask(wrong).await;
    assert_eq!(error(refused.error_code), Some(ResponseError::InvalidRegularExpression));
}

#[tokio::test]
async fn a_static_member_that_is_back_has_what_it_had() {
    let mut group = Group::start(4).await;
    group.ask(join("a").with_instance_id(Some(text("one")))).await;
    let taken = group.ask(join("b").with_instance_id(Some(text("one")))).await;
    assert_eq!(error(taken.error_code), Some(ResponseError::UnreleasedInstanceId));
    let left = group.ask(beat("a", -2).with_instance_id(Some(text("one")))).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -2));
    let back = group.ask(join("b").with_instance_id(Some(text("one")))).await;
    assert_eq!(numbers(&back), Some(BTreeSet::from([0, 1, 2, 3])));
    let fenced = group.ask(beat("a", 1).with_instance_id(Some(text("one")))).await;
    assert_eq!(error(fenced.error_code), Some(ResponseError::FencedInstanceId));
}

#[tokio::test]
async fn who_leaves_or_is_expelled_is_replaced() {
    let mut group = Group::start(2).await;
    group.ask(join("a")).await;
    let left = group.ask(beat("a", -1)).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    let next = group.ask(join("b")).await;
    assert_eq!(numbers(&next).unwrap().len(), 2);
    group._listener.expel_group("bakers");
    let expelled = group.ask(beat("b", next.member_epoch)).await;
    assert_eq!(error(expelled.error_code), Some(ResponseError::UnknownMemberId));
}
