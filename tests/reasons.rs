//! Reasons name type and place, show nothing of the record, and are bounded.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::{Codec, CodecError, Json};
use jobstream::job::JobCodec;
use jobstream::reason::{REASON_LIMIT_BYTES, Reason};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, JobSink, SinkError};
use jobstream::topology::{Event, Flow, RunError, Stage, Topology};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{DEAD_LETTERS, JOBS, RESULTS, Task, run_to_the_end};

/// What must never be seen.
const SECRETS: [&str; 2] = ["s3cr3t", "86753099"];

/// A value of every JSON type with a secret in it, some of it encoded once more.
fn secret() -> impl Strategy<Value = serde_json::Value> {
    let text = prop_oneof![
        Just("s3cr3t".to_owned()),
        Just("s3cr3t`, expected s3cr3t".to_owned()),
        Just("s3cr3t\", expected s3cr3t at line 1 column 1".to_owned()),
        Just("s3cr3t ".repeat(200)),
    ];
    let leaf = prop_oneof![
        text.prop_map(serde_json::Value::from),
        Just(86_753_099_u32.into()),
        Just((-86_753_099_i32).into()),
        Just(86_753_099.5.into()),
        any::<bool>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            inner.clone().prop_map(|value| serde_json::json!({ "s3cr3t": value })),
            inner.prop_map(|value| serde_json::Value::from(value.to_string())),
        ]
    })
}

/// Some of these fields, each with a secret; now and then the whole is encoded once more, or cut.
fn object(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((prop::sample::select(names), secret()), 0..6);
    let damage = (0_u8..4, any::<prop::sample::Index>());
    (fields, damage).prop_map(|(fields, (damage, at))| {
        let field = |(name, value): &(&str, serde_json::Value)| format!("\"{name}\":{value}");
        let fields: Vec<_> = fields.iter().map(field).collect();
        let text = format!("{{{}}}", fields.join(","));
        match damage {
            0 => serde_json::to_string(&text).unwrap(),
            1 => text[..at.index(text.len())].to_owned(),
            _ => text,
        }
    })
}

#[derive(Debug, Serialize, Deserialize)]
enum Size {
    Small,
    Large { centimetres: u8 },
}

#[derive(Debug, Serialize, Deserialize)]
enum Never {}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Err(format!("no name: {name}"))
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(u8),
    Text { text: Name },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Order {
    id: u8,
    size: Option<Size>,
    never: Option<Never>,
    name: Option<Name>,
    either: Option<Either>,
    pair: (bool, char),
    list: Vec<i16>,
    map: BTreeMap<u8, f32>,
}

const ORDER: &[&str] =
    &["id", "size", "never", "name", "either", "pair", "list", "map", "s3cr3t", "id"];
const JOB: &[&str] = &["Id", "Status", "JobType", "JobData", "ScheduleTime", "s3cr3t"];
const DATA: &[&str] = &["SourceAddress", "DestinationAddress", "Subject", "Message", "s3cr3t"];

fn check(reason: &str, value: &str) -> Result<(), TestCaseError> {
    for secret in SECRETS {
        prop_assert!(!reason.contains(secret), "{value}\n{reason}");
    }
    prop_assert!(reason.len() <= REASON_LIMIT_BYTES, "{} bytes", reason.len());
    Ok(())
}

fn check_order<T: Serialize + serde::de::DeserializeOwned>(
    text: &str,
) -> Result<(), TestCaseError> {
    match Json::<T>::new().decode(Some(&Bytes::from(text.to_owned()))) {
        Ok(_) => Ok(()),
        Err(error) => check(&error.to_string(), text),
    }
}

