//! What a person has decided about a job whose outcome nobody knew: a header of the job that is put
//! back on its topic, which its owner obeys.
//!
//! | `job-resolution` | what the owner does |
//! |---|---|
//! | `resend` | executes the job, whatever is known of it |
//! | `accepted` | publishes its result as succeeded, and executes nothing |
//! | `rejected` | publishes its result as failed, and executes nothing |
//!
//! Any other value is none. Every client that may produce jobs may decide so, too.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, ready};
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{Effect, JobError, JobSink};

/// The header of a job with the decision.
pub const JOB_RESOLUTION: &str = "job-resolution";
/// The header of such a job with the result that it is about: `TOPIC[PARTITION]@OFFSET`.
pub const JOB_RESOLUTION_OF: &str = "job-resolution-of";
/// The header of an ambiguous result with the job that it is of: `TOPIC[PARTITION]@OFFSET`.
pub const JOB_ORIGIN: &str = "job-origin";

/// A decision about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It is to be executed again.
    Resend,
    /// It was done.
    Accepted,
    /// It was not done, and will not be.
    Rejected,
}

impl Resolution {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Resend, "resend"), (Self::Accepted, "accepted"), (Self::Rejected, "rejected")];

    /// The decision that came with a record, if one did.
    pub fn of(record: &ConsumerRecord) -> Option<Self> {
        let value = record.headers.get(JOB_RESOLUTION)?;
        Self::ALL.iter().find(|(_, name)| name.as_bytes() == &**value).map(|(found, _)| *found)
    }

    /// Its value in the header.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A job sink that settles what was decided, and leaves the rest to another one.
pub struct Resolving<In, Out> {
    sink: Arc<dyn JobSink<In, Out>>,
}

impl<In, Out> Resolving<In, Out> {
    /// In front of this job sink.
    pub fn new(sink: Arc<dyn JobSink<In, Out>>) -> Self {
        Self { sink }
    }
}

impl<In: Sync, Out: Default + Send + 'static> JobSink<In, Out> for Resolving<In, Out> {
    /// What was decided as accepted has the default outcome: nothing came of it here.
    ///
    /// Written out, since hardly any job was decided, and a future around the other job sink's
    /// would cost every job an allocation.
    fn execute<'s, 'j, 'r, 'f>(
        &'s self,
        job: &'j In,
        record: &'r ConsumerRecord,
    ) -> BoxFuture<'f, Result<Out, JobError>>
    where
        Self: 'f,
        's: 'f,
        'j: 'f,
        'r: 'f,
    {
        match settled(record) {
            Some(settled) => Box::pin(ready(settled)),
            None => self.sink.execute(job, record),
        }
    }

    fn execute_with_effect<'s, 'j, 'r, 'e, 'f>(
        &'s self,
        job: &'j In,
        record: &'r ConsumerRecord,
        effect: &'e Effect,
    ) -> BoxFuture<'f, Result<Out, JobError>>
    where
        Self: 'f,
        's: 'f,
        'j: 'f,
        'r: 'f,
        'e: 'f,
    {
        match settled(record) {
            Some(settled) => Box::pin(ready(settled)),
            None => self.sink.execute_with_effect(job, record, effect),
        }
    }

    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        self.sink.timed_out(effect, limit)
    }

    fn ready<'s, 'f>(&'s self) -> BoxFuture<'f, ()>
    where
        Self: 'f,
        's: 'f,
    {
        self.sink.ready()
    }
}

/// What comes of a job that was settled; none if it is to be executed.
fn settled<Out: Default>(record: &ConsumerRecord) -> Option<Result<Out, JobError>> {
    match Resolution::of(record)? {
        Resolution::Accepted => Some(Ok(Out::default())),
        Resolution::Rejected => Some(Err(JobError::permanent("settled as rejected"))),
        Resolution::Resend => None,
    }
}

impl<In, Out> fmt::Debug for Resolving<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolving").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use jobstream::codec::Codec as _;
    use jobstream::job::{Job, JobCodec};
    use jobstream::record::{Headers, TopicPartition};
    use jobstream::sinks::JobErrorKind;

    /// What came of a job: whether it was settled by hand.
    #[derive(Debug, Default, PartialEq, Eq)]
    struct Settled;

    /// Says that it was asked.
    struct Asked;

    #[async_trait]
    impl JobSink<Job, Settled> for Asked {
        async fn execute(&self, _: &Job, _: &ConsumerRecord) -> Result<Settled, JobError> {
            Err(JobError::transient("asked"))
        }
    }

    async fn outcome(resolution: Option<&'static str>) -> Result<Settled, JobError> {
        let value = Some(r#"{"Id":"a","Status":3}"#.into());
        let job = JobCodec.decode(value.as_ref()).unwrap();
        let mut headers = Headers::new();
        resolution.into_iter().for_each(|value| headers.set(JOB_RESOLUTION, value));
        let partition = TopicPartition::new("jobs", 0);
        let mut record = ConsumerRecord::new(partition, 0, 1).headers(headers);
        record.value = value;
        Resolving::new(Arc::new(Asked)).execute(&job, &record).await
    }

    #[tokio::test]
    async fn what_was_settled_is_not_executed() {
        assert_eq!(outcome(Some("accepted")).await.unwrap(), Settled);
        let rejected = outcome(Some("rejected")).await.unwrap_err();
        assert_eq!(rejected.kind(), JobErrorKind::Permanent);
        assert_eq!(rejected.reason(), "settled as rejected");
    }

    #[tokio::test]
    async fn everything_else_is_executed() {
        for resolution in [None, Some("resend"), Some("Accepted"), Some("")] {
            assert_eq!(outcome(resolution).await.unwrap_err().reason(), "asked", "{resolution:?}");
        }
    }

    #[test]
    fn every_decision_has_its_own_name() {
        for (resolution, name) in Resolution::ALL {
            assert_eq!(resolution.name(), name);
        }
    }
}
