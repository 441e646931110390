//! Outputs: at least one for every input, or exactly one.

use std::collections::BTreeMap;

use bytes::Bytes;
use jobstream::record::ConsumerRecord;

use crate::simulation::{Delivery, GroupHistory, History, What};

/// Every input with an identity has an output of the same identity that a `read_committed` reader
/// sees; every other input was skipped or executed. Inputs that were lost to retention, and
/// reported as such, or lost with a former life of their partition, may have no output.
///
/// # Errors
/// Names the first input for which that does not hold.
pub fn nothing_is_lost(history: &History, group: &GroupHistory) -> Result<(), String> {
    let counts = counts(history, group);
    let lost = history.lost(group);
    for input in &group.inputs {
        let is_there = match group.identity(input) {
            Some(identity) => counts.contains_key(&identity),
            None => history.of(group).any(|(_, entry)| was_done(input, &entry.what)),
        };
        if !is_there && !lost.contains(input) {
            return Err(format!("{} has no output in {}", name(input), group.name));
        }
    }
    Ok(())
}

/// In exactly-once mode, an identity has as many outputs as inputs; lost inputs may have none. Each
/// time another program commits a finished input as unfinished, one more output is allowed, since
/// the group can't know better.
///
/// # Errors
/// Names the first input for which that does not hold.
pub fn outputs_are_exactly_once(history: &History, group: &GroupHistory) -> Result<(), String> {
    if group.delivery != Delivery::ExactlyOnce {
        return Ok(());
    }
    let counts = counts(history, group);
    let lost = history.lost(group);
    let reopened = history.reopened(group);
    let mut expected: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for input in &group.inputs {
        let Some(identity) = group.identity(input) else { continue };
        let (least, most) = expected.entry(identity).or_default();
        *least += usize::from(!lost.contains(input));
        *most += 1 + reopened.times(input);
    }
    for input in &group.inputs {
        let Some(identity) = group.identity(input) else { continue };
        let found = counts.get(&identity).copied().unwrap_or_default();
        let (least, most) = expected[&identity];
        if !(least..=most).contains(&found) {
            let (name, of) = (name(input), &group.name);
            return Err(format!("{name}: found {found} outputs in {of}, expected {most}"));
        }
    }
    Ok(())
}

fn counts(history: &History, group: &GroupHistory) -> BTreeMap<Bytes, usize> {
    let mut counts = BTreeMap::new();
    let outputs = history.outputs.values().flatten().filter(|output| group.may_output(output));
    for identity in outputs.filter_map(|output| group.identity(output)) {
        *counts.entry(identity).or_default() += 1;
    }
    counts
}

/// Whether this entry shows that a record without an output was skipped or executed. `Finished`
/// alone is not enough: in exactly-once mode a member that crashes after the commit does not report
/// it.
fn was_done(input: &ConsumerRecord, what: &What) -> bool {
    let (What::Finished(place, _) | What::Executed(place, None)) = what else { return false };
    place.is_of(input)
}

fn name(record: &ConsumerRecord) -> String {
    let identity = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
    format!("{}@{} {identity}", record.partition, record.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::NewLife;
    use crate::simulation::invariants::test_history::{TestHistory, place};

    #[test]
    fn records_lost_with_an_end_need_no_output_and_those_left_do() {
        let executed = |offsets: std::ops::Range<i64>| {
            let executed = offsets.map(|offset| (0, What::Executed(place(offset), None)));
            TestHistory::default().then(&executed.collect::<Vec<_>>())
        };
        let lost = |from| {
            let (partition, life, is_recreated) = (place(0).partition, 1, false);
            What::BeganAnew(NewLife { partition, from, life, is_recreated })
        };
        assert!(executed(0..8).judged(nothing_is_lost).is_err());
        assert_eq!(executed(0..8).then_outside(lost(8)).judged(nothing_is_lost), Ok(()));
        assert!(executed(0..7).then_outside(lost(8)).judged(nothing_is_lost).is_err());
    }
}
