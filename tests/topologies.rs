//! Three different topologies: stages compose in any order, and the run loop only drives them.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::{Codec, CodecError, Json};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Executed, Flow, Stage, StageKind, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use serde_json::{Value, json};
use support::{DEAD_LETTERS, JOBS, RESULTS, broker, run_to_the_end, values};

const AUDIT: &str = "audit";

fn produce(broker: &Broker, key: Option<&str>, value: Option<&[u8]>) {
    let mut record = ProducerRecord::to(JOBS);
    record.key = key.map(|key| Bytes::copy_from_slice(key.as_bytes()));
    record.value = value.map(Bytes::copy_from_slice);
    record.headers.push("trace", Some(Bytes::from_static(b"7")));
    broker.produce(record).unwrap();
}

#[tokio::test(start_paused = true)]
async fn filters_and_maps_in_any_order_feed_several_outputs() {
    let topology = Topology::builder(DEAD_LETTERS)
        .decode(Json::<i64>::new())
        .map(|n| n + 1)
        .filter("even", |n: &i64| n % 2 == 0)
        .map(|n| n.to_string())
        .filter("short", |text: &String| text.len() < 3)
        .filter("not-42", |text: &String| text != "42")
        .encode(|record: &ConsumerRecord, text: String| {
            let mut result = ProducerRecord::to(RESULTS).value(text.clone());
            result.headers = record.headers.clone();
            Ok(vec![result, ProducerRecord::to(AUDIT).value(format!("saw {text}"))])
        });
    let broker = broker(1);
    broker.create_topic(AUDIT, 1);
    for number in ["1", "2", "41", "99", "7", "x"] {
        produce(&broker, None, Some(number.as_bytes()));
    }
    run_to_the_end(&topology, &broker).await;
    let mut results = values(&broker, RESULTS, Isolation::ReadCommitted);
    results.sort();
    assert_eq!(results, ["2", "8"]);
    assert_eq!(values(&broker, AUDIT, Isolation::ReadCommitted), ["saw 2", "saw 8"]);
    assert_eq!(values(&broker, DEAD_LETTERS, Isolation::ReadCommitted), ["x"]);
    let result = &broker.records(RESULTS, Isolation::ReadCommitted)[0];
    assert_eq!(result.headers.get("trace"), Some(&Bytes::from_static(b"7")));
}

/// A stage of one's own: opens an envelope, and knows why one can't be opened.
struct Open;

impl Stage<Value> for Open {
    type Out = String;

    fn apply(&self, record: &ConsumerRecord, mut envelope: Value) -> Flow<String> {
        match envelope["letter"].take() {
            Value::String(letter) => Flow::Next(letter),
            Value::Null => Flow::Skip("empty"),
            other => {
                let cause = format!("found {other} at {}, expected a letter", record.offset);
                Flow::DeadLetter { reason: "no-letter", cause }
            }
        }
    }
}

/// Counts letters per record key: a job sink with state.
#[derive(Default)]
struct Counter(Mutex<BTreeMap<Bytes, u32>>);

