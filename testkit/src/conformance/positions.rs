//! Positions: the next member starts with the committed position, and only owners commit.

use jobstream::position::Position;
use jobstream::record::{Topic, TopicPartition};
use jobstream::sources::{CommitError, Source as _, SourceEvent};

use super::records::fill;
use super::{Backend, Members};

/// A topic of one partition with this many records, and a group.
pub(super) async fn topic_with<B: Backend>(
    backend: &B,
    records: i64,
) -> (Topic, TopicPartition, String) {
    let topic = backend.create_topic(1).await;
    fill(backend, &topic, 1, records).await;
    let group = format!("{topic}-group");
    (topic.clone(), TopicPartition::new(topic, 0), group)
}

/// Joins alone, commits a position, and leaves.
pub(super) async fn commit_and_leave<B: Backend>(
    backend: &B,
    (topic, partition, group): &(Topic, TopicPartition, String),
    position: Position,
) {
    let source = backend.source(group, topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("an assignment", |m| m.owned(0).contains_key(partition)).await;
    let position = members.position(0, partition, position);
    members.during(source.commit(&[position])).await.expect("the owner may commit");
    members.during(source.close()).await.expect("the member can leave");
}

/// The assignment has no position.
pub async fn a_group_without_a_commit_starts_at_the_earliest_record<B: Backend>(backend: &B) {
    let (topic, partition, group) = topic_with(backend, 3).await;
    let source = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [0, 1, 2]).await;
    assert_eq!(members.assignments(0, &partition)[0].position, None);
}

/// The assignment carries the position, and records come from the frontier on.
pub async fn the_next_member_starts_at_the_committed_frontier<B: Backend>(backend: &B) {
    let named = topic_with(backend, 5).await;
    commit_and_leave(backend, &named, Position::at(2)).await;
    let (topic, partition, group) = named;
    let source = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [2, 3, 4]).await;
    assert_eq!(members.assignments(0, &partition)[0].position, Some(Position::at(2)));
}

/// The source yields the records of the set again; the topology skips them.
pub async fn the_finished_set_survives_a_hand_over<B: Backend>(backend: &B) {
    let named = topic_with(backend, 5).await;
    let mut position = Position::at(1);
    position.finish(2);
    position.finish(4);
    position.finish(Position::WINDOW_OFFSETS);
    commit_and_leave(backend, &named, position.clone()).await;
    let (topic, partition, group) = named;
    let committed = backend.committed(&group, &partition).await.expect("there is a commit");
    assert_eq!(committed.position().ok().as_ref(), Some(&position));
    let source = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [1, 2, 3, 4]).await;
    assert_eq!(members.assignments(0, &partition)[0].position, Some(position));
}

/// Leaving commits nothing.
pub async fn what_was_not_committed_is_delivered_again<B: Backend>(backend: &B) {
    let (topic, partition, group) = topic_with(backend, 3).await;
    for _ in 0..2 {
        let source = backend.source(&group, &topic).await;
        let mut members = Members::of(backend);
        members.join(&source);
        members.until("the records", |m| m.offsets(0, &partition) == [0, 1, 2]).await;
        members.during(source.close()).await.expect("the member can leave");
        assert_eq!(backend.committed(&group, &partition).await, None);
    }
}

/// Each group reads everything.
pub async fn groups_do_not_see_each_others_commits<B: Backend>(backend: &B) {
    let named = topic_with(backend, 3).await;
    commit_and_leave(backend, &named, Position::at(3)).await;
    let (topic, partition, _) = named;
    let source = backend.source(&format!("{topic}-other"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [0, 1, 2]).await;
}

/// After the release another member owns the partition, and that member's commit stays.
pub async fn a_commit_by_a_former_owner_is_fenced<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    fill(backend, &topic, 2, 3).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    members.join(&b);
    members.settle(&[1, 1]).await;
    let moved = members.owned(1).into_keys().next().expect("b owns one partition");
    let (stale, valid) = (
        members.position(0, &moved, Position::at(1)),
        members.position(1, &moved, Position::at(2)),
    );
    members.during(b.commit(&[valid])).await.expect("the owner may commit");
    let refused = members.during(a.commit(&[stale])).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
    assert_eq!(backend.committed(&group, &moved).await.map(|c| c.offset), Some(2));
}

/// A partition that was given up and assigned again has a new generation. A commit with a position
/// of the old one is refused as a whole.
pub async fn a_commit_of_an_older_assignment_is_fenced<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    fill(backend, &topic, 2, 3).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    let before = members.owned(0);
    members.join(&b);
    members.settle(&[1, 1]).await;
    let moved = members.owned(1).into_keys().next().expect("b owns one partition");
    let kept = members.owned(0).into_keys().next().expect("a owns one partition");
    members.during(b.close()).await.expect("the member can leave");
    members.forget(1);
    members.settle(&[2]).await;
    let valid = members.position(0, &moved, Position::at(1));
    assert!(valid.generation > before[&moved], "found {valid:?}");
    let mut stale = valid.clone();
    stale.generation = before[&moved];
    let beside = members.position(0, &kept, Position::at(1));
    let refused = members.during(a.commit(&[beside, stale])).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
    assert_eq!(backend.committed(&group, &kept).await, None);
    members.during(a.commit(&[valid])).await.expect("the owner may commit");
}

/// The report covers the offsets from the committed frontier to the first remaining one.
pub async fn truncated_offsets_are_reported_and_passed_over<B: Backend>(backend: &B) {
    let named = topic_with(backend, 6).await;
    commit_and_leave(backend, &named, Position::at(1)).await;
    let (topic, partition, group) = named;
    backend.truncate(&partition, 4).await;
    let source = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [4, 5]).await;
    let truncated = SourceEvent::Truncated { partition, from: 1, to: 4 };
    assert!(members.seen(0).contains(&truncated), "found {:?}", members.seen(0));
}
