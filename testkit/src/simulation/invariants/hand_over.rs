//! Hand-overs: what a member gave up cleanly, nobody executes again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobstream::record::TopicPartition;

use crate::simulation::{Entry, GroupHistory, History, What, Who};

/// A record that a member took in, before it gave its partition up or stopped, is not executed
/// after that by anyone. Drains that ran into a deadline are excepted, and stops that left
/// something unfinished or could not be told to the broker.
///
/// # Errors
/// Names the first execution that repeats one.
pub fn hand_overs_repeat_nothing(history: &History, group: &GroupHistory) -> Result<(), String> {
    let mut drains = Drains::default();
    for (who, entry) in history.of(group) {
        if let What::Began(place) = &entry.what
            && let Some(by) = drains.handed_over.get(&(&place.partition, place.offset))
        {
            let step = entry.step;
            return Err(format!(
                "step {step}: {place} is executed again after {by} handed it over"
            ));
        }
        drains.follow(group, who, entry);
    }
    Ok(())
}

/// What every member holds and has handed over.
#[derive(Default)]
struct Drains<'a> {
    taken_in: BTreeMap<(Who, &'a TopicPartition), BTreeSet<i64>>,
    /// When each drain began, and of which partition; `None` is a stop's.
    began: BTreeMap<(Who, Option<&'a TopicPartition>), Duration>,
    handed_over: BTreeMap<(&'a TopicPartition, i64), Who>,
}

impl<'a> Drains<'a> {
    fn follow(&mut self, group: &GroupHistory, who: Who, entry: &'a Entry) {
        match &entry.what {
            What::Assigned(partition, _) | What::Lost(partition) => {
                self.taken_in.remove(&(who, partition));
            }
            What::Fetched(place) => {
                let offsets = self.taken_in.entry((who, &place.partition)).or_default();
                offsets.insert(place.offset);
            }
            What::Revoked(partition) => {
                self.began.insert((who, Some(partition)), entry.at);
            }
            What::Stopping => {
                self.began.insert((who, None), entry.at);
            }
            What::Released(partition) => {
                let taken_in = self.taken_in.remove(&(who, partition)).unwrap_or_default();
                if self.is_in_time(group, who, Some(partition), entry.at) {
                    let handed_over = taken_in.into_iter().map(|o| ((partition, o), who));
                    self.handed_over.extend(handed_over);
                }
            }
            What::Stopped { unfinished: 0 } if self.is_in_time(group, who, None, entry.at) => {
                self.hand_all_over(who);
            }
            _ => {}
        }
    }

    /// Whether no deadline has cut the drain off: its own, or that of a stop that began before it.
    fn is_in_time(
        &self,
        group: &GroupHistory,
        who: Who,
        partition: Option<&TopicPartition>,
        at: Duration,
    ) -> bool {
        let stop = self.began.get(&(who, None)).map(|b| at - *b < group.limits.shutdown_timeout);
        let Some(partition) = partition else { return stop == Some(true) };
        let drain = self.began.get(&(who, Some(partition)));
        stop != Some(false) && drain.is_some_and(|began| at - *began < group.limits.drain_timeout)
    }

    fn hand_all_over(&mut self, who: Who) {
        for ((of, partition), offsets) in &self.taken_in {
            if *of == who {
                let handed_over = offsets.iter().map(|offset| ((*partition, *offset), who));
                self.handed_over.extend(handed_over);
            }
        }
        self.taken_in.retain(|(of, _), _| *of != who);
    }
}
