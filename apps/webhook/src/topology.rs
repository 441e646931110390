//! The webhook topology: the same in production and in tests.

use jobstream::job::{Job, JobCodec};
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::Recorded;
use jobstream::topology::{Encode, Executed, KeyLimits, Topology};
use jobstream_service::{Executor, Stages, Topics, jobs};

use crate::fate::{Answer, JOB_HTTP_STATUS};
use crate::job::WebhookJob;

/// The stages, with a ledger or without. No host takes what others need: beyond its limits its jobs
/// wait by themselves.
pub fn stages(
    it: Stages,
    executor: Executor<WebhookJob, Answer>,
    of_a_host: KeyLimits,
) -> Topology {
    let results = results(it.topics());
    it.decode(JobCodec)
        .filter(jobs::SKIPPED_STATUS, Job::is_runnable)
        .filter(jobs::SKIPPED_TYPE, WebhookJob::is)
        .map(WebhookJob::of)
        .execute(executor)
        .ordered_by(WebhookJob::id)
        .limited_by(WebhookJob::host, of_a_host)
        .encode(results)
}

/// The result of a job. One that has failed has the status of its last answer, too.
fn results(topics: &Topics) -> impl Encode<Executed<WebhookJob, Recorded<Answer>>> + use<> {
    let results = jobs::results(&topics.results, &[JOB_HTTP_STATUS], Answer::add_to);
    move |record: &ConsumerRecord, executed: Executed<WebhookJob, Recorded<Answer>>| {
        let Executed { input, outcome, attempts } = executed;
        let failed = outcome.as_ref().err().map(Answer::of_failed).unwrap_or_default();
        let executed = Executed { input: input.into_job(), outcome, attempts };
        let mut outputs = results.encode(record, executed)?;
        outputs.iter_mut().for_each(|output| failed.add_to(&mut output.headers));
        Ok(outputs)
    }
}
