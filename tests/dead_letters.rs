//! What a dead letter carries, and what goes with it.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, HEADERS_MAX, Header, Headers, ProducerRecord};
use jobstream::topology::{Event, TOO_MANY_HEADERS, Topology, UNDECODABLE};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use support::{
    DEAD_LETTERS, Diary, GROUP, JOBS, Notes, RESULTS, Task, broker, limits, produce, result,
};
use tokio::time::sleep;

fn topology() -> Topology {
    let outcome = |record: &ConsumerRecord| {
        let mut refused = ProducerRecord::to(RESULTS).value("refused");
        refused.key.clone_from(&record.key);
        vec![refused]
    };
    Topology::builder(DEAD_LETTERS)
        .beside_dead_letters(outcome)
        .decode(Json::<Task>::new())
        .execute(Arc::<Diary>::default())
        .encode(result)
}

async fn run(broker: &Broker) {
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "worker");
    topology().run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_outcome_is_published_in_the_same_transaction() {
    let broker = broker(1);
    broker.produce(ProducerRecord::to(JOBS).key("a").value("no task")).unwrap();
    run(&broker).await;
    assert_eq!(broker.records(DEAD_LETTERS, Isolation::ReadCommitted).len(), 1);
    let outcomes = broker.records(RESULTS, Isolation::ReadCommitted);
    let expected = (Some(&b"a"[..]), Some(&b"refused"[..]));
    let found: Vec<_> = outcomes.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    assert_eq!(found, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_no_dead_letter_goes_alone() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(7));
    run(&broker).await;
    assert_eq!(support::values(&broker, RESULTS, Isolation::ReadCommitted), ["7"]);
}

/// The only dead letter.
fn letter(broker: &Broker) -> ConsumerRecord {
    let mut letters = broker.records(DEAD_LETTERS, Isolation::ReadCommitted);
    assert_eq!(letters.len(), 1, "{letters:?}");
    letters.remove(0)
}

fn header(record: &ConsumerRecord, name: &str) -> Option<String> {
    let value = record.headers.get(name)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn with_headers(count: usize) -> ProducerRecord {
    let value = serde_json::to_vec(&Task::new(7)).unwrap();
    let headers = (0..count).map(|_| Header { name: "".into(), value: None });
    ProducerRecord { headers: headers.collect(), ..ProducerRecord::to(JOBS).key("a").value(value) }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_names_the_group_that_it_is_of_whatever_its_record_said() {
    for (group, expected) in [(Some(GROUP), Some(GROUP)), (None, None)] {
        let broker = broker(1);
        let mut record = ProducerRecord::to(JOBS).key("a").value("no task");
        record.headers.set("dead-letter-group", "forged");
        record.headers.set("mine", "kept");
        broker.produce(record).unwrap();
        let topology = match group {
            Some(group) => topology().with_group(group),
            None => topology(),
        };
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "worker");
        topology.run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
        let letter = letter(&broker);
        assert_eq!(header(&letter, "dead-letter-group").as_deref(), expected);
        assert_eq!(header(&letter, "dead-letter-reason").as_deref(), Some(UNDECODABLE));
        assert_eq!(header(&letter, "mine").as_deref(), Some("kept"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_with_as_many_headers_as_are_allowed_is_worked_on() {
    let broker = broker(1);
    broker.produce(with_headers(HEADERS_MAX)).unwrap();
    run(&broker).await;
    assert_eq!(support::values(&broker, RESULTS, Isolation::ReadCommitted), ["7"]);
}

/// It could be decoded, and is not looked at; its dead letter is as small as one without headers.
#[tokio::test(start_paused = true)]
async fn a_record_with_more_headers_is_a_dead_letter_without_them() {
    for count in [HEADERS_MAX + 1, 50 * HEADERS_MAX] {
        let broker = broker(1);
        let record = with_headers(count);
        broker.produce(record.clone()).unwrap();
        run(&broker).await;
        let letter = letter(&broker);
        assert_eq!((&letter.key, &letter.value), (&record.key, &record.value));
        assert_eq!(header(&letter, "dead-letter-reason").as_deref(), Some(TOO_MANY_HEADERS));
        let cause = "found more than 1000 headers, expected at most as many";
        assert_eq!(header(&letter, "dead-letter-cause").as_deref(), Some(cause));
        assert!(letter.headers.iter().all(|header| header.name.starts_with("dead-letter-")));
        assert!(letter.size_bytes() < 2_000, "{}", letter.size_bytes());
    }
}

/// The value is refused as too large, and then the dead letter with it.
#[tokio::test(start_paused = true)]
async fn one_that_is_too_large_as_well_has_a_dead_letter_that_fits() {
    let broker = Broker::new();
    broker.create_topic(JOBS, TopicOptions::partitions(1).max_message_bytes(8 << 20));
    broker.create_topic(DEAD_LETTERS, 1);
    broker.create_topic(RESULTS, 1);
    let headers = (0..=HEADERS_MAX).map(|_| Header::new("name", Bytes::from_static(b"value")));
    let headers: Headers = headers.collect();
    let value = vec![b'x'; 4 << 20];
    broker.produce(ProducerRecord { headers, ..ProducerRecord::to(JOBS).value(value) }).unwrap();
    run(&broker).await;
    let letter = letter(&broker);
    assert_eq!(header(&letter, "dead-letter-reason").as_deref(), Some("too-large"));
    assert_eq!(letter.value, None);
    assert!(letter.headers.len() < 10, "{letter:?}");
}

/// The others go on, in the same partition, too; and so does it once the topic takes it.
#[tokio::test(start_paused = true)]
async fn one_that_its_topic_takes_in_no_form_waits_until_the_topic_does() {
    for exactly_once in [false, true] {
        let broker = broker(1);
        broker.recreate_topic(DEAD_LETTERS, TopicOptions::partitions(1).max_message_bytes(100));
        broker.produce(ProducerRecord::to(JOBS).value("no task")).unwrap();
        for id in 0..5 {
            produce(&broker, None, &Task::new(id));
        }
        let notes = Arc::new(Notes::default());
        let noted = notes.clone();
        let observer = move |event: &Event<'_>| {
            if let Event::Withheld { record, topic } = event {
                noted.note(format!("{topic}: {}", record.offset));
            }
        };
        let topology = topology().with_limits(limits()).with_observer(Arc::new(observer));
        let later = async {
            let results = || broker.records(RESULTS, Isolation::ReadCommitted).len();
            broker.until(|_| results() >= 5).await;
            // It is tried again, several times.
            sleep(Duration::from_secs(60)).await;
            broker.recreate_topic(DEAD_LETTERS, TopicOptions::partitions(1));
            broker.caught_up(GROUP, JOBS).await;
        };
        let ran = if exactly_once {
            let (source, sink) = broker.exactly_once(GROUP, [JOBS], "worker");
            topology.run(&source, &sink, later).await
        } else {
            let source = broker.consumer(GROUP, [JOBS]).build();
            topology.run(&source, &broker.producer(), later).await
        };
        assert_eq!(ran.unwrap().unfinished, 0);
        let letter = letter(&broker);
        assert_eq!(header(&letter, "dead-letter-reason").as_deref(), Some("too-large"));
        assert_eq!(notes.all(), [format!("{DEAD_LETTERS}: 0")], "it is said once");
    }
}
