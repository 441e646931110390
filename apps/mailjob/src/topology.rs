//! The mail topology: the one that runs in the demo, in the tests, in the benchmarks and in
//! production.

use std::sync::Arc;

use bytes::Bytes;
use jobstream::job::{Job, JobCodec, JobStatus};
use jobstream::record::{ConsumerRecord, Headers, ProducerRecord, Topic};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{JobError, JobErrorKind, JobSink};
use jobstream::topology::{Executed, Retry, Topology};

use crate::resolution::{JOB_ORIGIN, Resolving};

/// The stage that skips jobs which are not to be run: `Status` 0, 4 or 5.
pub const SKIPPED_STATUS: &str = "status";
/// The stage that skips jobs which are no e-mails.
pub const SKIPPED_TYPE: &str = "job-type";

/// The topics of the mail executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Jobs come from here.
    pub jobs: Topic,
    /// Results go here.
    pub results: Topic,
    /// What is no job goes here.
    pub dead_letters: Topic,
}

impl Default for Topics {
    /// The names of the service that this replaces.
    fn default() -> Self {
        Self {
            jobs: "topic-job-run".into(),
            results: "topic-job-run-result".into(),
            dead_letters: "topic-job-run-dead-letter".into(),
        }
    }
}

/// The mail executor over a job sink: the mail sink, or whatever takes its place in a test.
pub fn topology(topics: &Topics, sink: Arc<dyn JobSink<Job, Accepted>>, retry: Retry) -> Topology {
    let results = topics.results.clone();
    Topology::builder(topics.dead_letters.clone())
        .decode(JobCodec)
        .filter(SKIPPED_STATUS, Job::is_runnable)
        .filter(SKIPPED_TYPE, Job::is_email)
        .execute(Arc::new(Resolving::new(sink)))
        .ordered_by(Job::id)
        .retry(retry)
        .encode(move |record: &ConsumerRecord, executed| {
            Ok(vec![result(&results, record, &executed)])
        })
}

/// The result of a job: its bytes with only `Status` replaced, its key or `Id`, and its headers
/// with ours in their place.
fn result(
    topic: &Topic,
    record: &ConsumerRecord,
    executed: &Executed<Job, Accepted>,
) -> ProducerRecord {
    let job = &executed.input;
    let status = if executed.outcome.is_ok() { JobStatus::Succeeded } else { JobStatus::Failed };
    let key = record.key.clone().unwrap_or_else(|| Bytes::copy_from_slice(job.id().as_bytes()));
    ProducerRecord {
        topic: topic.clone(),
        partition: None,
        timestamp: None,
        key: Some(key),
        value: Some(job.result(status)),
        headers: headers(record, executed),
    }
}

fn headers(record: &ConsumerRecord, executed: &Executed<Job, Accepted>) -> Headers {
    let mut headers = record.headers.clone();
    for name in ["job-error", "job-message-id"] {
        headers.remove(name);
    }
    headers.set("job-attempts", executed.attempts.to_string());
    headers.set("job-outcome", Bytes::from_static(outcome(&executed.outcome).as_bytes()));
    match &executed.outcome {
        // A job that was settled by hand has none.
        Ok(accepted) if accepted.message_id.is_empty() => {}
        Ok(accepted) => headers.set("job-message-id", accepted.message_id.clone()),
        Err(error) => headers.set("job-error", error.reason().to_owned()),
    }
    if is_ambiguous(&executed.outcome) {
        headers.set(JOB_ORIGIN, format!("{}@{}", record.partition, record.offset));
    }
    headers
}

/// Whether nobody knows what became of it; a person then decides, and must find it.
fn is_ambiguous(outcome: &Result<Accepted, JobError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == JobErrorKind::Ambiguous)
}

/// The value of `job-outcome`.
fn outcome(outcome: &Result<Accepted, JobError>) -> &'static str {
    match outcome.as_ref().map_err(JobError::kind) {
        Ok(_) => "accepted",
        Err(JobErrorKind::Permanent) => "rejected",
        Err(JobErrorKind::Ambiguous) => "ambiguous",
        Err(JobErrorKind::Transient | JobErrorKind::Unavailable) => "exhausted",
    }
}
