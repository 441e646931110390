//! Stores: committed changes are restored, and nothing else.

use jobstream::position::Position;
use jobstream::record::{ProducerRecord, Topic, TopicPartition};
use jobstream::sinks::{Batch, Published};
use jobstream::sources::Source as _;
use jobstream::state::Store;

use super::records::{fill, publish};
use super::{Backend, Members};

/// A change of a key; `None` removes it.
fn change(topic: &Topic, partition: i32, key: &str, value: Option<&str>) -> ProducerRecord {
    let mut record = ProducerRecord::to(topic.clone()).key(key.to_owned());
    record.partition = Some(partition);
    record.value = value.map(|value| value.to_owned().into());
    record
}

/// The restored entries, as text, sorted by key.
async fn restored(store: &dyn Store, partition: i32) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let entries = store.restore(partition).await.unwrap_or_else(|error| panic!("{error}"));
    let mut entries: Vec<_> = entries.iter().map(|e| (text(&e.key), text(&e.value))).collect();
    entries.sort();
    entries
}

fn entries(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Also if other partitions of the topic have records.
pub async fn a_part_that_was_never_written_is_empty<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    publish(&*backend.sink().await, vec![change(&topic, 1, "a", Some("1"))]).await;
    let store = backend.store(&topic).await;
    assert_eq!(*store.topic(), topic);
    assert_eq!(restored(&*store, 0).await, []);
}

/// A change goes to the partition of its part, whatever the hash of its key.
pub async fn a_restore_gives_the_last_value_of_each_key_of_its_partition<B: Backend>(backend: &B) {
    let topic = backend.create_topic(2).await;
    let changes = vec![
        change(&topic, 0, "a", Some("1")),
        change(&topic, 0, "b", Some("2")),
        change(&topic, 1, "a", Some("3")),
        change(&topic, 0, "a", Some("4")),
    ];
    publish(&*backend.sink().await, changes).await;
    let store = backend.store(&topic).await;
    assert_eq!(restored(&*store, 0).await, entries(&[("a", "4"), ("b", "2")]));
    assert_eq!(restored(&*store, 1).await, entries(&[("a", "3")]));
}

/// A null value removes a key; a key that is written again is there again.
pub async fn removed_keys_are_absent_and_empty_values_are_not<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let changes = vec![
        change(&topic, 0, "removed", Some("1")),
        change(&topic, 0, "back", Some("2")),
        change(&topic, 0, "empty", Some("")),
        change(&topic, 0, "back", None),
        change(&topic, 0, "removed", None),
        change(&topic, 0, "never there", None),
        change(&topic, 0, "back", Some("3")),
    ];
    publish(&*backend.sink().await, changes).await;
    let store = backend.store(&topic).await;
    assert_eq!(restored(&*store, 0).await, entries(&[("back", "3"), ("empty", "")]));
}

/// Neither below a committed change nor at the end, where a marker has the last offset.
pub async fn aborted_changes_are_not_restored<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let (sink, id) = (backend.sink().await, format!("{topic}-id"));
    publish(&*sink, vec![change(&topic, 0, "a", Some("1"))]).await;
    backend
        .abort(&id, &[change(&topic, 0, "a", Some("2")), change(&topic, 0, "b", Some("2"))])
        .await;
    publish(&*sink, vec![change(&topic, 0, "c", Some("3"))]).await;
    backend.abort(&id, &[change(&topic, 0, "c", Some("4"))]).await;
    let store = backend.store(&topic).await;
    assert_eq!(restored(&*store, 0).await, entries(&[("a", "1"), ("c", "3")]));
}

/// The transaction may still commit. Once the next producer of its id aborts it, the changes behind
/// it are restored.
pub async fn a_restore_waits_for_an_open_transaction<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let (sink, id) = (backend.sink().await, format!("{topic}-id"));
    backend.abandon(&id, &[change(&topic, 0, "a", Some("open"))]).await;
    publish(&*sink, vec![change(&topic, 0, "b", Some("2"))]).await;
    let store = backend.store(&topic).await;
    let mut members = Members::of(backend);
    let restore = restored(&*store, 0);
    let fenced = async {
        tokio::time::sleep(super::members::SILENCE).await;
        let _newer = backend.exactly_once(&format!("{topic}-other"), &topic, &id).await;
        tokio::time::Instant::now()
    };
    let ended = async { (restore.await, tokio::time::Instant::now()) };
    let ((found, restored_at), fenced_at) =
        members.during(futures::future::join(ended, fenced)).await;
    assert_eq!(found, entries(&[("b", "2")]));
    let early = fenced_at.duration_since(restored_at);
    assert!(early < super::members::SILENCE, "restored {early:?} before the transaction ended");
}

/// The changes of an exactly-once pair, once the next member has the partition.
pub async fn what_a_pair_has_committed_is_there_after_the_next_assignment<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    fill(backend, &topic, 1, 3).await;
    let changes = backend.create_topic(1).await;
    let (partition, group) = (TopicPartition::new(topic.clone(), 0), format!("{topic}-group"));
    let (first, sink) = backend.exactly_once(&group, &topic, &format!("{topic}-1")).await;
    let (second, _) = backend.exactly_once(&group, &topic, &format!("{topic}-2")).await;
    let mut members = Members::of(backend);
    members.join(&first);
    members.until("the records", |m| m.records(0).len() == 3).await;
    let outputs = vec![change(&changes, 0, "count", Some("2"))];
    let positions = vec![members.position(0, &partition, Position::at(2))];
    let published = members.during(sink.publish(&Batch { outputs, positions })).await;
    assert!(matches!(&published, Ok(Published { has_positions: true, .. })), "found {published:?}");
    members.during(first.close()).await.unwrap_or_else(|error| panic!("{error}"));
    members.join(&second);
    members.until("the assignment", |m| !m.assignments(1, &partition).is_empty()).await;
    assert_eq!(members.assignments(1, &partition)[0].position, Some(Position::at(2)));
    let store = backend.store(&changes).await;
    assert_eq!(restored(&*store, 0).await, entries(&[("count", "2")]));
}

/// The topic has too few partitions, and waiting does not change that.
pub async fn a_part_that_does_not_exist_breaks_the_store<B: Backend>(backend: &B) {
    let topic = backend.create_topic(1).await;
    let store = backend.store(&topic).await;
    let mut members = Members::of(backend);
    let error = members.during(store.restore(1)).await.err();
    let error = error.unwrap_or_else(|| panic!("a part without a partition was restored"));
    assert!(error.to_string().contains(&*topic), "{error}");
}
