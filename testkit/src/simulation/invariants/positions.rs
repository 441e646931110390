//! Positions: what they tell as finished is finished.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use jobstream::record::ConsumerRecord;

use crate::simulation::{Commit, History, What};

/// When a commit tells a record as finished, its output is there: published, and in exactly-once
/// mode in a transaction that commits. A record without an output was skipped before.
///
/// # Errors
/// Names the first commit that passes an unfinished record.
pub fn positions_pass_nothing_unfinished(history: &History) -> Result<(), String> {
    let outputs = outputs(history);
    let mut skipped = BTreeSet::new();
    let mut told = BTreeSet::new();
    for entry in &history.entries {
        match &entry.what {
            What::Finished(place, _) => {
                skipped.insert((&place.partition, place.offset));
            }
            What::Committed(commit) => {
                for input in newly_told(history, commit, &mut told) {
                    let is_finished = match history.identity(input) {
                        Some(identity) => is_there(outputs.get(&identity), commit),
                        None => skipped.contains(&(&input.partition, input.offset)),
                    };
                    if !is_finished {
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

fn outputs(history: &History) -> Outputs<'_> {
    let mut outputs = Outputs::new();
    for output in history.outputs.values().flatten() {
        if let Some(identity) = history.identity(output) {
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

/// The inputs that this commit tells as finished and no earlier one has told.
fn newly_told<'a>(
    history: &'a History,
    commit: &Commit,
    told: &mut BTreeSet<(i32, i64)>,
) -> Vec<&'a ConsumerRecord> {
    let of_it = history.inputs.iter().filter(|input| input.partition == commit.partition);
    let finished = of_it.filter(|input| commit.position.is_finished(input.offset));
    finished.filter(|input| told.insert((input.partition.partition, input.offset))).collect()
}
