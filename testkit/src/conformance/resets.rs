//! Resets: a partition whose offsets go back begins anew, and commits of other programs are not
//! read as finished sets.

use jobstream::position::Position;
use jobstream::record::{Topic, TopicPartition};
use jobstream::sources::{Assignment, Reset, Source as _};

use super::positions::{commit_and_leave, topic_with};
use super::records::fill;
use super::{Backend, Members};

/// The assignments of a new member, once it has read these offsets.
async fn joined<B: Backend>(
    backend: &B,
    (topic, partition, group): &(Topic, TopicPartition, String),
    offsets: &[i64],
) -> Vec<Assignment> {
    let source = backend.source(group, topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, partition) == offsets).await;
    let assignments = members.assignments(0, partition).into_iter().cloned().collect();
    members.during(source.close()).await.expect("the member can leave");
    assignments
}

/// Metadata of other programs is never read as finished offsets, base64 or not.
pub async fn metadata_of_another_program_is_an_empty_set<B: Backend>(backend: &B) {
    let (topic, partition, group) = topic_with(backend, 4).await;
    let hex = "0123456789abcdef0123456789abcdef";
    for foreign in ["", "null", "metadata", "AgAAAaDEUGwA", "IA==", "js1:1:-:00000000:Hg==", hex] {
        let named = (topic.clone(), partition.clone(), format!("{group}-of-{foreign}"));
        backend.alter_committed(&named.2, &partition, 1, foreign).await;
        let assignments = joined(backend, &named, &[1, 2, 3]).await;
        assert_eq!(assignments[0].position, Some(Position::at(1)), "{foreign}");
        assert_eq!(assignments[0].reset, None, "{foreign}");
    }
}

/// Some tools copy metadata when they translate offsets between clusters.
pub async fn a_set_that_was_copied_to_another_offset_is_an_empty_set<B: Backend>(backend: &B) {
    let named = topic_with(backend, 5).await;
    let mut position = Position::at(2);
    position.finish(4);
    commit_and_leave(backend, &named, position).await;
    let (topic, partition, group) = named;
    let committed = backend.committed(&group, &partition).await.expect("there is a commit");
    let other = format!("{group}-other");
    backend.alter_committed(&other, &partition, 1, &committed.metadata).await;
    let assignments = joined(backend, &(topic, partition, other), &[1, 2, 3, 4]).await;
    assert_eq!(assignments[0].position, Some(Position::at(1)));
}

/// It is assigned with the committed position, and again when its first record has a lower offset.
pub async fn a_partition_with_a_commit_beyond_its_end_begins_anew<B: Backend>(backend: &B) {
    let named = topic_with(backend, 3).await;
    backend.alter_committed(&named.2, &named.1, 1_000, "").await;
    let assignments = joined(backend, &named, &[0, 1, 2]).await;
    let [committed, anew] = &assignments[..] else { panic!("found {assignments:#?}") };
    assert_eq!((&committed.position, committed.reset), (&Some(Position::at(1_000)), None));
    let reset = Some(Reset::OffsetsWentBack { from: 1_000, to: 0 });
    assert_eq!((&anew.position, anew.reset), (&Some(Position::at(0)), reset));
    assert!(anew.generation > committed.generation, "found {assignments:#?}");
}

/// Also if the new topic is already longer than what was read of the former one.
pub async fn a_topic_created_anew_is_read_from_its_start<B: Backend>(backend: &B) {
    let (topic, partition, group) = topic_with(backend, 2).await;
    let source = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [0, 1]).await;
    let before = members.owned(0)[&partition];
    members.during(backend.recreate_topic(&topic, 1)).await;
    members.during(fill(backend, &topic, 1, 6)).await;
    let anew = |m: &Members<'_>| {
        let records = m.records(0).into_iter().filter(|record| record.generation > before);
        records.map(|record| record.offset).collect::<Vec<_>>()
    };
    members
        .settle_until("the records of the new topic", |m| anew(m).ends_with(&[0, 1, 2, 3, 4, 5]))
        .await;
    members.silence().await;
    assert_eq!(anew(&members), [0, 1, 2, 3, 4, 5], "seen: {members:#?}");
    let last = members.assignments(0, &partition).pop().expect("it was assigned");
    assert_eq!(last.position, Some(Position::at(0)), "found {last:?}");
    assert!(last.reset.is_some(), "found {last:?}");
    let position = members.position(0, &partition, Position::at(3));
    members.during(source.commit(&[position])).await.expect("the owner may commit");
    members.during(source.close()).await.expect("the member can leave");
    let assignments = joined(backend, &(topic, partition, group), &[3, 4, 5]).await;
    assert_eq!(assignments[0].position, Some(Position::at(3)));
}

/// A member that had not noticed the new topic may have committed for the former one.
pub async fn a_commit_of_the_topic_before_does_not_count<B: Backend>(backend: &B) {
    let named = topic_with(backend, 4).await;
    let mut position = Position::at(2);
    position.finish(3);
    commit_and_leave(backend, &named, position).await;
    let (topic, partition, group) = &named;
    let committed = backend.committed(group, partition).await.expect("there is a commit");
    backend.recreate_topic(topic, 1).await;
    fill(backend, topic, 1, 5).await;
    backend.alter_committed(group, partition, committed.offset, &committed.metadata).await;
    let assignments = joined(backend, &named, &[0, 1, 2, 3, 4]).await;
    assert_eq!(assignments[0].position, Some(Position::at(0)));
    let reset = assignments[0].reset;
    assert!(matches!(reset, Some(Reset::TopicRecreated { .. })), "found {reset:?}");
}

/// Once the member has noticed the new topic.
pub async fn a_position_of_the_topic_before_is_fenced<B: Backend>(backend: &B) {
    let (topic, partition, group) = topic_with(backend, 2).await;
    let source = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("the records", |m| m.offsets(0, &partition) == [0, 1]).await;
    let stale = members.position(0, &partition, Position::at(2));
    members.during(backend.recreate_topic(&topic, 1)).await;
    members.settle_until("a new life", |m| m.assignments(0, &partition).len() == 2).await;
    let refused = members.during(source.commit(&[stale])).await;
    assert!(refused.is_err(), "found {refused:?}");
    let committed = members.during(backend.committed(&group, &partition)).await;
    assert_eq!(committed, None);
}
