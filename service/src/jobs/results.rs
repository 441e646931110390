//! The results of jobs: their bytes with only `Status` replaced, and headers that say how it went.

use bytes::Bytes;
use jobstream::job::{Job, JobStatus};
use jobstream::record::{ConsumerRecord, Header, Headers, ProducerRecord, Topic};
use jobstream::sinks::ledger::Recorded;
use jobstream::sinks::{JobError, JobErrorKind};
use jobstream::topology::{Encode, Executed};

use super::JOB_ORIGIN;

const JOB_ATTEMPTS: &str = "job-attempts";
const JOB_ERROR: &str = "job-error";
const JOB_OUTCOME: &str = "job-outcome";
const JOB_RESENDS: &str = "job-resends";
/// The headers of a result that no job carries over, beside the service's own.
const OURS: [&str; 4] = [JOB_ATTEMPTS, JOB_ERROR, JOB_OUTCOME, JOB_RESENDS];

/// Makes the result of each job, for this topic: the job's bytes with only `Status` replaced (4, or
/// 5 where it failed), its key or `Id`, and its headers with `job-attempts`, `job-error`,
/// `job-outcome` and `job-resends` in the place of those that it had.
///
/// `headers` adds what the service has to say of a job that it has executed now. Headers of these
/// names, `own`, are the service's: none is carried over.
pub fn results<Out: Send + 'static>(
    topic: &Topic,
    own: &'static [&'static str],
    headers: fn(Out, &mut Headers),
) -> impl Encode<Executed<Job, Recorded<Out>>> + use<Out> {
    let topic = topic.clone();
    move |record: &ConsumerRecord, executed: Executed<Job, Recorded<Out>>| {
        let job = &executed.input;
        let is_done = executed.outcome.is_ok();
        let value = job.result(if is_done { JobStatus::Succeeded } else { JobStatus::Failed });
        let key = record.key.clone().unwrap_or_else(|| Bytes::copy_from_slice(job.id().as_bytes()));
        Ok(vec![ProducerRecord {
            topic: topic.clone(),
            partition: None,
            timestamp: None,
            key: Some(key),
            value: Some(value),
            headers: all_headers(record, executed, own, headers),
        }])
    }
}

fn all_headers<Out>(
    record: &ConsumerRecord,
    executed: Executed<Job, Recorded<Out>>,
    own: &[&str],
    add: fn(Out, &mut Headers),
) -> Headers {
    let Executed { outcome: ended, attempts, .. } = executed;
    let mut headers = record.headers.clone();
    if !headers.is_empty() {
        OURS.iter().chain(own).for_each(|name| headers.remove(name));
    }
    let attempts = match attempts {
        1 => Bytes::from_static(b"1"),
        attempts => attempts.to_string().into(),
    };
    let outcome = Bytes::from_static(outcome(&ended).as_bytes());
    headers.extend([Header::new(JOB_ATTEMPTS, attempts), Header::new(JOB_OUTCOME, outcome)]);
    match ended {
        Ok(Recorded::Fresh { out, resends }) => {
            add(out, &mut headers);
            add_resends(resends, &mut headers);
        }
        Ok(Recorded::Duplicate { resends }) => add_resends(resends, &mut headers),
        Err(error) => {
            headers.push(JOB_ERROR, Some(error.reason().to_owned().into()));
            // Nobody knows what became of it; a person then decides, and must find it.
            if error.kind() == JobErrorKind::Ambiguous {
                headers.set(JOB_ORIGIN, format!("{}@{}", record.partition, record.offset));
            }
        }
    }
    headers
}

fn add_resends(resends: u32, headers: &mut Headers) {
    if resends > 0 {
        headers.push(JOB_RESENDS, Some(resends.to_string().into()));
    }
}

/// The value of `job-outcome`.
fn outcome<Out>(outcome: &Result<Recorded<Out>, JobError>) -> &'static str {
    match outcome.as_ref().map_err(JobError::kind) {
        Ok(Recorded::Fresh { .. }) => "accepted",
        Ok(Recorded::Duplicate { .. }) => "duplicate",
        Err(JobErrorKind::Permanent) => "rejected",
        Err(JobErrorKind::Ambiguous) => "ambiguous",
        Err(_) => "exhausted",
    }
}
