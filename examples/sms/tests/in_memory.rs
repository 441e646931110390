//! The service's own stages on the in-memory broker: what becomes of a job, and a search for the
//! schedule of crashes and lost partitions that loses or doubles a message.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::sync::Arc;

use jobstream::job::Job;
use jobstream::record::ProducerRecord;
use jobstream::sinks::JobSink;
use jobstream::topology::{Retry, Topology};
use jobstream_service::{Executor, Stages, Topics};
use jobstream_testkit::broker::{Broker, Isolation};
use jobstream_testkit::simulation::{History, Member, Search};
use sms::{Spool, Spooled, stages};

fn topology(sink: Arc<dyn JobSink<Job, Spooled>>) -> Topology {
    stages(Stages::new(Topics::default(), Retry::default()), Executor::Sink(sink))
}

fn job(id: u32, number: &str) -> ProducerRecord {
    let data = format!(r#"{{"PhoneNumber":"{number}","Text":"hello {id}"}}"#);
    let value = format!(r#"{{"Id":"{id:024x}","Status":3,"JobType":1,"JobData":{data}}}"#);
    ProducerRecord::to("topic-job-run").key(format!("{id:024x}")).value(value)
}

#[tokio::test(start_paused = true)]
async fn a_message_is_a_file_and_its_result_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::new();
    for topic in ["topic-job-run", "topic-job-run-result", "topic-job-run-dead-letter"] {
        broker.create_topic(topic, 1);
    }
    broker.produce(job(1, "+4912345")).unwrap();
    broker.produce(job(2, "nobody")).unwrap();
    let source = broker.consumer("sms", ["topic-job-run"]).build();
    let worked_off = broker.caught_up("sms", "topic-job-run");
    let sink = Arc::new(Spool { folder: folder.path().to_owned() });
    topology(sink).run(&source, &broker.producer(), worked_off).await.unwrap();

    let results = broker.records("topic-job-run-result", Isolation::ReadCommitted);
    let file = results[0].headers.get("job-sms-file").unwrap();
    let file = folder.path().join(std::str::from_utf8(file).unwrap());
    assert_eq!(std::fs::read_to_string(file).unwrap(), "To: 4912345\n\nhello 1");
    let error = results[1].headers.get("job-error").unwrap();
    assert_eq!(error, "PhoneNumber: expected + and digits");
}

/// What outlives every crash: the gateway's folder.
#[derive(Debug)]
struct Gateway(tempfile::TempDir);

impl Default for Gateway {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

const JOBS: u32 = 12;

/// That no record is lost is checked by every search; this is what it cannot know of.
fn every_result_names_a_file_that_is_there(
    history: &History,
    gateway: &Gateway,
) -> Result<(), String> {
    for result in history.outputs.get("topic-job-run-result").into_iter().flatten() {
        let file = result.headers.get("job-sms-file").ok_or("a result without a file")?;
        let file = gateway.0.path().join(std::str::from_utf8(file).unwrap());
        if !file.is_file() {
            return Err(format!("{}: expected a file", file.display()));
        }
    }
    let found = std::fs::read_dir(gateway.0.path()).unwrap().count();
    match found <= JOBS as usize {
        true => Ok(()),
        false => Err(format!("found {found} files, expected {JOBS} at most")),
    }
}

#[test]
fn no_schedule_of_crashes_loses_or_doubles_a_message() {
    Search::new(|member: &Member<Gateway>| {
        let folder = member.outside().0.path().to_owned();
        topology(member.watched(Spool { folder }))
    })
    .workload("topic-job-run", 2, |_| (0..JOBS).map(|id| job(id, "+491")).collect())
    .outputs("topic-job-run-result", 1)
    .outputs("topic-job-run-dead-letter", 1)
    // A result belongs to the job whose key it has.
    .identified_by(|record| record.key.clone())
    .invariant("results are true", every_result_names_a_file_that_is_there)
    .schedules(100)
    .run()
    .unwrap_or_else(|broken| panic!("{broken}"));
}
