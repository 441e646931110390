//! Ownership: a member does nothing for a partition that it knows to be lost.

use std::collections::BTreeMap;

use jobstream::record::{Generation, TopicPartition};

use crate::simulation::{GroupHistory, History, What, Who};

/// No execution begins for a partition after the member has learnt that it lost it or has given it
/// up, nor under an assignment that is not its last.
///
/// # Errors
/// Names the first such execution.
pub fn nothing_begins_after_a_loss(history: &History, group: &GroupHistory) -> Result<(), String> {
    let mut owned: BTreeMap<(Who, &TopicPartition), Generation> = BTreeMap::new();
    for (who, entry) in history.of(group) {
        match &entry.what {
            What::Assigned(partition, generation) => {
                owned.insert((who, partition), *generation);
            }
            What::Lost(partition) | What::Released(partition) => {
                owned.remove(&(who, partition));
            }
            What::Began(place) => {
                let generation = owned.get(&(who, &place.partition));
                if generation != Some(&place.generation) {
                    let found = generation.map_or("none".to_owned(), Generation::to_string);
                    return Err(format!(
                        "step {}: {who} executes {place}, and its assignment is {found}",
                        entry.step
                    ));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
