//! Limits: the records that a member has in flight, its attempts of a job, and what it executes of
//! one key at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use jobstream::record::TopicPartition;
use jobstream::sinks::JobErrorKind;

use crate::simulation::{GroupHistory, History, Place, What, Who};

/// No member has more records in flight than its limit allows, tries a job more often in one
/// assignment, executes more jobs of one key at once, or lets an attempt take longer.
///
/// # Errors
/// Names the first member that exceeds a limit.
pub fn limits_hold(history: &History, group: &GroupHistory) -> Result<(), String> {
    attempts_hold(history, group)?;
    attempts_end(history, group)?;
    keys_hold(history, group)?;
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

/// Each attempt ends in time. One of a member that is paused ends when it wakes.
fn attempts_end(history: &History, group: &GroupHistory) -> Result<(), String> {
    let Some(limit) = group.attempt_timeout else { return Ok(()) };
    let mut begun: BTreeMap<(Who, &Place), Duration> = BTreeMap::new();
    for (who, entry) in history.of(group) {
        match &entry.what {
            What::Began(place) => drop(begun.insert((who, place), entry.at)),
            What::Paused => begun.retain(|(of, _), _| *of != who),
            What::Executed(place, _) | What::Cancelled(place) | What::Withdrawn(place) => {
                let Some(began) = begun.remove(&(who, place)) else { continue };
                let took = entry.at - began;
                if took > limit {
                    return Err(format!(
                        "step {}: an attempt of {who} at {place} took {took:?}, expected {limit:?} \
                         at most",
                        entry.step
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn keys_hold(history: &History, group: &GroupHistory) -> Result<(), String> {
    let mut executing: BTreeMap<(Who, Bytes), BTreeSet<&Place>> = BTreeMap::new();
    for (who, entry) in history.of(group) {
        let (What::Began(place)
        | What::Executed(place, _)
        | What::Cancelled(place)
        | What::Withdrawn(place)) = &entry.what
        else {
            continue;
        };
        let Some((key, limit)) = group.limited_by(place) else { continue };
        let of_key = executing.entry((who, key)).or_default();
        match entry.what {
            What::Began(_) => of_key.insert(place),
            _ => of_key.remove(place),
        };
        if of_key.len() > limit {
            let found = of_key.len();
            return Err(format!(
                "step {}: {who} executes {found} jobs of the key of {place}, expected at most {limit}",
                entry.step
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::invariants::test_history::{TestHistory, place};

    fn limited(mut group: GroupHistory) -> GroupHistory {
        group.limited_by = Some((|record| record.key.clone(), 1));
        group.attempt_timeout = Some(Duration::from_secs(1));
        group
    }

    #[test]
    fn two_jobs_of_one_key_at_once_are_found_and_one_after_the_other_are_not() {
        let judged = |entries: &[(usize, What)]| {
            TestHistory::default().then(entries).judged_as(limited, limits_hold)
        };
        let (first, second) = (What::Began(place(0)), What::Began(place(1)));
        let ended = What::Executed(place(0), None);
        assert!(judged(&[(0, first.clone()), (0, ended), (0, second.clone())]).is_ok());
        assert!(judged(&[(0, first.clone()), (1, second.clone())]).is_ok(), "two members");
        let broken = judged(&[(0, first), (0, second)]);
        assert!(broken.unwrap_err().contains("executes 2 jobs of the key"));
    }

    #[test]
    fn an_attempt_that_takes_too_long_is_found_unless_its_member_was_paused() {
        let judged = |paused: &[(usize, What)]| {
            let history = TestHistory::default().then(&[(0, What::Began(place(0)))]);
            let history = history.then(paused).after(Duration::from_secs(2));
            let ended = [(0, What::Executed(place(0), None))];
            history.then(&ended).judged_as(limited, limits_hold)
        };
        assert!(judged(&[]).unwrap_err().contains("took 2s, expected 1s at most"));
        assert!(judged(&[(0, What::Paused)]).is_ok());
    }
}
