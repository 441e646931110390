//! Puts parked jobs back on their topic, with what was decided about them.

use std::io::Write;

use crate::jobs::{JOB_ORIGIN, JOB_RESOLUTION, JOB_RESOLUTION_OF, Resolution};
use bytes::Bytes;
use jobstream::job::JobStatus;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};

use super::args::Which;
use super::find::{Parked, parked};
use crate::one_line;
use crate::operations::{Brokers, OperationError};
use crate::run::ServiceError;

/// What the result has added to the job's headers; the service's own are replaced by the next one.
const OF_THE_RESULT: [&str; 6] =
    ["job-attempts", "job-error", "job-outcome", JOB_ORIGIN, JOB_RESOLUTION, JOB_RESOLUTION_OF];

pub(super) async fn run(
    brokers: &Brokers,
    which: &Which,
    resolution: Resolution,
) -> Result<(), OperationError> {
    let jobs = &brokers.settings.topics.jobs;
    let partitions = brokers.existing(jobs).await?;
    let found = chosen(parked(brokers, None).await?, which)?;
    let (open, awaited): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|parked| parked.awaited.is_none());
    let outputs: Vec<_> =
        open.iter().map(|parked| decided(parked, jobs, partitions, resolution)).collect();
    let count = outputs.len();
    publish(brokers, outputs).await?;
    let mut out = anstream::stdout().lock();
    for Parked { job, awaited, .. } in &awaited {
        let awaited = awaited.map_or("", Resolution::name);
        let id = one_line(job.id());
        writeln!(out, "{id} passed over: its owner has not answered {awaited} yet")?;
    }
    let noun = if count == 1 { "job" } else { "jobs" };
    writeln!(out, "{count} {noun} produced to '{jobs}' with {JOB_RESOLUTION}: {resolution}")?;
    Ok(())
}

/// Those that are meant.
fn chosen(mut found: Vec<Parked>, which: &Which) -> Result<Vec<Parked>, OperationError> {
    if which.all {
        return Ok(found);
    }
    let is_parked = |id: &&String| found.iter().any(|parked| parked.job.id() == id.as_str());
    if let Some(id) = which.ids.iter().find(|id| !is_parked(id)) {
        let text = format!("{}: no such job is parked; nothing was produced", one_line(id));
        return Err(OperationError::Missing(text));
    }
    found.retain(|parked| which.ids.iter().any(|id| id == parked.job.id()));
    Ok(found)
}

/// The job with the decision, in the partition that it came from: its owner is there.
fn decided(
    parked: &Parked,
    jobs: &Topic,
    partitions: usize,
    resolution: Resolution,
) -> ProducerRecord {
    let Parked { result, job, .. } = parked;
    let mut headers = result.headers.clone();
    OF_THE_RESULT.iter().for_each(|name| headers.remove(name));
    headers.set(JOB_RESOLUTION, Bytes::from_static(resolution.name().as_bytes()));
    headers.set(JOB_RESOLUTION_OF, parked.place());
    let exists = |number: &i32| usize::try_from(*number).is_ok_and(|number| number < partitions);
    ProducerRecord {
        topic: jobs.clone(),
        partition: origin_partition(result, jobs).filter(exists),
        timestamp: None,
        key: result.key.clone(),
        // As the scheduler sends it; the result does not say what it was.
        value: Some(job.result(JobStatus::Running)),
        headers,
    }
}

fn origin_partition(result: &ConsumerRecord, jobs: &Topic) -> Option<i32> {
    let origin = std::str::from_utf8(result.headers.get(JOB_ORIGIN)?).ok()?;
    let partition = origin.strip_prefix(&**jobs)?.strip_prefix('[')?;
    partition.split_once("]@")?.0.parse().ok()
}

async fn publish(brokers: &Brokers, outputs: Vec<ProducerRecord>) -> Result<(), OperationError> {
    if outputs.is_empty() {
        return Ok(());
    }
    let sink = KafkaSink::new(&brokers.config);
    let sink = sink.map_err(|error| ServiceError::Kafka(error.to_string()))?;
    sink.publish(&Batch { outputs, positions: Vec::new() }).await.map_err(OperationError::Sink)?;
    sink.close().await.map_err(OperationError::Sink)
}

#[cfg(test)]
mod tests {
    use super::super::identity::job;
    use super::*;
    use jobstream::record::{Headers, TopicPartition};

    fn parked_with(headers: &[(&'static str, &'static str)]) -> Parked {
        let mut all = Headers::new();
        headers.iter().for_each(|(name, value)| all.push(*name, Some((*value).into())));
        let result = ConsumerRecord::new(TopicPartition::new("results", 1), 5, 0)
            .timestamp(1)
            .key("a")
            .value(r#"{"Id":"a", "Status":5,"x":1.0}"#)
            .headers(all);
        Parked { job: job(&result).unwrap(), result, awaited: None }
    }

    #[test]
    fn a_decision_is_the_job_with_its_own_headers_in_its_own_partition() {
        let parked = parked_with(&[
            ("traceparent", "t"),
            ("job-outcome", "ambiguous"),
            ("job-attempts", "1"),
            (JOB_ORIGIN, "jobs[4]@17"),
        ]);
        let back = decided(&parked, &"jobs".into(), 6, Resolution::Resend);
        assert_eq!(back.value.as_deref(), Some(&br#"{"Id":"a", "Status":3,"x":1.0}"#[..]));
        assert_eq!((&*back.topic, back.partition), ("jobs", Some(4)));
        let headers: Vec<_> =
            back.headers.iter().map(|h| (&*h.name, h.value.clone().unwrap())).collect();
        let expected =
            [("traceparent", "t"), (JOB_RESOLUTION, "resend"), (JOB_RESOLUTION_OF, "results[1]@5")];
        assert_eq!(headers, expected.map(|(name, value)| (name, value.into())));
    }

    #[test]
    fn a_job_whose_partition_is_unknown_is_placed_by_its_key() {
        for origin in ["jobs[4]", "other[4]@1", "jobs[9]@1", ""] {
            let parked = parked_with(&[(JOB_ORIGIN, origin)]);
            let back = decided(&parked, &"jobs".into(), 6, Resolution::Accepted);
            assert_eq!(back.partition, None, "{origin}");
        }
    }

    #[test]
    fn an_id_that_is_not_parked_ends_it_before_anything_is_produced() {
        let which = Which { ids: vec!["a".into(), "b".into()], all: false };
        let refused = chosen(vec![parked_with(&[])], &which).err().unwrap();
        assert!(refused.to_string().starts_with("b: no such job is parked"), "{refused}");
    }
}