fn check_job(text: &str) -> Result<(), TestCaseError> {
    let job = match JobCodec.decode(Some(&Bytes::from(text.to_owned()))) {
        Ok(job) => job,
        Err(error) => return check(&error.to_string(), text),
    };
    job.data().map_or_else(|error| check(&error.to_string(), text), |_| Ok(()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_reason_of_a_codec_shows_anything_of_the_value(
        order in object(ORDER),
        job in object(JOB),
        data in object(DATA),
        depth in 0..3,
    ) {
        check_order::<Order>(&order)?;
        check_order::<Vec<Size>>(&order)?;
        check_order::<Never>(&order)?;
        check_job(&job)?;
        let encode = |text: String, _| serde_json::to_string(&text).unwrap();
        let data = (0..depth).fold(data, encode);
        check_job(&format!(r#"{{"Id":"1","Status":2,"JobData":{data}}}"#))?;
    }
}

#[test]
fn a_reason_names_what_was_found_what_was_expected_and_the_place() {
    let reason = |text: &'static str| {
        let decoded = Json::<Order>::new().decode(Some(&Bytes::from_static(text.as_bytes())));
        decoded.unwrap_err().to_string()
    };
    for (text, expected) in [
        (r#"{"id":"seven"}"#, "found a string, expected u8 at line 1 column 13"),
        (r#"{"id":700}"#, "found an integer, expected u8 at line 1 column 9"),
        (r#"{"id":7.5}"#, "found a number that is no integer, expected u8 at line 1 column 9"),
        (r#"{"id":null}"#, "found null, expected u8 at line 1 column 10"),
        (r#"{"id":1,"id":2}"#, "duplicate field `id` at line 1 column 12"),
        (r#"{"list":{}}"#, "found an object, expected a sequence at line 1 column 8"),
        (
            r#"{"pair":[true]}"#,
            "found another length, expected a tuple of size 2 at line 1 column 14",
        ),
        (
            r#"{"size":"Huge"}"#,
            "found an unknown variant, expected `Small` or `Large` at line 1 column 14",
        ),
        (r#"{"size":{"Large":{}}}"#, "missing field `centimetres` at line 1 column 19"),
        (r#"{"name":"Ann"}"#, "found a value, which is not taken at line 1 column 14"),
        (r#"{"id":"#, "EOF while parsing a value at line 1 column 6"),
    ] {
        assert_eq!(reason(text), expected, "{text}");
    }
}

/// Refuses in many words.
struct Wordy;

const MANY: usize = 600_000;

#[async_trait]
impl JobSink<Task, u64> for Wordy {
    async fn execute(&self, _: &Task, _: &ConsumerRecord) -> Result<u64, JobError> {
        Err(JobError::permanent("é".repeat(MANY)))
    }
}

/// Refuses every other job, in many words.
struct WordyStage;

impl Stage<Task> for WordyStage {
    type Out = Task;

    fn apply(&self, _: &ConsumerRecord, task: Task) -> Flow<Task> {
        match task.id % 3 {
            0 => Flow::DeadLetter { reason: "wordy", cause: "é".repeat(MANY) },
            _ => Flow::Next(task),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn reasons_are_bounded_whoever_has_written_them() {
    let broker = Broker::new();
    broker.create_topic(JOBS, 1);
    for topic in [RESULTS, DEAD_LETTERS] {
        broker.create_topic(topic, TopicOptions::partitions(1).max_message_bytes(4 << 10));
    }
    for id in 0..3 {
        support::produce(&broker, None, &Task::new(id));
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let observer = Arc::new(move |event: &Event<'_>| match event {
        Event::DeadLettered { cause, .. } => hears.lock().unwrap().push(cause.len()),
        Event::Executed { error: Some(error), .. } => {
            hears.lock().unwrap().push(error.reason().len());
        }
        _ => {}
    });
    let topology = Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .stage(WordyStage)
        .execute(Arc::new(Wordy))
        .encode(|record: &ConsumerRecord, executed: jobstream::topology::Executed<Task, u64>| {
            if executed.input.id == 2 {
                return Err(CodecError::new("é".repeat(MANY)));
            }
            let reason = executed.outcome.unwrap_err().reason().to_owned();
            let mut result = ProducerRecord::to(RESULTS).value(record.value.clone().unwrap());
            result.headers.push("error", Some(reason.into()));
            Ok(vec![result])
        });
    run_to_the_end(&topology.with_observer(observer), &broker).await;
    let results = broker.records(RESULTS, Isolation::ReadCommitted);
    let letters = broker.records(DEAD_LETTERS, Isolation::ReadCommitted);
    assert_eq!((results.len(), letters.len()), (1, 2));
    let of = |record: &ConsumerRecord, name| record.headers.get(name).unwrap().len();
    let mut lengths = heard.lock().unwrap().clone();
    lengths.extend(results.iter().map(|result| of(result, "error")));
    lengths.extend(letters.iter().map(|letter| of(letter, "dead-letter-cause")));
    assert!(lengths.iter().all(|bytes| *bytes <= REASON_LIMIT_BYTES), "{lengths:?}");
    assert!(letters.iter().all(|letter| letter.value.is_some()), "a cause takes no value's place");
}

#[test]
fn the_error_behind_a_reason_is_the_source_of_the_error_that_has_it() {
    let behind = "x".parse::<u32>().unwrap_err();
    let error = RunError::Sink(SinkError::broken(Reason::of(behind.clone())));
    assert_eq!(error.to_string(), format!("the sink is broken: {behind}"));
    assert_eq!(error.source().and_then(|it| it.downcast_ref()), Some(&behind));
    assert!(SinkError::aborted("for now").source().is_none());
}
