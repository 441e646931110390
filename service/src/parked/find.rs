//! Finds parked jobs: in the results, and what was decided about them in the jobs.

use std::collections::BTreeMap;

use crate::jobs::{JOB_RESOLUTION_OF, Resolution};
use jobstream::job::Job;
use jobstream::kafka::{PartitionRange, TopicReader};
use jobstream::record::{ConsumerRecord, Timestamp, Topic};

use super::identity::{Identity, is_ambiguous, is_later, job};
use crate::operations::{Brokers, OperationError};

/// Records that are read at once.
const READ_RECORDS: usize = 1_000;
/// How many jobs may be parked at once, for this command to hold them.
const PARKED_MAX: usize = 100_000;

/// A job of which nobody knows whether it was done.
pub(super) struct Parked {
    /// Its last result.
    pub(super) result: ConsumerRecord,
    pub(super) job: Job,
    /// What was decided about it, if its owner has not answered yet.
    pub(super) awaited: Option<Resolution>,
}

impl Parked {
    /// Its result's place, which names this one time that it was parked.
    pub(super) fn place(&self) -> String {
        format!("{}@{}", self.result.partition, self.result.offset)
    }
}

type Found = BTreeMap<Identity, Parked>;

/// The parked jobs by their identity, those that were parked at this time or later.
///
/// # Errors
/// If the brokers do not answer, or the jobs are too many.
pub(super) async fn parked(
    brokers: &Brokers,
    from: Option<Timestamp>,
) -> Result<Vec<Parked>, OperationError> {
    let topics = &brokers.settings.topics;
    let results = Scan::new(brokers, &topics.results).await?;
    let mut found = Found::new();
    results.each(from, |record| take(&mut found, record)).await?;
    let Some(first) = found.values().filter_map(|parked| parked.result.timestamp).min() else {
        return Ok(found.into_values().collect());
    };
    // Once more: a later result may be in a partition that was read before.
    results
        .each(Some(first), |record| {
            drop_answered(&mut found, &record);
            Ok(())
        })
        .await?;
    let mut places: BTreeMap<String, &mut Parked> =
        found.values_mut().map(|parked| (parked.place(), parked)).collect();
    Scan::new(brokers, &topics.jobs)
        .await?
        .each(Some(first), |record| {
            let of = record.headers.get(JOB_RESOLUTION_OF);
            let of = of.and_then(|of| std::str::from_utf8(of).ok());
            if let Some(parked) = of.and_then(|of| places.get_mut(of)) {
                parked.awaited = Resolution::of(&record);
            }
            Ok(())
        })
        .await?;
    let mut found: Vec<_> = found.into_values().collect();
    found.sort_by_key(|parked| (parked.result.timestamp, parked.place()));
    Ok(found)
}

fn take(found: &mut Found, result: ConsumerRecord) -> Result<(), OperationError> {
    if !is_ambiguous(&result) {
        return Ok(());
    }
    let Some(job) = job(&result) else {
        let place = format!("{}@{}", result.partition, result.offset);
        let text = format!("{place}: found an ambiguous result that is no job");
        return Err(OperationError::Missing(text));
    };
    let identity = Identity::of(&job);
    if found.get(&identity).is_some_and(|known| !is_later(&result, &known.result)) {
        return Ok(());
    }
    found.insert(identity, Parked { result, job, awaited: None });
    if found.len() > PARKED_MAX {
        let text = format!("found more than {PARKED_MAX} parked jobs; see --from");
        return Err(OperationError::Missing(text));
    }
    Ok(())
}

fn drop_answered(found: &mut Found, result: &ConsumerRecord) {
    if is_ambiguous(result) {
        return;
    }
    let Some(identity) = job(result).map(|job| Identity::of(&job)) else { return };
    if found.get(&identity).is_some_and(|known| is_later(result, &known.result)) {
        found.remove(&identity);
    }
}

/// A topic that is read from a time to its end.
struct Scan {
    reader: TopicReader,
    ranges: Vec<PartitionRange>,
}

impl Scan {
    async fn new(brokers: &Brokers, topic: &Topic) -> Result<Self, OperationError> {
        let partitions = brokers.existing(topic).await?;
        let reader = brokers.reader(topic)?;
        let ranges = reader.ranges(partitions).await?;
        Ok(Self { reader, ranges })
    }

    async fn each(
        &self,
        from: Option<Timestamp>,
        mut visit: impl FnMut(ConsumerRecord) -> Result<(), OperationError> + Send,
    ) -> Result<(), OperationError> {
        let ranges = match from {
            Some(from) => self.reader.since(self.ranges.clone(), from).await?,
            None => self.ranges.clone(),
        };
        self.reader.open(ranges).await?;
        loop {
            let records = self.reader.next(READ_RECORDS).await?;
            if records.is_empty() {
                return Ok(());
            }
            records.into_iter().try_for_each(&mut visit)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jobstream::record::{Headers, TopicPartition};

    fn result(
        partition: i32,
        offset: i64,
        timestamp: i64,
        time: &str,
        outcome: &'static str,
    ) -> ConsumerRecord {
        let mut headers = Headers::new();
        headers.set("job-outcome", outcome);
        let value = format!(r#"{{"Id":"a","Status":5,"ScheduleTime":"{time}"}}"#);
        ConsumerRecord::new(TopicPartition::new("results", partition), offset, 0)
            .timestamp(timestamp)
            .value(value)
            .headers(headers)
    }

    fn left(results: &[ConsumerRecord]) -> Vec<String> {
        let mut found = Found::new();
        results.iter().for_each(|result| take(&mut found, result.clone()).unwrap());
        results.iter().for_each(|result| drop_answered(&mut found, result));
        found.values().map(Parked::place).collect()
    }

    #[test]
    fn a_job_is_parked_until_a_later_result_of_the_same_job_says_more() {
        let parked = result(0, 5, 100, "1", "ambiguous");
        assert_eq!(left(std::slice::from_ref(&parked)), ["results[0]@5"]);
        assert_eq!(left(&[result(0, 4, 100, "1", "accepted"), parked.clone()]), ["results[0]@5"]);
        assert!(left(&[parked.clone(), result(0, 6, 100, "1", "accepted")]).is_empty());
        assert!(left(&[result(1, 0, 101, "1", "rejected"), parked.clone()]).is_empty());
        assert_eq!(left(&[result(1, 9, 99, "1", "accepted"), parked.clone()]), ["results[0]@5"]);
        assert_eq!(left(&[parked, result(0, 6, 101, "2", "accepted")]), ["results[0]@5"]);
    }

    #[test]
    fn a_job_that_was_resent_and_parked_again_is_parked_once() {
        let twice = [result(0, 5, 100, "1", "ambiguous"), result(0, 8, 200, "1", "ambiguous")];
        assert_eq!(left(&twice), ["results[0]@8"]);
    }
}
