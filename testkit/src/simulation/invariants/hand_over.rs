//! Hand-overs: what a member gave up cleanly, nobody executes again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobstream::record::TopicPartition;

use crate::simulation::{Entry, GroupHistory, History, What, Who, Zombies};

/// A record that a member took in, before it gave its partition up or stopped, is not executed
/// after that by anyone. Drains that ran into a deadline are excepted, and stops that left
/// something unfinished or could not be told to the broker; so is who was a zombie before that
/// hand-over: it knows neither of the member that handed over, nor of its own loss.
///
/// # Errors
/// Names the first execution that repeats one.
pub fn hand_overs_repeat_nothing(history: &History, group: &GroupHistory) -> Result<(), String> {
    let (mut drains, mut zombies) = (Drains::default(), Zombies::default());
    for (who, entry) in history.of(group) {
        zombies.follow(who, entry);
        if let What::Began(place) = &entry.what
            && let Some((by, at)) = drains.handed_over.get(&(&place.partition, place.offset))
            && zombies.since(who).is_none_or(|since| since > *at)
        {
            let step = entry.step;
            return Err(format!(
                "step {step}: {place} is executed again by {who} after {by} handed it over"
            ));
        }
        drains.follow(group, who, entry, zombies.followed());
    }
    Ok(())
}

/// What every member holds and has handed over.
#[derive(Default)]
struct Drains<'a> {
    taken_in: BTreeMap<(Who, &'a TopicPartition), BTreeSet<i64>>,
    /// When each drain began, and of which partition; `None` is a stop's.
    began: BTreeMap<(Who, Option<&'a TopicPartition>), Duration>,
    /// By whom, and after how many entries.
    handed_over: BTreeMap<(&'a TopicPartition, i64), (Who, usize)>,
}

impl<'a> Drains<'a> {
    /// Goes on by the entry with this number.
    fn follow(&mut self, group: &GroupHistory, who: Who, entry: &'a Entry, number: usize) {
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
                    let handed_over = taken_in.into_iter().map(|o| ((partition, o), (who, number)));
                    self.handed_over.extend(handed_over);
                }
            }
            What::Stopped { unfinished: 0 } if self.is_in_time(group, who, None, entry.at) => {
                self.hand_all_over(who, number);
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

    fn hand_all_over(&mut self, who: Who, number: usize) {
        for ((of, partition), offsets) in &self.taken_in {
            if *of == who {
                let offsets = offsets.iter().map(|offset| (*partition, *offset));
                let handed_over = offsets.map(|record| (record, (who, number)));
                self.handed_over.extend(handed_over);
            }
        }
        self.taken_in.retain(|(of, _), _| *of != who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Moment, Operation};
    use crate::simulation::effect_of;
    use crate::simulation::invariants::told::{Told, place};

    /// Member 0 holds a record; member 1 is assigned its partition, finishes it and hands it over.
    fn handed_over(before: &[(usize, What)], after: &[(usize, What)]) -> Told {
        let (at, of) = (place(7), place(7).partition);
        let taken_in = |who| {
            let assigned = What::Assigned(of.clone(), at.generation);
            [(who, assigned), (who, What::Fetched(at.clone()))]
        };
        let drained = [What::Revoked(of.clone()), What::Released(of.clone())];
        Told::default()
            .then(&taken_in(0))
            .then(before)
            .then(&taken_in(1))
            .then(&drained.map(|what| (1, what)))
            .then(after)
            .then(&[(0, What::Began(at))])
    }

    #[test]
    fn who_was_a_zombie_before_a_hand_over_may_repeat_it() {
        let told = handed_over(&[(0, What::SessionEnded)], &[]);
        assert_eq!(told.judged(hand_overs_repeat_nothing), Ok(()));
    }

    #[test]
    fn nobody_else_may() {
        let joined = What::Effect(effect_of(Operation::Join), Moment::After);
        let ended = (0, What::SessionEnded);
        let live = handed_over(&[], &[]);
        let zombie_since_then = handed_over(&[], std::slice::from_ref(&ended));
        let joined_again = handed_over(std::slice::from_ref(&ended), &[(0, joined)]);
        let another_zombie = handed_over(&[(2, What::SessionEnded)], &[]);
        for told in [live, zombie_since_then, joined_again, another_zombie] {
            assert!(told.judged(hand_overs_repeat_nothing).is_err());
        }
    }
}
