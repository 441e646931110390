//! Order: per key and partition, and of the attempts in one assignment.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jobstream::record::TopicPartition;

use crate::simulation::{GroupHistory, History, Occurrence, Place, What, Who, Zombies};

/// Of the records with one key in one life of a partition:
///
/// - first executions are in the order of the offsets, across all members except zombies: a zombie
///   goes on until it learns that it has lost the partition, and its executions count for other
///   members only once a live member has finished the record under its own assignment;
/// - in one assignment all executions are in order, one at a time, and the next begins after the
///   record before has met its fate.
///
/// Records without a key have no order.
///
/// # Errors
/// Names the first execution out of order.
pub fn keys_are_in_order(history: &History, group: &GroupHistory) -> Result<(), String> {
    let mut executed = Executed::new();
    // The records that zombies have executed: partition, life and offset.
    let mut by_zombies = BTreeSet::new();
    let (mut lanes, mut zombies) = (BTreeMap::new(), Zombies::default());
    for (who, entry) in history.of(group) {
        zombies.follow(who, entry);
        match &entry.what {
            What::Began(place) => {
                let Some(key) = key(group, place) else { continue };
                if zombies.contains(who) {
                    by_zombies.insert((&place.partition, place.life, place.offset));
                } else {
                    check_first(&mut executed, place, key.clone(), entry)?;
                }
                let lane = (who, place.partition.clone(), place.generation, key);
                check_lane(lanes.entry(lane).or_default(), place, who, entry)?;
            }
            What::Executed(place, _)
            | What::Cancelled(place)
            | What::Withdrawn(place)
            | What::Finished(place, _) => {
                let Some(key) = key(group, place) else { continue };
                let is_finished = matches!(entry.what, What::Finished(..));
                let record = (&place.partition, place.life, place.offset);
                if is_finished && !zombies.contains(who) && by_zombies.contains(&record) {
                    of_key(&mut executed, place, key.clone()).insert(place.offset);
                }
                let lane = (who, place.partition.clone(), place.generation, key);
                let lane: &mut Lane = lanes.entry(lane).or_default();
                lane.is_executing = false;
                lane.is_finished |= is_finished;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The progress of a key in one assignment.
#[derive(Default)]
struct Lane {
    offset: Option<i64>,
    is_executing: bool,
    is_finished: bool,
}

fn key(group: &GroupHistory, place: &Place) -> Option<Bytes> {
    group.input(place)?.key.clone()
}

/// The offsets that any member has executed of each key in each life of its partition.
type Executed = BTreeMap<(TopicPartition, u32, Bytes), BTreeSet<i64>>;

fn of_key<'a>(executed: &'a mut Executed, place: &Place, key: Bytes) -> &'a mut BTreeSet<i64> {
    executed.entry((place.partition.clone(), place.life, key)).or_default()
}

fn check_first(
    executed: &mut Executed,
    place: &Place,
    key: Bytes,
    entry: &Occurrence,
) -> Result<(), String> {
    let offsets = of_key(executed, place, key);
    let last = offsets.last().copied();
    let is_first = offsets.insert(place.offset);
    match last.filter(|last| is_first && *last > place.offset) {
        None => Ok(()),
        Some(last) => Err(format!(
            "step {}: {place} is executed for the first time, and offset {last} of its key was \
             before",
            entry.step
        )),
    }
}

fn check_lane(lane: &mut Lane, place: &Place, who: Who, entry: &Occurrence) -> Result<(), String> {
    let broken = |how: String| Err(format!("step {}: {who} executes {place} {how}", entry.step));
    if lane.is_executing {
        return broken("while another record of its key is executed".to_owned());
    }
    if let Some(last) = lane.offset.filter(|last| *last != place.offset) {
        if last > place.offset {
            return broken(format!("after offset {last} of its key"));
        }
        if !lane.is_finished {
            return broken(format!("before offset {last} of its key has met its fate"));
        }
    }
    *lane = Lane { offset: Some(place.offset), is_executing: true, is_finished: false };
    Ok(())
}

/// A job that was executed successfully is not executed again in the same assignment, even if its
/// output is not published at first: it is published again from memory. One whose attempt has reached
/// its time limit before the answer came may be.
///
/// # Errors
/// Names the first execution that is one too many.
pub fn nothing_is_executed_twice_in_an_assignment(
    history: &History,
    group: &GroupHistory,
) -> Result<(), String> {
    let mut executed = BTreeSet::new();
    for (who, entry) in history.of(group) {
        match &entry.what {
            What::Executed(place, None) => {
                executed.insert((who, place));
            }
            // The attempt has reached its time limit before its answer came.
            What::Waits(place, _) if group.attempt_timeout.is_some() => {
                executed.remove(&(who, place));
            }
            What::Began(place) if executed.contains(&(who, place)) => {
                return Err(format!("step {}: {who} executes {place} again", entry.step));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::invariants::test_history::{TestHistory, place};
    use jobstream::topology::Fate;

    fn executions(of: &[(usize, i64)]) -> Vec<(usize, What)> {
        let execution = |(who, offset): &(usize, i64)| {
            let (began, ended) = (place(*offset), place(*offset));
            let finished = What::Finished(place(*offset), Fate::Succeeded);
            [What::Began(began), What::Executed(ended, None), finished].map(|what| (*who, what))
        };
        of.iter().flat_map(execution).collect()
    }

    #[test]
    fn a_zombie_that_is_ahead_puts_no_other_member_out_of_order() {
        let ahead = [(0, 1), (0, 3)];
        let behind = [(1, 1), (1, 2), (1, 3)];
        let live = TestHistory::default().then(&executions(&ahead)).then(&executions(&behind));
        assert!(live.judged(keys_are_in_order).is_err());
        let zombie = TestHistory::default().then(&[(0, What::SessionEnded)]);
        let zombie = zombie.then(&executions(&ahead)).then(&executions(&behind));
        assert_eq!(zombie.judged(keys_are_in_order), Ok(()));
    }

    #[test]
    fn a_zombies_execution_counts_once_a_live_member_has_finished_the_record() {
        let executed = |offset| [(0, What::Began(place(offset)))];
        let zombie = TestHistory::default().then(&[(0, What::SessionEnded)]).then(&executed(1));
        let again =
            zombie.clone().then(&executions(&[(1, 3), (1, 1)])[..3]).then(&executions(&[(2, 1)]));
        assert!(again.judged(keys_are_in_order).is_err());
        let finished = zombie.then(&[(1, What::Finished(place(1), Fate::Succeeded))]);
        let again = finished.then(&executions(&[(1, 3)])).then(&executions(&[(2, 1)]));
        assert_eq!(again.judged(keys_are_in_order), Ok(()));
    }

    #[test]
    fn a_zombie_keeps_the_order_of_its_own_assignment() {
        let zombie = TestHistory::default().then(&[(0, What::SessionEnded)]);
        let history = zombie.then(&executions(&[(0, 2), (0, 1)]));
        assert!(history.judged(keys_are_in_order).is_err());
    }
}
