//! What makes two records the same job.

use jobstream::codec::Codec as _;
use jobstream::job::{Job, JobCodec};
use jobstream::record::ConsumerRecord;

/// A job's `Id` and `ScheduleTime`: a job that is scheduled again is another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) id: String,
    pub(super) schedule_time: Option<String>,
}

impl Identity {
    pub(super) fn of(job: &Job) -> Self {
        let schedule_time = job.schedule_time().map(str::to_owned);
        Self { id: job.id().to_owned(), schedule_time }
    }
}

/// Whether a result says that nobody knows what became of its job.
pub(super) fn is_ambiguous(result: &ConsumerRecord) -> bool {
    result.headers.get("job-outcome").is_some_and(|outcome| &**outcome == b"ambiguous")
}

/// The job that a result is of, if it is one.
pub(super) fn job(result: &ConsumerRecord) -> Option<Job> {
    JobCodec.decode(result.value.as_ref()).ok()
}

/// Whether `one` was published after `other`; in another partition, by the timestamp.
pub(super) fn is_later(one: &ConsumerRecord, other: &ConsumerRecord) -> bool {
    match one.partition == other.partition {
        true => one.offset > other.offset,
        false => one.timestamp > other.timestamp,
    }
}
