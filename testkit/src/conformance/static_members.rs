//! Static members: each has an instance, which its next process takes over (KIP-345).

use jobstream::position::Position;
use jobstream::record::{Topic, TopicPartition};
use jobstream::sources::{Source, SourceEvent};

use super::records::fill;
use super::{Backend, Members};

/// A topic of two partitions with this many records in each, and a group.
async fn topic<B: Backend>(backend: &B, records: i64) -> (Topic, String) {
    let topic = backend.create_topic(2).await;
    fill(backend, &topic, 2, records).await;
    (topic.clone(), format!("{topic}-group"))
}

/// The only partition that a member owns.
fn only(members: &Members<'_>, member: usize) -> TopicPartition {
    members.owned(member).into_keys().next().expect("it owns one partition")
}

/// Which partitions were asked back from a member, or lost.
fn gone(members: &Members<'_>, member: usize) -> usize {
    let gone =
        |event: &&SourceEvent| matches!(event, SourceEvent::Revoked(_) | SourceEvent::Lost(_));
    members.seen(member).iter().filter(gone).count()
}

/// The next process has the partitions at once, from the committed position on; nothing is asked back
/// from another member, and nothing is assigned to it, between the processes and after.
pub async fn a_static_member_that_starts_again_has_its_partitions_without_a_rebalance<
    B: Backend,
>(
    backend: &B,
) {
    let (topic, group) = topic(backend, 3).await;
    let a = backend.static_source(&group, &topic, "a").await;
    let b = backend.static_source(&group, &topic, "b").await;
    let next = backend.static_source(&group, &topic, "b").await;
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    members.join(&b);
    members.settle(&[1, 1]).await;
    let (of_a, of_b) = (only(&members, 0), only(&members, 1));
    members.until("b's records", |m| m.offsets(1, &of_b).len() == 3).await;
    let position = members.position(1, &of_b, Position::at(2));
    members.during(b.commit(&[position])).await.expect("the owner may commit");
    let before = gone(&members, 0);
    members.during(b.close()).await.expect("the member can close");
    members.forget(1);
    members.silence().await;
    assert_eq!(members.owned(0).into_keys().collect::<Vec<_>>(), std::slice::from_ref(&of_a));
    members.join(&next);
    members.until("the partition", |m| m.owned(2).contains_key(&of_b)).await;
    let position = members.assignments(2, &of_b)[0].position.clone();
    assert_eq!(position, Some(Position::at(2)));
    members.until("the record", |m| m.offsets(2, &of_b) == [2]).await;
    members.silence().await;
    assert_eq!(members.owned(0).into_keys().collect::<Vec<_>>(), [of_a]);
    assert_eq!(gone(&members, 0), before, "found {:?}", members.seen(0));
}

/// Its records that it had not committed come again, without a wait for the end of its session.
pub async fn a_static_member_that_was_killed_and_starts_again_takes_its_partitions_over<
    B: Backend,
>(
    backend: &B,
) {
    let (topic, group) = topic(backend, 3).await;
    let a = backend.static_source(&group, &topic, "a").await;
    let b = backend.static_source(&group, &topic, "b").await;
    let next = backend.static_source(&group, &topic, "b").await;
    let of_b = {
        let mut members = Members::of(backend);
        members.join(&a);
        members.settle(&[2]).await;
        members.join(&b);
        members.settle(&[1, 1]).await;
        let of_b = only(&members, 1);
        members.until("b's records", |m| m.offsets(1, &of_b).len() == 3).await;
        of_b
    };
    backend.kill(b).await;
    let mut members = Members::of(backend);
    members.join(&next);
    members.until("b's records", |m| m.offsets(0, &of_b) == [0, 1, 2]).await;
    assert_eq!(members.owned(0).into_keys().collect::<Vec<_>>(), [of_b]);
}

/// The other member gets them then, and not before.
pub async fn a_static_member_that_stays_away_loses_its_partitions_with_its_session<B: Backend>(
    backend: &B,
) {
    let (topic, group) = topic(backend, 1).await;
    let a = backend.static_source(&group, &topic, "a").await;
    let b = backend.static_source(&group, &topic, "b").await;
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    members.join(&b);
    members.settle(&[1, 1]).await;
    members.during(b.close()).await.expect("the member can close");
    members.forget(1);
    members.silence().await;
    assert_eq!(members.owned(0).len(), 1, "b's session lasts");
    members.settle(&[2]).await;
}

/// The second process has the partitions. The first one can commit nothing any more; its stream yields
/// `Lost`, and ends with an error that names the setting.
pub async fn a_second_process_with_the_same_instance_fences_the_first<B: Backend>(backend: &B) {
    let (topic, group) = topic(backend, 1).await;
    let first = backend.static_source(&group, &topic, "a").await;
    let second = backend.static_source(&group, &topic, "a").await;
    let mut members = Members::of(backend);
    members.join(&first);
    members.settle(&[2]).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    let stale = members.position(0, &partition, Position::at(1));
    members.may_break(0);
    members.join(&second);
    members.until("the partitions", |m| m.owned(1).len() == 2).await;
    let refused = members.during(first.commit(&[stale])).await;
    assert!(refused.is_err(), "a commit of the first was taken");
    assert_eq!(backend.committed(&group, &partition).await, None);
    members.until("an end of the first", |m| m.broken(0).is_some()).await;
    let error = members.broken(0).expect("it has ended");
    assert!(error.contains("group.instance.id"), "{error}");
    assert!(members.owned(0).is_empty(), "found {:?}", members.seen(0));
    let position = members.position(1, &partition, Position::at(1));
    members.during(second.commit(&[position])).await.expect("the second is the owner");
}
