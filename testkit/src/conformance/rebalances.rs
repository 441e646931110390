//! Rebalances: partitions move, and each has one owner at a time.

use std::collections::BTreeSet;

use jobstream::position::Position;
use jobstream::record::Topic;
use jobstream::sources::{CommitError, Source as _, SourceEvent};

use super::records::fill;
use super::{Backend, Members};

/// Of six partitions, each of three members has two, and none has two owners.
pub async fn members_share_the_partitions_and_each_has_one_owner<B: Backend>(backend: &B) {
    let topic = backend.create_topic(6).await;
    let group = format!("{topic}-group");
    let mut sources = Vec::new();
    for _ in 0..3 {
        sources.push(backend.source(&group, &topic).await);
    }
    let mut members = Members::of(backend);
    for source in &sources {
        members.join(source);
    }
    members.settle(&[2, 2, 2]).await;
    let owned = (0..3).flat_map(|member| members.owned(member).into_keys());
    assert_eq!(owned.collect::<BTreeSet<_>>().len(), 6);
}

/// Until then its owner can commit, and no other member has it.
pub async fn a_revoked_partition_stays_until_it_is_released<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    fill(backend, &topic, 2, 2).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    members.join(&b);
    members.until("a is asked", |m| !m.revoked(0).is_empty()).await;
    let asked = members.revoked(0).remove(0);
    members.silence().await;
    assert!(members.owned(1).is_empty(), "b has {:?}", members.owned(1));
    let position = members.position(0, &asked, Position::at(1));
    members.during(a.commit(&[position])).await.expect("it is still a's");
    members.settle(&[1, 1]).await;
    let (next, source) = if members.owned(1).contains_key(&asked) { (1, &b) } else { (0, &a) };
    let assigned = members.assignments(next, &asked);
    let position = assigned.last().and_then(|assignment| assignment.position.clone());
    assert_eq!(position, Some(Position::at(1)));
    let position = members.position(next, &asked, Position::at(2));
    members.during(source.commit(&[position])).await.expect("it is the new owner's");
}

/// Neither a record that was fetched before nor one that is published later; the new owner gets
/// them.
pub async fn no_record_follows_the_revocation_of_its_partition<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    members.join(&b);
    members.during(fill(backend, &topic, 2, 100)).await;
    members.until("a is asked", |m| !m.revoked(0).is_empty()).await;
    members.during(fill(backend, &topic, 2, 100)).await;
    members.silence().await;
    members.settle(&[1, 1]).await;
    let moved = members.owned(1).into_keys().next().expect("b owns one partition");
    members.until("b's records", |m| m.offsets(1, &moved).len() == 200).await;
    let seen = members.seen(0);
    let is_revocation =
        |event: &SourceEvent| matches!(event, SourceEvent::Revoked(p) if p.contains(&moved));
    let revoked = seen.iter().position(is_revocation).expect("a was asked for it");
    let of_moved =
        |event: &SourceEvent| matches!(event, SourceEvent::Record(r) if r.partition == moved);
    assert!(!seen[revoked..].iter().any(of_moved), "found {:?}", &seen[revoked..]);
}

/// The partition stays, its records go on, and its owner can commit.
pub async fn a_release_of_what_was_not_asked_back_is_passed_over<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.settle(&[1]).await;
    let partition = members.owned(0).into_keys().next().expect("it owns the partition");
    let release = source.release(std::slice::from_ref(&partition));
    members.during(release).await.expect("the source goes on");
    members.during(fill(backend, &topic, 1, 1)).await;
    members.until("the record", |m| m.offsets(0, &partition) == [0]).await;
    let position = members.position(0, &partition, Position::at(1));
    members.during(source.commit(&[position])).await.expect("it is still its partition");
    assert_eq!(members.assignments(0, &partition).len(), 1);
}

/// The other member gets everything without waiting for a session timeout.
pub async fn a_member_that_leaves_is_replaced<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.join(&b);
    members.settle(&[1, 1]).await;
    members.during(b.close()).await.expect("the member can leave");
    members.forget(1);
    members.settle(&[2]).await;
}

