//! The mail topology: the one that runs in the demo, in the tests, in the benchmarks and in
//! production.

use std::sync::Arc;

use bytes::Bytes;
use jobstream::job::{Job, JobCodec, JobStatus};
use jobstream::record::{ConsumerRecord, Header, Headers, ProducerRecord, Topic};
use jobstream::sinks::ledger::{Ledger, LedgerLimits, Recorded, WallClock};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{Ambiguous, JobError, JobErrorKind, JobSink};
use jobstream::topology::{Decoding, Executed, Executes, Identity, Retry, Stage, Topology};

use crate::resolution::{JOB_ORIGIN, Resolution, Resolving};

/// The stage that skips jobs which are not to be run: `Status` 0, 4 or 5.
pub const SKIPPED_STATUS: &str = "status";
/// The stage that skips jobs which are no e-mails.
pub const SKIPPED_TYPE: &str = "job-type";

const JOB_ATTEMPTS: &str = "job-attempts";
const JOB_ERROR: &str = "job-error";
const JOB_MESSAGE_ID: &str = "job-message-id";
const JOB_OUTCOME: &str = "job-outcome";
const JOB_RESENDS: &str = "job-resends";
/// The headers of a result that no job carries over.
const OURS: [&str; 5] = [JOB_ATTEMPTS, JOB_ERROR, JOB_MESSAGE_ID, JOB_OUTCOME, JOB_RESENDS];

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
    end(topics, begin(topics).execute(Arc::new(Resolving::new(sink))), retry)
}

/// The mail executor over a job sink with a ledger around it: the same stages, with state.
pub fn topology_with_ledger(
    topics: &Topics,
    ledger: Arc<Ledger<Job, Accepted>>,
    retry: Retry,
) -> Topology {
    end(topics, begin(topics).execute_with_state(ledger), retry)
}

/// The ledger of mail jobs: those with the same `Id` and `ScheduleTime` are one, as they have the
/// same `Message-ID`. What a person has decided about a parked one overrules it.
pub fn ledger(
    sink: Arc<dyn JobSink<Job, Accepted>>,
    clock: WallClock,
    ambiguous: Ambiguous,
    limits: LedgerLimits,
) -> Ledger<Job, Accepted> {
    let key = |_: &ConsumerRecord, job: &Job| job.name_hash();
    Ledger::new(Arc::new(Resolving::new(sink)), key, clock, ambiguous, limits)
        .overruled_by(|record| Resolution::of(record).is_some())
}

/// The stages before the execution.
fn begin(topics: &Topics) -> Decoding<Job, JobCodec, impl Stage<Job, Out = Job> + use<>> {
    Topology::builder(topics.dead_letters.clone())
        .decode(JobCodec)
        .filter(SKIPPED_STATUS, Job::is_runnable)
        .filter(SKIPPED_TYPE, Job::is_email)
}

/// The execution, and what follows it.
fn end<S, Out>(
    topics: &Topics,
    executes: Executes<Job, JobCodec, S, Job, Out, Identity>,
    retry: Retry,
) -> Topology
where
    S: Stage<Job, Out = Job> + 'static,
    Out: Success + Send + 'static,
{
    let results = topics.results.clone();
    executes.ordered_by(Job::id).retry(retry).encode(
        move |record: &ConsumerRecord, executed: Executed<Job, Out>| {
            Ok(vec![result(&results, record, executed)])
        },
    )
}

/// What the result of a job that has succeeded says.
trait Success {
    /// The value of `job-outcome`.
    fn outcome(&self) -> &'static str;

    /// How often it was sent again after an end that left open whether it was sent.
    fn resends(&self) -> u32;

    /// The mail, if it was sent for this record.
    fn into_accepted(self) -> Option<Accepted>;
}

impl Success for Accepted {
    fn outcome(&self) -> &'static str {
        "accepted"
    }

    fn resends(&self) -> u32 {
        0
    }

    fn into_accepted(self) -> Option<Accepted> {
        Some(self)
    }
}

impl Success for Recorded<Accepted> {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "accepted",
            Self::Duplicate { .. } => "duplicate",
        }
    }

    fn resends(&self) -> u32 {
        match self {
            Self::Fresh { resends, .. } | Self::Duplicate { resends } => *resends,
        }
    }

    fn into_accepted(self) -> Option<Accepted> {
        match self {
            Self::Fresh { out, .. } => Some(out),
            Self::Duplicate { .. } => None,
        }
    }
}

/// The result of a job: its bytes with only `Status` replaced, its key or `Id`, and its headers
/// with ours in their place.
fn result<Out: Success>(
    topic: &Topic,
    record: &ConsumerRecord,
    executed: Executed<Job, Out>,
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

fn headers<Out: Success>(record: &ConsumerRecord, executed: Executed<Job, Out>) -> Headers {
    let Executed { outcome: ended, attempts, .. } = executed;
    let mut headers = record.headers.clone();
    for name in OURS {
        headers.remove(name);
    }
    let attempts = match attempts {
        1 => Bytes::from_static(b"1"),
        attempts => attempts.to_string().into(),
    };
    let outcome = Bytes::from_static(outcome(&ended).as_bytes());
    headers.extend([Header::new(JOB_ATTEMPTS, attempts), Header::new(JOB_OUTCOME, outcome)]);
    let is_ambiguous = is_ambiguous(&ended);
    match ended {
        Ok(success) => {
            let resends = success.resends();
            // A job that was settled by hand has no mail.
            let accepted = success.into_accepted().filter(|a| !a.message_id.is_empty());
            if let Some(accepted) = accepted {
                headers.push(JOB_MESSAGE_ID, Some(accepted.message_id.into()));
            }
            if resends > 0 {
                headers.push(JOB_RESENDS, Some(resends.to_string().into()));
            }
        }
        Err(error) => headers.push(JOB_ERROR, Some(error.reason().to_owned().into())),
    }
    if is_ambiguous {
        headers.set(JOB_ORIGIN, format!("{}@{}", record.partition, record.offset));
    }
    headers
}

/// Whether nobody knows what became of it; a person then decides, and must find it.
fn is_ambiguous<Out>(outcome: &Result<Out, JobError>) -> bool {
    outcome.as_ref().is_err_and(|error| error.kind() == JobErrorKind::Ambiguous)
}

/// The value of `job-outcome`.
fn outcome<Out: Success>(outcome: &Result<Out, JobError>) -> &'static str {
    match outcome.as_ref().map_err(JobError::kind) {
        Ok(success) => success.outcome(),
        Err(JobErrorKind::Permanent) => "rejected",
        Err(JobErrorKind::Ambiguous) => "ambiguous",
        Err(_) => "exhausted",
    }
}
