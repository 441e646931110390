//! Positions: a record that they report as finished is finished.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, TopicPartition};

use crate::simulation::lives::{Lives, life};
use crate::simulation::lost::Lost;
use crate::simulation::{Commit, GroupHistory, History, What};

/// When a commit reports a record as finished, its output exists: it was published, in exactly-once
/// mode in a transaction that commits. A record without an output was skipped or executed before. A
/// commit counts only for the life of the partition that it was made for.
///
/// # Errors
/// Names the first commit that passes an unfinished record.
pub fn positions_pass_nothing_unfinished(
    history: &History,
    group: &GroupHistory,
) -> Result<(), String> {
    let outputs = outputs(history, group);
    let (lost, lives) = (Lost::unread(history, group), Lives::of(history));
    let mut done = BTreeSet::new();
    let mut reported = BTreeSet::new();
    for (_, entry) in history.of(group) {
        match &entry.what {
            What::Finished(place, _) | What::Executed(place, None) => {
                done.insert((&place.partition, place.life, place.offset));
            }
            What::Committed(commit) => {
                for input in newly_finished(group, &lives, commit, &mut reported) {
                    let is_finished = match group.identity(input) {
                        Some(identity) => is_there(outputs.get(&identity), commit),
                        None => done.contains(&(&input.partition, life(input), input.offset)),
                    };
                    if !is_finished && !lost.contains(input) {
                        let Commit { partition, position, .. } = commit;
                        let (frontier, offset) = (position.frontier(), input.offset);
                        return Err(format!(
                            "step {}: a commit of {partition} up to {frontier} tells offset \
                             {offset} as finished, and there is no output of it",
                            entry.step
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

type Outputs<'a> = BTreeMap<Bytes, Vec<&'a ConsumerRecord>>;

fn outputs<'a>(history: &'a History, group: &GroupHistory) -> Outputs<'a> {
    let mut outputs = Outputs::new();
    let of_group = history.outputs.values().flatten().filter(|output| group.may_output(output));
    for output in of_group {
        if let Some(identity) = group.identity(output) {
            outputs.entry(identity).or_default().push(output);
        }
    }
    outputs
}

/// Whether one of the outputs was appended when the commit was made.
fn is_there(outputs: Option<&Vec<&ConsumerRecord>>, commit: &Commit) -> bool {
    let appended = |output: &&ConsumerRecord| {
        commit.ends.get(&output.partition).is_some_and(|end| output.offset < *end)
    };
    outputs.is_some_and(|outputs| outputs.iter().any(appended))
}

/// The inputs that this commit is the first to report as finished.
fn newly_finished<'a>(
    group: &'a GroupHistory,
    lives: &Lives<'_>,
    commit: &Commit,
    reported: &mut BTreeSet<(TopicPartition, u32, i64)>,
) -> Vec<&'a ConsumerRecord> {
    let of_it = group.inputs.iter().filter(|input| input.partition == commit.partition);
    let finished = of_it.filter(|input| commit.position.is_finished(input.offset));
    let there = finished.filter(|input| lives.had(input, commit.life));
    there.filter(|it| reported.insert((it.partition.clone(), life(it), it.offset))).collect()
}

#[cfg(test)]
mod tests {
    use jobstream::position::Position;

    use super::*;
    use crate::simulation::NewLife;
    use crate::simulation::invariants::test_history::{TestHistory, place};

    #[test]
    fn a_commit_is_judged_by_the_life_that_it_was_made_for() {
        let partition = || place(0).partition;
        let recreated = NewLife { partition: partition(), from: 0, life: 1, is_recreated: true };
        let recreated = TestHistory::default().then_outside(What::BeganAnew(recreated));
        let committed = |life| {
            let (partition, position, ends) = (partition(), Position::at(5), BTreeMap::new());
            [(0, What::Committed(Commit { partition, life, position, ends }))]
        };
        let judged = |life| {
            recreated.clone().then(&committed(life)).judged(positions_pass_nothing_unfinished)
        };
        assert!(judged(0).is_err());
        assert_eq!(judged(1), Ok(()), "the new one has no record");
    }
}
