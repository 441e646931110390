//! What an answer means for its job.

use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{HeaderMap, RETRY_AFTER};
use jobstream::record::Headers;
use jobstream::sinks::JobError;

/// The header of a result with the status of the last answer.
pub(crate) const JOB_HTTP_STATUS: &str = "job-http-status";
/// How the reason of a job begins that an answer has failed.
const HTTP: &str = "HTTP ";

/// How a receiver has taken a webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status of its answer; none if a person has settled the job.
    pub status: Option<u16>,
}

impl Answer {
    /// Adds what a result says of it.
    pub(crate) fn add_to(self, headers: &mut Headers) {
        if let Some(status) = self.status {
            headers.push(JOB_HTTP_STATUS, Some(status.to_string().into()));
        }
    }

    /// The answer that a job has failed with, if one has come.
    pub(crate) fn of_failed(error: &JobError) -> Self {
        let digits = error.reason().strip_prefix(HTTP).and_then(|rest| rest.get(..3));
        Self { status: digits.and_then(|digits| digits.parse().ok()) }
    }
}

/// What an answer means. 2xx: done. 425, 429 and 503: the receiver says that it has not acted. 408 and
/// every other 5xx, and what is no status at all: it may have. The rest: it never will.
///
/// Where the job is tried again, `Retry-After` (RFC 9110, section 10.2.3) says when at the earliest.
pub(crate) fn fate(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Result<Answer, JobError> {
    let error = match status.as_u16() {
        200..=299 => return Ok(Answer { status: Some(status.as_u16()) }),
        425 | 429 | 503 => JobError::transient(reason(status)),
        // RFC 9110, section 15: an invalid status is one of a server that has failed.
        408 | 500.. => JobError::ambiguous(reason(status)),
        _ => return Err(JobError::permanent(reason(status))),
    };
    let Some(wait) = retry_after(headers, now) else { return Err(error) };
    Err(error.not_before(wait))
}

fn reason(status: StatusCode) -> String {
    let words = status.canonical_reason().map(|words| format!(" {words}")).unwrap_or_default();
    format!("{HTTP}{}{words}", status.as_u16())
}

/// The error of a request that a redirect has led to.
pub(crate) fn behind(redirect: Option<StatusCode>, error: JobError) -> JobError {
    let Some(status) = redirect else { return error };
    JobError::new(error.kind(), format!("{}: {}", reason(status), error.reason()))
}

/// The time until an answer's `Retry-After`, in seconds or as an HTTP date; what is neither is passed
/// over.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}
