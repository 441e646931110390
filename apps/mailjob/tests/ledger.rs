//! The mail topology with a ledger, on the in-memory broker: what its results say.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use jobstream::job::Job;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::ledger::LedgerLimits;
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{Ambiguous, JobError, JobSink};
use jobstream::topology::{Retry, Worker};
use jobstream_service::jobs::JOB_RESOLUTION;
use jobstream_testkit::broker::{Broker, Isolation};
use mailjob::topology::{Topics, ledger, topology_with_ledger};

const GROUP: &str = "mailers";
const LEDGER: &str = "topic-job-run-ledger";

/// Its first answer is none.
#[derive(Default)]
struct Forgetful(AtomicU32);

#[async_trait]
impl JobSink<Job, Accepted> for Forgetful {
    async fn execute(&self, _: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err(JobError::ambiguous("no answer to the final dot")),
            _ => Ok(Accepted {
                message_id: "<1@example.com>".into(),
                reply: "250 ok".into(),
                relay: None,
            }),
        }
    }
}

/// The outcome of each job's result, its status, and what else it says, by offset of the results.
async fn outcomes(ambiguous: Ambiguous, jobs: &[(&str, bool)]) -> Vec<String> {
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&*topics.jobs, &*topics.results, &*topics.dead_letters, LEDGER] {
        broker.create_topic(topic, 1);
    }
    for (time, is_resolved) in jobs {
        let value = format!(r#"{{"Id":"1","ScheduleTime":"{time}","Status":2}}"#);
        let mut record = ProducerRecord::to(topics.jobs.clone()).value(value);
        if *is_resolved {
            record.headers.set(JOB_RESOLUTION, "resend");
        }
        broker.produce(record).unwrap();
    }
    let sink = Arc::new(Forgetful::default());
    let ledger = ledger(sink, Arc::new(|| UNIX_EPOCH), ambiguous, LedgerLimits::default());
    let retry = Retry::new().ambiguous(ambiguous);
    let (source, sink) = broker.exactly_once(GROUP, [topics.jobs.clone()], "one");
    let store = Some(Box::new(broker.store(LEDGER)) as _);
    let worker = Worker { source: Box::new(source), sink: Box::new(sink), store };
    let end = broker.caught_up(GROUP, &topics.jobs);
    topology_with_ledger(&topics, Arc::new(ledger), retry).run_worker(&worker, end).await.unwrap();
    broker.records(&topics.results, Isolation::ReadCommitted).iter().map(told).collect()
}

fn told(result: &ConsumerRecord) -> String {
    let value = String::from_utf8(result.value.as_ref().unwrap().to_vec()).unwrap();
    let status = value.rsplit(':').next().unwrap().trim_end_matches('}').to_owned();
    let headers = ["job-outcome", "job-message-id", "job-resends"].into_iter();
    let headers = headers.filter_map(|name| result.headers.get(name));
    let headers = headers.map(|value| String::from_utf8_lossy(value).into_owned());
    std::iter::once(status).chain(headers).collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_resend_is_counted_and_a_duplicate_succeeds_without_a_mail() {
    let jobs = [("one", false), ("one", false), ("other", false)];
    let told = outcomes(Ambiguous::Resend, &jobs).await;
    assert_eq!(
        told,
        ["4 accepted <1@example.com> 1", "4 duplicate 1", "4 accepted <1@example.com>"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_parked_job_fails_as_ambiguous_until_it_is_resolved() {
    let jobs = [("one", false), ("one", false), ("one", true), ("one", false)];
    let told = outcomes(Ambiguous::Park, &jobs).await;
    assert_eq!(told, ["5 ambiguous", "5 ambiguous", "4 accepted <1@example.com>", "4 duplicate"]);
}
