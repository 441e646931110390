//! The jobs of the job topics: what a service on them publishes as results, and what a person has
//! decided about one.

mod job_id;
mod resolution;
mod results;

use std::sync::Arc;

use jobstream::job::Job;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::{Ledger, LedgerKey, LedgerLimits, WallClock};
use jobstream::sinks::{Ambiguous, JobSink};

pub use job_id::job_id;
pub use resolution::{JOB_ORIGIN, JOB_RESOLUTION, JOB_RESOLUTION_OF, Resolution, Resolving};
pub use results::results;

/// The stage that skips jobs which are not to be run: `Status` 0, 4 or 5.
pub const SKIPPED_STATUS: &str = "status";
/// The stage that skips jobs which are of another type.
pub const SKIPPED_TYPE: &str = "job-type";

/// What a ledger can't do for jobs without a record key, for people.
pub const UNKEYED_JOBS: &str = "JOB_LEDGER=kafka: a job whose record has no key can come in several \
     partitions, and is a job of its own in each: it may be executed once in each. Produce jobs with \
     their Id as key, as 'submit' does";

/// The ledger of a service's jobs. What a person has decided about a parked one overrules it. Jobs
/// without a record key are executed, too: see [`UNKEYED_JOBS`].
pub fn ledger<In, Out>(
    sink: Arc<dyn JobSink<In, Out>>,
    clock: WallClock,
    ambiguous: Ambiguous,
    limits: LedgerLimits,
) -> Ledger<In, Out>
where
    In: ServiceJob,
    Out: Default + Send + 'static,
{
    let key = |record: &ConsumerRecord, job: &In| job.ledger_key(record);
    Ledger::new(Arc::new(Resolving::new(sink)), key, clock, ambiguous, limits)
        .executing_unkeyed()
        .overruled_by(|record| Resolution::of(record).is_some())
}

/// What a service executes.
pub trait ServiceJob: Send + Sync + 'static {
    /// What makes two records the same job: with a ledger, one of them is executed.
    fn ledger_key(&self, record: &ConsumerRecord) -> LedgerKey;
}

/// Jobs with the same `Id` and `ScheduleTime` are one.
impl ServiceJob for Job {
    fn ledger_key(&self, _: &ConsumerRecord) -> LedgerKey {
        self.name_hash()
    }
}
