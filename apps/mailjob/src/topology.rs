//! The mail topology: the one that runs in the demo, in the tests, in the benchmarks and in
//! production.

use std::sync::Arc;

use jobstream::job::{Job, JobCodec};
use jobstream::record::Headers;
use jobstream::sinks::ledger::{Ledger, LedgerLimits, WallClock};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{Ambiguous, JobSink};
use jobstream::topology::{Retry, Topology};
use jobstream_service::jobs::{self, Resolving};
use jobstream_service::{Executor, Stages};

pub use jobstream_service::Topics;
pub use jobstream_service::jobs::{SKIPPED_STATUS, SKIPPED_TYPE, UNKEYED_JOBS};

const JOB_MESSAGE_ID: &str = "job-message-id";
const JOB_RELAY: &str = "job-relay";

/// The stages of the mail executor, with a ledger or without.
pub fn stages(it: Stages, executor: Executor<Job, Accepted>) -> Topology {
    let results = jobs::results(&it.topics().results, &[JOB_MESSAGE_ID, JOB_RELAY], add_mail);
    it.decode(JobCodec)
        .filter(SKIPPED_STATUS, Job::is_runnable)
        .filter(SKIPPED_TYPE, Job::is_email)
        .execute(executor)
        .ordered_by(Job::id)
        .encode(results)
}

/// A job that was settled by hand has no mail.
fn add_mail(accepted: Accepted, headers: &mut Headers) {
    if !accepted.message_id.is_empty() {
        headers.push(JOB_MESSAGE_ID, Some(accepted.message_id.into()));
    }
    if let Some(relay) = accepted.relay {
        headers.push(JOB_RELAY, Some(relay.as_bytes().to_vec().into()));
    }
}

/// The mail executor over a job sink: the mail sink, or whatever takes its place in a test.
pub fn topology(topics: &Topics, sink: Arc<dyn JobSink<Job, Accepted>>, retry: Retry) -> Topology {
    let executor = Executor::Sink(Arc::new(Resolving::new(sink)));
    stages(Stages::new(topics.clone(), retry), executor)
}

/// The mail executor over a job sink with a ledger around it: the same stages, with state.
pub fn topology_with_ledger(
    topics: &Topics,
    ledger: Arc<Ledger<Job, Accepted>>,
    retry: Retry,
) -> Topology {
    stages(Stages::new(topics.clone(), retry), Executor::Ledger(ledger))
}

/// The ledger of mail jobs: those with the same `Id` and `ScheduleTime` are one, as they have the
/// same `Message-ID`. What a person has decided about a parked one overrules it. Jobs without a record
/// key are executed, too: see [`UNKEYED_JOBS`].
pub fn ledger(
    sink: Arc<dyn JobSink<Job, Accepted>>,
    clock: WallClock,
    ambiguous: Ambiguous,
    limits: LedgerLimits,
) -> Ledger<Job, Accepted> {
    jobs::ledger(sink, clock, ambiguous, limits)
}