/// The member without a partition waits, and takes over when another leaves.
pub async fn a_group_may_have_more_members_than_partitions<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    fill(backend, &topic, 1, 1).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[1]).await;
    members.join(&b);
    members.silence().await;
    let owners = |members: &Members<'_>| members.owned(0).len() + members.owned(1).len();
    members.settle_until("one owner", |members| owners(members) == 1).await;
    let (owner, other) = if members.owned(0).is_empty() { (&b, 0) } else { (&a, 1) };
    members.during(owner.close()).await.expect("the member can leave");
    members.forget(1 - other);
    members.until("the record", |members| !members.records(other).is_empty()).await;
}

/// With two topics of four partitions and three members, each number belongs to the same member in
/// both topics.
pub async fn members_with_ranges_have_the_same_partitions_of_every_topic<B: Backend>(backend: &B) {
    let topics = [backend.create_topic(4).await, backend.create_topic(4).await];
    let group = format!("{}-group", topics[0]);
    let mut sources = Vec::new();
    for _ in 0..3 {
        sources.push(backend.ranges(&group, &topics).await);
    }
    let mut members = Members::of(backend);
    for source in &sources {
        members.join(source);
    }
    let numbers = |members: &Members<'_>, member: usize, topic: &Topic| {
        let owned = members.owned(member).into_keys();
        owned.filter(|it| it.topic == *topic).map(|it| it.partition).collect::<BTreeSet<_>>()
    };
    let what = "each member owns some partitions, the same of both topics, and all are owned";
    let co_partitioned = |members: &Members<'_>| {
        let of = |topic| (0..3).map(|member| numbers(members, member, topic)).collect::<Vec<_>>();
        let (one, other) = (of(&topics[0]), of(&topics[1]));
        one == other
            && one.iter().all(|numbers| !numbers.is_empty())
            && one.iter().map(BTreeSet::len).sum::<usize>() == 4
    };
    members.settle_until(what, co_partitioned).await;
}

/// Its records go on where they were, with the same generation.
pub async fn a_kept_partition_goes_on_under_its_old_assignment<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    members.join(&b);
    members.settle(&[1, 1]).await;
    let kept = members.owned(0).into_keys().next().expect("a owns one partition");
    assert_eq!(members.assignments(0, &kept).len(), 1);
    let asked: Vec<_> = members.seen(0).iter().collect();
    let revoked =
        |event: &&SourceEvent| matches!(event, SourceEvent::Revoked(gone) if gone.contains(&kept));
    assert!(!asked.iter().any(revoked), "found {asked:?}");
    let position = members.position(0, &kept, Position::at(0));
    members.during(a.commit(&[position])).await.expect("a kept partition can be committed");
}

/// Records that it had not committed are delivered to the next member.
pub async fn a_crashed_member_is_replaced_and_its_records_come_again<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    fill(backend, &topic, 1, 3).await;
    let group = format!("{topic}-group");
    let a = backend.source(&group, &topic).await;
    {
        let mut members = Members::of(backend);
        members.join(&a);
        members.until("the records", |m| m.records(0).len() == 3).await;
        let partition = members.records(0)[0].partition.clone();
        let position = members.position(0, &partition, Position::at(1));
        members.during(a.commit(&[position])).await.expect("the owner may commit");
    }
    backend.crash(a).await;
    let b = backend.source(&group, &topic).await;
    let mut members = Members::of(backend);
    members.join(&b);
    members.until("the records", |m| m.records(0).len() == 2).await;
    assert_eq!(members.records(0)[0].offset, 1);
}

/// Its commits are fenced, its stream yields `Lost`, and it gets partitions again.
pub async fn an_expired_member_learns_of_its_loss_and_joins_again<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    fill(backend, &topic, 2, 1).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    let partition = members.owned(0).into_keys().next().expect("a owns both");
    let stale = members.position(0, &partition, Position::at(1));
    backend.expire(&a).await;
    let refused = members.during(a.commit(std::slice::from_ref(&stale))).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
    let is_loss = |event: &SourceEvent| matches!(event, SourceEvent::Lost(gone) if gone.len() == 2);
    members.until("a has lost both", |m| m.seen(0).iter().any(is_loss)).await;
    members.join(&b);
    members.settle(&[1, 1]).await;
    let refused = members.during(a.commit(&[stale])).await;
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
}
