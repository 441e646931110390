//! The mail topology on the in-memory broker: every record meets exactly one fate, and keys and
//! headers travel.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::job::Job;
use jobstream::record::{ConsumerRecord, Header, Headers, ProducerRecord};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Event, Fate, Retry};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use mailjob::topology::{Topics, topology};
use proptest::prelude::*;
use proptest::sample::Index;

const GROUP: &str = "mailers";

/// Accepts what can be a mail, and counts.
#[derive(Default)]
struct Post(Mutex<usize>);

#[async_trait]
impl JobSink<Job, Accepted> for Post {
    async fn execute(&self, job: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        job.data().map_err(|error| JobError::permanent(error.to_string()))?;
        *self.0.lock().unwrap() += 1;
        Ok(Accepted { message_id: "<1@example.com>".into(), reply: "250 ok".into(), relay: None })
    }
}

/// What came of some records.
struct Outcome {
    fates: Vec<(i32, i64, Fate)>,
    results: Vec<ConsumerRecord>,
    dead_letters: Vec<ConsumerRecord>,
    mails: usize,
}

async fn run(records: Vec<ProducerRecord>) -> Outcome {
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
        broker.create_topic(&**topic, TopicOptions::partitions(6).max_message_bytes(2 << 20));
    }
    for record in records {
        broker.produce(record).unwrap();
    }
    let fates = Arc::new(Mutex::new(Vec::new()));
    let seen = fates.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::Finished { record, fate, .. } = event {
            seen.lock().unwrap().push((record.partition.partition, record.offset, *fate));
        }
    });
    let post = Arc::new(Post::default());
    let topology = topology(&topics, post.clone(), Retry::default()).with_observer(observer);
    let source = broker.consumer(GROUP, [topics.jobs.clone()]).build();
    let all = broker.caught_up(GROUP, &topics.jobs);
    topology.run(&source, &broker.producer(), all).await.unwrap();
    let mut fates = fates.lock().unwrap().clone();
    fates.sort_by_key(|(partition, offset, _)| (*partition, *offset));
    let mails = *post.0.lock().unwrap();
    Outcome {
        fates,
        results: broker.records(&topics.results, Isolation::ReadCommitted),
        dead_letters: broker.records(&topics.dead_letters, Isolation::ReadCommitted),
        mails,
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(future)
}

fn job(value: impl Into<Bytes>) -> ProducerRecord {
    ProducerRecord::to(Topics::default().jobs).value(value)
}

const GOOD: &str = r#"{"Id":"649f07e619fca8aa63d842f6","Status":2,"JobType":0,"JobData":{"SourceAddress":"a@b.c","DestinationAddress":"d@e.f","Subject":"","Message":""}}"#;

/// Arbitrary bytes, and jobs that were damaged at one place.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..64);
    let damage = (any::<Index>(), prop::collection::vec(any::<u8>(), 0..3), 0_usize..6);
    let damaged = damage.prop_map(|(at, with, cut)| {
        let mut bytes = GOOD.as_bytes().to_vec();
        let at = at.index(bytes.len() - cut);
        bytes.splice(at..at + cut, with);
        bytes
    });
    let status = (-1_i32..8, prop_oneof!["null", "0", "1", "-3", "\"0\"", "0\\.0"]);
    let changed = status.prop_map(|(status, kind)| {
        let text = GOOD.replace("\"Status\":2", &format!("\"Status\":{status}"));
        text.replace("\"JobType\":0", &format!("\"JobType\":{kind}")).into_bytes()
    });
    prop_oneof![noise, damaged, changed]
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from)
}

fn headers() -> impl Strategy<Value = Headers> {
    let name = prop_oneof![
        Just("job-error".to_owned()),
        Just("job-outcome".to_owned()),
        Just("traceparent".to_owned()),
        "[a-z-]{1,8}",
    ];
    let header = (name, prop::option::of(bytes()));
    let header = header.prop_map(|(name, value)| Header { name: name.into(), value });
    prop::collection::vec(header, 0..6).prop_map(Headers::from_iter)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_record_meets_exactly_one_fate(values in prop::collection::vec(value(), 1..40)) {
        let outcome = block_on(run(values.iter().cloned().map(job).collect()));
        prop_assert_eq!(outcome.fates.len(), values.len());
        let places: Vec<_> = outcome.fates.iter().map(|(p, offset, _)| (*p, *offset)).collect();
        prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "a record met two fates");
        let count = |is: fn(&Fate) -> bool| outcome.fates.iter().filter(|(.., f)| is(f)).count();
        let executed = count(|fate| matches!(fate, Fate::Succeeded | Fate::Failed(_)));
        prop_assert_eq!(outcome.results.len(), executed);
        prop_assert_eq!(outcome.mails, count(|fate| *fate == Fate::Succeeded));
        prop_assert_eq!(outcome.dead_letters.len(), count(|f| matches!(f, Fate::DeadLettered(_))));
        for dead in &outcome.dead_letters {
            let value = dead.value.as_deref().unwrap_or_default();
            prop_assert!(values.iter().any(|given| given == value), "its bytes have changed");
        }
    }

    #[test]
    fn keys_and_headers_travel_and_ours_replace_theirs(
        key in prop::option::of(bytes()),
        headers in headers(),
        good in any::<bool>(),
    ) {
        let value = if good { GOOD } else { "no job" };
        let mut record = job(value);
        (record.key, record.headers) = (key.clone(), headers.clone());
        let outcome = block_on(run(vec![record]));
        let output = outcome.results.first().or(outcome.dead_letters.first()).unwrap();
        let expected_key = if good { key.or(Some("649f07e619fca8aa63d842f6".into())) } else { key };
        prop_assert_eq!(&output.key, &expected_key);
        let ours = ["job-error", "job-attempts", "job-message-id", "job-outcome"];
        let ours = |name: &str| (good && ours.contains(&name)) || name.starts_with("dead-letter-");
        let kept = |headers: &Headers| -> Vec<Header> {
            headers.iter().filter(|header| !ours(&header.name)).cloned().collect()
        };
        prop_assert_eq!(kept(&output.headers), kept(&headers));
        if good {
            prop_assert_eq!(output.headers.get("job-outcome"), Some(&"accepted".into()));
            prop_assert_eq!(output.headers.get("job-attempts"), Some(&"1".into()));
            let errors = output.headers.iter().filter(|header| header.name == "job-error").count();
            prop_assert_eq!(errors, 0);
        }
    }
}

/// The default limit of a topic's record, and of a producer's request, is 1 MiB: what is said of a
/// job must not take the place of the job.
#[test]
fn a_large_job_whose_data_is_encoded_twice_has_its_result_and_a_short_reason() {
    let data = serde_json::json!({ "Message": "secret ".repeat(80_000) }).to_string();
    let twice = serde_json::to_string(&serde_json::to_string(&data).unwrap()).unwrap();
    let value = format!(r#"{{"Id":"1","Status":2,"JobData":{twice}}}"#);
    assert!((500_000..1_048_576).contains(&value.len()), "{} bytes", value.len());
    let outcome = block_on(run(vec![job(value.clone())]));
    assert!(outcome.dead_letters.is_empty());
    let [result] = &outcome.results[..] else { panic!("expected one result") };
    assert_eq!(
        result.value.as_deref(),
        Some(value.replace("\"Status\":2", "\"Status\":5").as_bytes())
    );
    let reason = String::from_utf8(result.headers.get("job-error").unwrap().to_vec()).unwrap();
    assert!(reason.starts_with("JobData: found a string, expected one JSON object"), "{reason}");
    assert!(!reason.contains("secret") && reason.len() < 100, "{reason}");
}
