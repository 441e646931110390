//! The topology on the in-memory broker: fates, results and their headers.

use std::sync::Arc;

use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::topology::{KeyLimits, Retry, Topology};
use jobstream_service::jobs::Resolving;
use jobstream_service::{Executor, Stages, Topics};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use webhook::topology::stages;

use crate::receiver::{Act, InMemory, Receiver};
use crate::support::sink;

const GROUP: &str = "webhooks";

pub(crate) fn broker() -> (Broker, Topics) {
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
        broker.create_topic(&**topic, TopicOptions::partitions(6));
    }
    (broker, topics)
}

pub(crate) fn topology(topics: &Topics, network: &Arc<InMemory>, retry: Retry) -> Topology {
    let executor = Executor::Sink(Arc::new(Resolving::new(Arc::new(sink(network)))));
    let limits = KeyLimits::new().executing_jobs(Some(8));
    stages(Stages::new(topics.clone(), retry), executor, limits)
}

fn value(id: &str, kind: &str, data: &str) -> String {
    format!(r#"{{"Id":"{id}","Status":2,"JobType":{kind},"JobData":{data},"Kept":[1.0]}}"#)
}

/// The fates of these values, by `Id`: `Status`, and the headers of the result.
async fn results(receiver: &Arc<Receiver>, values: &[String]) -> Vec<ConsumerRecord> {
    let (broker, topics) = broker();
    for value in values {
        let mut record = ProducerRecord::to(&*topics.jobs).key("key").value(value.clone());
        record.headers.push("job-http-status", Some("777".into()));
        broker.produce(record).unwrap();
    }
    let retry = Retry::new().attempts(Some(2));
    let topology = topology(&topics, &InMemory::to(receiver), retry);
    let source = broker.consumer(GROUP, [topics.jobs.clone()]).build();
    let all = broker.caught_up(GROUP, &topics.jobs);
    topology.run(&source, &broker.producer(), all).await.unwrap();
    assert!(broker.records(&topics.dead_letters, Isolation::ReadCommitted).is_empty());
    broker.records(&topics.results, Isolation::ReadCommitted)
}

fn header(record: &ConsumerRecord, name: &str) -> Option<String> {
    record.headers.get(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_result_says_how_it_went() {
    let receiver = Receiver::new(|_, path| match path {
        "/ok" => Act::answer(201),
        "/gone" => Act::answer(410),
        "/busy" => Act::answer(503),
        "/lost" => Act::CloseAfter,
        _ => Act::answer(500),
    });
    let data = |path: &str| format!(r#"{{"Url":"http://a.example{path}"}}"#);
    for (path, status, expected) in [
        ("/ok", "4", [Some("201"), Some("1"), Some("accepted"), None]),
        ("/gone", "5", [Some("410"), Some("1"), Some("rejected"), Some("HTTP 410 Gone")]),
        (
            "/busy",
            "5",
            [Some("503"), Some("2"), Some("exhausted"), Some("HTTP 503 Service Unavailable")],
        ),
        (
            "/failed",
            "5",
            [Some("500"), Some("2"), Some("ambiguous"), Some("HTTP 500 Internal Server Error")],
        ),
    ] {
        let found = results(&receiver, &[value("a", "2", &data(path))]).await;
        let [result] = &found[..] else { panic!("{path}: {found:?}") };
        let names = ["job-http-status", "job-attempts", "job-outcome", "job-error"];
        let found = names.map(|name| header(result, name));
        assert_eq!(found, expected.map(|it| it.map(str::to_owned)), "{path}");
        let wanted =
            value("a", "2", &data(path)).replace(r#""Status":2"#, &format!(r#""Status":{status}"#));
        assert_eq!(result.value.as_deref(), Some(wanted.as_bytes()), "{path}");
    }
    // Nothing has come that has a status.
    for data in [data("/lost"), "{}".to_owned()] {
        let found = results(&receiver, &[value("a", "2", &data)]).await;
        assert_eq!(header(&found[0], "job-http-status"), None, "{data}");
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_other_types_are_left_to_others() {
    let receiver = Receiver::always(Act::answer(200));
    let data = r#"{"Url":"http://a.example/"}"#;
    let kinds = ["null", "0", "1", "3", "-2", "22", "12345678901234567890123", "2"];
    let values: Vec<_> = kinds.iter().map(|kind| value("a", kind, data)).collect();
    assert_eq!(results(&receiver, &values).await.len(), 1);
    assert_eq!(receiver.posted().len(), 1);
}
