//! Pauses: a partition that is paused waits, and nothing of it is lost.

use jobstream::record::TopicPartition;
use jobstream::sources::Source as _;

use super::records::fill;
use super::{Backend, Members};

/// Other partitions go on; records that were published meanwhile come after the resume.
pub async fn a_paused_partition_yields_nothing_until_resumed<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    let paused = TopicPartition::new(topic.clone(), 0);
    let other = TopicPartition::new(topic.clone(), 1);
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    members.until("an assignment", |members| members.owned(0).len() == 2).await;

    source.pause(std::slice::from_ref(&paused));
    members.during(fill(backend, &topic, 2, 5)).await;
    members.until("the other partition", |m| m.offsets(0, &other).len() == 5).await;
    members.silence().await;
    assert!(members.offsets(0, &paused).is_empty(), "a record came during the pause");
    source.resume(std::slice::from_ref(&paused));
    members.until("the paused partition", |m| m.offsets(0, &paused).len() == 5).await;
    assert_eq!(members.offsets(0, &paused), [0, 1, 2, 3, 4]);
}

/// A pause takes effect at the next poll, also for records that were fetched before.
pub async fn a_pause_in_mid_fetch_skips_and_repeats_nothing<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    fill(backend, &topic, 1, 100).await;
    let source = backend.source(&format!("{topic}-group"), &topic).await;
    let mut members = Members::of(backend);
    members.join(&source);
    for records in [1, 2, 50] {
        members.until("some records", |m| m.records(0).len() >= records).await;
        source.pause(std::slice::from_ref(&partition));
        let yielded = members.records(0).len();
        members.silence().await;
        assert_eq!(members.records(0).len(), yielded, "a record came during the pause");
        source.resume(std::slice::from_ref(&partition));
    }
    members.until("all records", |m| m.records(0).len() == 100).await;
    assert_eq!(members.offsets(0, &partition), (0..100).collect::<Vec<_>>());
}

/// A partition that was paused, handed over and handed back is no longer paused.
pub async fn a_pause_ends_with_the_assignment<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    let group = format!("{topic}-group");
    let (a, b) = (backend.source(&group, &topic).await, backend.source(&group, &topic).await);
    let mut members = Members::of(backend);
    members.join(&a);
    members.settle(&[2]).await;
    let paused: Vec<_> = members.owned(0).into_keys().collect();
    a.pause(&paused);
    members.join(&b);
    members.settle(&[1, 1]).await;
    let moved = members.owned(1).into_keys().next().expect("b owns one partition");
    members.during(b.close()).await.expect("the member can leave");
    members.forget(1);
    members.settle(&[2]).await;
    members.during(fill(backend, &topic, 2, 1)).await;
    members.until("the record", |m| m.offsets(0, &moved) == [0]).await;
}
