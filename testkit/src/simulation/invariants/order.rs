//! Order: per key and partition, and of the attempts in one assignment.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jobstream::record::TopicPartition;

use crate::simulation::{Entry, GroupHistory, History, Place, What, Who};

/// Of the records with one key in one partition:
///
/// - first executions are in the order of the offsets, whoever makes them. A zombie, whose partition
///   was assigned to another member meanwhile, is excepted until it learns of that: an execution
///   that it was about to begin may be late;
/// - in one assignment all are, one at a time, and the next one begins after the one before has met
///   its fate.
///
/// Records without a key have no order.
///
/// # Errors
/// Names the first execution out of order.
pub fn keys_are_in_order(history: &History, group: &GroupHistory) -> Result<(), String> {
    let mut executed = Executed::new();
    let (mut lanes, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for (who, entry) in history.of(group) {
        match &entry.what {
            What::Assigned(partition, _) => {
                owners.insert(partition, who);
            }
            What::Began(place) => {
                let Some(key) = key(group, place) else { continue };
                if owners.get(&place.partition) == Some(&who) {
                    check_first(&mut executed, place, key.clone(), entry)?;
                }
                let lane = (who, place.partition.clone(), place.generation, key);
                check_lane(lanes.entry(lane).or_default(), place, who, entry)?;
            }
            What::Executed(place, _) | What::Cancelled(place) | What::Finished(place, _) => {
                let Some(key) = key(group, place) else { continue };
                let lane = (who, place.partition.clone(), place.generation, key);
                let lane: &mut Lane = lanes.entry(lane).or_default();
                lane.is_executing = false;
                lane.is_finished |= matches!(entry.what, What::Finished(..));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How far a key is in one assignment.
#[derive(Default)]
struct Lane {
    offset: Option<i64>,
    is_executing: bool,
    is_finished: bool,
}

fn key(group: &GroupHistory, place: &Place) -> Option<Bytes> {
    group.input(&place.partition, place.offset)?.key.clone()
}

/// What has been executed of each key, by anyone.
type Executed = BTreeMap<(TopicPartition, Bytes), BTreeSet<i64>>;

fn check_first(
    executed: &mut Executed,
    place: &Place,
    key: Bytes,
    entry: &Entry,
) -> Result<(), String> {
    let offsets = executed.entry((place.partition.clone(), key)).or_default();
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

fn check_lane(lane: &mut Lane, place: &Place, who: Who, entry: &Entry) -> Result<(), String> {
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

/// What was executed successfully is not executed again in the same assignment, whatever becomes of
/// its output: it is published again from memory.
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
            What::Began(place) if executed.contains(&(who, place)) => {
                return Err(format!("step {}: {who} executes {place} again", entry.step));
            }
            _ => {}
        }
    }
    Ok(())
}
