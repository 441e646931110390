//! Limits: the records that a member has in flight, and its attempts of a job.

use std::collections::{BTreeMap, BTreeSet};

use jobstream::record::TopicPartition;
use jobstream::sinks::JobErrorKind;

use crate::simulation::{GroupHistory, History, What, Who};

/// No member has more records in flight than its limit allows, and tries no job more often in one
/// assignment.
///
/// # Errors
/// Names the first member that exceeds a limit.
pub fn limits_hold(history: &History, group: &GroupHistory) -> Result<(), String> {
    attempts_hold(history, group)?;
    let limit = group.limits.in_flight_records;
    let mut in_flight: BTreeMap<Who, BTreeMap<&TopicPartition, BTreeSet<i64>>> = BTreeMap::new();
    for (who, entry) in history.of(group) {
        let partitions = in_flight.entry(who).or_default();
        match &entry.what {
            What::Fetched(place) => {
                partitions.entry(&place.partition).or_default().insert(place.offset);
            }
            What::Finished(place, _) => {
                if let Some(offsets) = partitions.get_mut(&place.partition) {
                    offsets.remove(&place.offset);
                }
            }
            // The offsets of records that were cut off are not known, but the partition takes in no
            // more records.
            What::Lost(partition)
            | What::Released(partition)
            | What::Assigned(partition, _)
            | What::CutOff(partition, _) => {
                partitions.remove(partition);
            }
            _ => continue,
        }
        let records: usize = partitions.values().map(BTreeSet::len).sum();
        if records > limit {
            return Err(format!(
                "step {}: {who} has {records} records in flight, expected at most {limit}",
                entry.step
            ));
        }
    }
    Ok(())
}

fn attempts_hold(history: &History, group: &GroupHistory) -> Result<(), String> {
    let Some(limit) = group.attempts_max else { return Ok(()) };
    let mut attempts = BTreeMap::new();
    for (who, entry) in history.of(group) {
        let What::Executed(place, error) = &entry.what else { continue };
        if *error != Some(JobErrorKind::Unavailable) {
            let attempts = attempts.entry((who, place)).or_insert(0);
            *attempts += 1;
            if *attempts > limit {
                return Err(format!(
                    "step {}: {who} has tried {place} {attempts} times, expected at most {limit}",
                    entry.step
                ));
            }
        }
    }
    Ok(())
}