#[async_trait]
impl JobSink<String, u32> for Counter {
    async fn execute(&self, letter: &String, record: &ConsumerRecord) -> Result<u32, JobError> {
        if letter.is_empty() {
            return Err(JobError::permanent("found an empty letter"));
        }
        let key = record.key.clone().unwrap_or_default();
        let mut counts = self.0.lock().unwrap();
        let count = counts.entry(key).or_default();
        *count += 1;
        Ok(*count)
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_of_ones_own_and_stages_after_the_execution_compose() {
    let topology = Topology::builder(DEAD_LETTERS)
        .decode(Json::<Value>::new())
        .stage(Open)
        .execute(Arc::new(Counter::default()))
        .filter("first", |executed: &Executed<String, u32>| executed.outcome != Ok(1))
        .map(|executed: Executed<String, u32>| (executed.input, executed.outcome))
        .encode(|record: &ConsumerRecord, (letter, outcome): (String, Result<u32, JobError>)| {
            let value = match outcome {
                Ok(count) => format!("{letter}{count}"),
                Err(error) => error.to_string(),
            };
            let mut result = ProducerRecord::to(RESULTS).value(value);
            result.key.clone_from(&record.key);
            Ok(vec![result])
        });
    let expected = [
        StageKind::Decode,
        StageKind::Own("Open"),
        StageKind::Execute,
        StageKind::Filter("first"),
        StageKind::Map,
        StageKind::Encode,
    ];
    assert_eq!(topology.stages(), expected);
    let broker = broker(1);
    for value in [json!({"letter": "a"}), json!({"letter": "b"}), json!({"letter": ""})] {
        produce(&broker, Some("k"), Some(value.to_string().as_bytes()));
    }
    produce(&broker, Some("k"), Some(b"{\"letter\":7}"));
    produce(&broker, Some("k"), Some(b"{}"));
    run_to_the_end(&topology, &broker).await;
    let results = values(&broker, RESULTS, Isolation::ReadCommitted);
    assert_eq!(results, ["b2", "found an empty letter"]);
    let dead = &broker.records(DEAD_LETTERS, Isolation::ReadCommitted)[0];
    let header = |name: &str| String::from_utf8(dead.headers.get(name).unwrap().to_vec()).unwrap();
    assert_eq!(header("dead-letter-reason"), "no-letter");
    assert_eq!(header("dead-letter-cause"), "found 7 at 3, expected a letter");
    assert_eq!(
        (header("dead-letter-topic"), header("dead-letter-partition")),
        (JOBS.into(), "0".into())
    );
    assert_eq!(header("dead-letter-offset"), "3");
    assert_eq!(header("trace"), "7");
    assert_eq!((&dead.key, &dead.value), (&Some("k".into()), &Some("{\"letter\":7}".into())));
}

/// The bytes as they are.
struct Raw;

impl Codec<Option<Bytes>> for Raw {
    fn decode(&self, value: Option<&Bytes>) -> Result<Option<Bytes>, CodecError> {
        Ok(value.cloned())
    }

    fn encode(&self, item: &Option<Bytes>) -> Result<Option<Bytes>, CodecError> {
        Ok(item.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_keeps_null_and_empty_keys_and_values_apart() {
    let topology = Topology::builder(DEAD_LETTERS).decode(Raw).encode(
        |record: &ConsumerRecord, value: Option<Bytes>| {
            let mut copy = ProducerRecord::to(RESULTS);
            (copy.key, copy.value) = (record.key.clone(), value);
            copy.headers = record.headers.clone();
            copy.partition = Some(0);
            Ok(vec![copy])
        },
    );
    let broker = broker(1);
    let bodies: [(Option<&str>, Option<&[u8]>); 4] =
        [(None, None), (Some(""), Some(b"")), (None, Some(b"\xff")), (Some("k"), None)];
    for (key, value) in bodies {
        produce(&broker, key, value);
    }
    run_to_the_end(&topology, &broker).await;
    let records = broker.records(RESULTS, Isolation::ReadCommitted);
    let copies: Vec<_> = records.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    let expected = bodies.map(|(key, value)| (key.map(str::as_bytes), value));
    assert_eq!(copies, expected);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_has_no_form_in_bytes_is_a_dead_letter() {
    let topology = Topology::builder(DEAD_LETTERS).decode(Json::<i64>::new()).encode(
        |_: &ConsumerRecord, n: i64| -> Result<Vec<ProducerRecord>, CodecError> {
            Err(CodecError::new(format!("found {n}, expected anything else")))
        },
    );
    let broker = broker(1);
    produce(&broker, None, Some(b"1"));
    run_to_the_end(&topology, &broker).await;
    let dead = &broker.records(DEAD_LETTERS, Isolation::ReadCommitted)[0];
    assert_eq!(dead.headers.get("dead-letter-reason").unwrap(), "unencodable");
    assert_eq!(dead.headers.get("dead-letter-cause").unwrap(), "found 1, expected anything else");
}
