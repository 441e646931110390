//! Outputs: at least one for every input, or exactly one.

use std::collections::BTreeMap;

use bytes::Bytes;
use jobstream::record::ConsumerRecord;

use crate::simulation::{Delivery, History, What};

/// Every input with an identity has an output of the same identity that a `read_committed` reader
/// sees; every other one was finished.
///
/// # Errors
/// Names the first input that has not.
pub fn nothing_is_lost(history: &History) -> Result<(), String> {
    let counts = counts(history);
    for input in &history.inputs {
        let is_there = match history.identity(input) {
            Some(identity) => counts.contains_key(&identity),
            None => was_finished(history, input),
        };
        if !is_there {
            return Err(format!("{} has no output", name(input)));
        }
    }
    Ok(())
}

/// In exactly-once mode, every input with an identity has as many outputs as it is there itself.
///
/// # Errors
/// Names the first input that has not.
pub fn outputs_are_exactly_once(history: &History) -> Result<(), String> {
    if history.delivery != Delivery::ExactlyOnce {
        return Ok(());
    }
    let counts = counts(history);
    let mut expected = BTreeMap::new();
    for identity in history.inputs.iter().filter_map(|input| history.identity(input)) {
        *expected.entry(identity).or_insert(0_usize) += 1;
    }
    for input in &history.inputs {
        let Some(identity) = history.identity(input) else { continue };
        let found = counts.get(&identity).copied().unwrap_or_default();
        let expected = expected.get(&identity).copied().unwrap_or_default();
        if found != expected {
            return Err(format!("{}: found {found} outputs, expected {expected}", name(input)));
        }
    }
    Ok(())
}

fn counts(history: &History) -> BTreeMap<Bytes, usize> {
    let mut counts = BTreeMap::new();
    let outputs = history.outputs.values().flatten();
    for identity in outputs.filter_map(|output| history.identity(output)) {
        *counts.entry(identity).or_default() += 1;
    }
    counts
}

fn was_finished(history: &History, input: &ConsumerRecord) -> bool {
    history.entries.iter().any(|entry| match &entry.what {
        What::Finished(place, _) => {
            place.partition == input.partition && place.offset == input.offset
        }
        _ => false,
    })
}

fn name(record: &ConsumerRecord) -> String {
    let identity = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
    format!("{}@{} {identity}", record.partition, record.offset)
}
