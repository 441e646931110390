//! Hand-overs: no member executes again what another one gave up cleanly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobstream::record::TopicPartition;
use jobstream::sinks::JobErrorKind;
use jobstream::sources::Reset;

use crate::simulation::{
    Commit, ForeignCommit, GroupHistory, History, Occurrence, Place, What, Who, Zombies,
};

/// A record that a member took in before it gave its partition up, or stopped, is not executed by
/// any member after that. Exceptions: drains that ran into a deadline, and records that were cut
/// off because their next attempt, or that of a sink that was away, would have come after it, with the
/// other records of their key and, where commits have no room for a finished set, all above them;
/// stops that left something unfinished, or that did not reach the broker; and executions by a
/// member that was a zombie before the hand-over, which knows neither of the other member nor of
/// its own loss. A record that another program has committed as unfinished no longer counts as
/// handed over until a member commits it as finished again. Nothing of a partition whose offsets
/// went back counts as handed over.
///
/// # Errors
/// Names the first execution that repeats a record.
pub fn hand_overs_repeat_nothing(history: &History, group: &GroupHistory) -> Result<(), String> {
    let mut drains = Drains { sets_fit: history.sets_fit, ..Drains::default() };
    let mut zombies = Zombies::default();
    for entry in &history.entries {
        if let What::ForeignCommit(commit) = &entry.what
            && commit.group == group.name
        {
            drains.reopen(commit);
        }
        let who = entry.who.filter(|who| group.members.contains(&who.member));
        let Some(who) = who else { continue };
        zombies.follow(who, entry);
        if let What::Began(place) = &entry.what
            && let Some((by, at)) = drains.handed_over.get(&record_at(place))
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

/// A record: its partition, the life in which it was produced, and its offset.
type Record<'a> = (&'a TopicPartition, u32, i64);

const fn record_at(place: &Place) -> Record<'_> {
    (&place.partition, place.life, place.offset)
}

/// What every member holds and has handed over.
#[derive(Default)]
struct Drains<'a> {
    sets_fit: bool,
    taken_in: BTreeMap<(Who, &'a TopicPartition), BTreeSet<&'a Place>>,
    /// When the drain of each partition began; `None` in place of a partition is a stop.
    began: BTreeMap<(Who, Option<&'a TopicPartition>), Duration>,
    /// The records that were handed over, each with its member and the number of entries until
    /// then.
    handed_over: BTreeMap<Record<'a>, (Who, usize)>,
    /// The records that wait for their next attempt.
    waiting: BTreeSet<(Who, &'a Place)>,
    /// The records that another program has committed as unfinished, and no member as finished
    /// since; each with the last life for which that holds.
    reopened: BTreeMap<(&'a TopicPartition, i64), u32>,
}

impl<'a> Drains<'a> {
    fn reopen(&mut self, commit: &'a ForeignCommit) {
        self.handed_over.retain(|(partition, life, offset), _| {
            *life > commit.life || !commit.reopens(partition, *offset)
        });
        let offsets = commit.offsets().map(|offset| ((&commit.partition, offset), commit.life));
        self.reopened.extend(offsets);
    }

    fn hand_over(&mut self, place: &'a Place, by: (Who, usize)) {
        let record = record_at(place);
        let (partition, life, offset) = record;
        if self.reopened.get(&(partition, offset)).is_none_or(|until| life > *until) {
            self.handed_over.insert(record, by);
        }
    }

    /// Takes the entry with this number.
    fn follow(&mut self, group: &GroupHistory, who: Who, entry: &'a Occurrence, number: usize) {
        match &entry.what {
            What::Assigned(partition, _) | What::Lost(partition) => {
                self.taken_in.remove(&(who, partition));
            }
            // The rest of a log that has lost its end is worked on again.
            What::Reset(partition, Reset::OffsetsWentBack { .. }) => {
                self.handed_over.retain(|(of, ..), _| *of != partition);
                self.taken_in.retain(|(_, of), _| *of != partition);
            }
            What::Fetched(place) => {
                self.taken_in.entry((who, &place.partition)).or_default().insert(place);
            }
            What::Waits(place, _) | What::Executed(place, Some(JobErrorKind::Unavailable)) => {
                self.waiting.insert((who, place));
            }
            What::Began(place) => {
                self.waiting.remove(&(who, place));
            }
            What::CutOff(partition, _) => self.cut_off(group, who, partition),
            What::Revoked(partition) => {
                self.began.insert((who, Some(partition)), entry.at);
            }
            What::Stopping => {
                self.began.insert((who, None), entry.at);
            }
            What::Released(partition) => {
                let taken_in = self.taken_in.remove(&(who, partition)).unwrap_or_default();
                if self.is_in_time(group, who, Some(partition), entry.at) {
                    taken_in.into_iter().for_each(|place| self.hand_over(place, (who, number)));
                }
            }
            What::Stopped { unfinished: 0 } if self.is_in_time(group, who, None, entry.at) => {
                self.hand_all_over(who, number);
            }
            What::Committed(Commit { partition, life, position, .. }) => {
                self.reopened.retain(|(of, offset), until| {
                    *of != partition || *until > *life || !position.is_finished(*offset)
                });
            }
            _ => {}
        }
    }

    /// A waiting record is not handed over, nor are the records of its key behind it, nor those above it
    /// if the commit can't say that they are finished.
    fn cut_off(&mut self, group: &GroupHistory, who: Who, partition: &'a TopicPartition) {
        let key = |place: &Place| group.input(place)?.key.as_ref();
        let waiting = |place| self.waiting.contains(&(who, place));
        let Some(taken_in) = self.taken_in.get_mut(&(who, partition)) else { return };
        let keys: BTreeSet<_> =
            taken_in.iter().filter(|it| waiting(**it)).filter_map(|it| key(it)).collect();
        let first = taken_in.iter().filter(|it| waiting(**it)).map(|it| it.offset).min();
        let is_known = |it: &Place| self.sets_fit || first.is_none_or(|first| it.offset < first);
        taken_in.retain(|it| {
            !waiting(*it) && key(it).is_none_or(|key| !keys.contains(key)) && is_known(it)
        });
    }

    /// Whether the drain ended before its deadline, and before the deadline of a stop that began
    /// earlier.
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
        let (of_it, others) =
            std::mem::take(&mut self.taken_in).into_iter().partition(|((of, _), _)| *of == who);
        self.taken_in = others;
        let of_it: BTreeMap<(Who, &TopicPartition), BTreeSet<&Place>> = of_it;
        for place in of_it.into_values().flatten() {
            self.hand_over(place, (who, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use jobstream::position::Position;

    use super::*;
    use crate::broker::{Operation, When};
    use crate::simulation::effect_of;
    use crate::simulation::invariants::test_history::{OF_ANOTHER_KEY, TestHistory, place};

    /// A member is assigned a partition, takes a record in, and hands it over.
    fn drained_by(who: usize) -> [(usize, What); 4] {
        let (at, of) = (place(7), place(7).partition);
        let assigned = What::Assigned(of.clone(), at.generation);
        let drained = [What::Revoked(of.clone()), What::Released(of)];
        let [revoked, released] = drained;
        [assigned, What::Fetched(at), revoked, released].map(|what| (who, what))
    }

    /// Member 0 holds a record; member 1 is assigned its partition, finishes it and hands it over.
    fn handed_over(before: &[(usize, What)], after: &[(usize, What)]) -> TestHistory {
        let (at, of) = (place(7), place(7).partition);
        let taken_in = |who| {
            let assigned = What::Assigned(of.clone(), at.generation);
            [(who, assigned), (who, What::Fetched(at.clone()))]
        };
        let drained = [What::Revoked(of.clone()), What::Released(of.clone())];
        TestHistory::default()
            .then(&taken_in(0))
            .then(before)
            .then(&taken_in(1))
            .then(&drained.map(|what| (1, what)))
            .then(after)
            .then(&[(0, What::Began(at))])
    }

    #[test]
    fn a_member_that_was_a_zombie_before_a_hand_over_may_repeat_it() {
        let history = handed_over(&[(0, What::SessionEnded)], &[]);
        assert_eq!(history.judged(hand_overs_repeat_nothing), Ok(()));
    }

    #[test]
    fn no_other_member_may_repeat_a_hand_over() {
        let joined = What::Effect(effect_of(Operation::Join), When::After);
        let ended = (0, What::SessionEnded);
        let live = handed_over(&[], &[]);
        let zombie_since_then = handed_over(&[], std::slice::from_ref(&ended));
        let joined_again = handed_over(std::slice::from_ref(&ended), &[(0, joined)]);
        let another_zombie = handed_over(&[(2, What::SessionEnded)], &[]);
        for history in [live, zombie_since_then, joined_again, another_zombie] {
            assert!(history.judged(hand_overs_repeat_nothing).is_err());
        }
    }

    /// Two records of one key are taken in; the first waits, and the drain cuts something off.
    fn cut_off(then: What) -> TestHistory {
        let (at, of) = (place(7), place(7).partition);
        TestHistory::default().then(&[
            (1, What::Assigned(of.clone(), at.generation)),
            (1, What::Fetched(at.clone())),
            (1, What::Fetched(place(8))),
            (1, What::Began(at)),
            (1, then),
            (1, What::Revoked(of.clone())),
            (1, What::CutOff(of.clone(), 2)),
            (1, What::Released(of)),
        ])
    }

    #[test]
    fn a_waiting_record_is_cut_off_with_those_of_its_key_behind_it() {
        let waits = cut_off(What::Waits(place(7), Duration::from_secs(60)));
        let away = cut_off(What::Executed(place(7), Some(JobErrorKind::Unavailable)));
        let executed = cut_off(What::Executed(place(7), None));
        for offset in [7, 8] {
            let again = [(0, What::Began(place(offset)))];
            for waits in [&waits, &away] {
                let judged = waits.clone().then(&again).judged(hand_overs_repeat_nothing);
                assert_eq!(judged, Ok(()));
            }
            assert!(executed.clone().then(&again).judged(hand_overs_repeat_nothing).is_err());
        }
    }

    #[test]
    fn what_is_finished_above_a_cut_off_record_is_handed_over_if_the_commit_can_say_so() {
        let (at, of) = (place(7), place(7).partition);
        let history = TestHistory::default().then(&[
            (1, What::Assigned(of.clone(), at.generation)),
            (1, What::Fetched(at.clone())),
            (1, What::Fetched(place(OF_ANOTHER_KEY))),
            (1, What::Began(at.clone())),
            (1, What::Waits(at, Duration::from_secs(60))),
            (1, What::Revoked(of.clone())),
            (1, What::CutOff(of.clone(), 1)),
            (1, What::Released(of)),
            (0, What::Began(place(OF_ANOTHER_KEY))),
        ]);
        assert!(history.clone().judged(hand_overs_repeat_nothing).is_err());
        let history = history.with_little_metadata();
        assert_eq!(history.judged(hand_overs_repeat_nothing), Ok(()));
    }

    fn reopened(group: &str, after: i64) -> What {
        let (partition, group) = (place(7).partition, group.into());
        let (before, after) = (Position::at(8), Position::at(after));
        What::ForeignCommit(ForeignCommit { group, partition, life: 0, before, after })
    }

    fn committed(frontier: i64) -> What {
        let (partition, position) = (place(7).partition, Position::at(frontier));
        What::Committed(Commit { partition, life: 0, position, ends: BTreeMap::new() })
    }

    fn again() -> [(usize, What); 1] {
        [(0, What::Began(place(7)))]
    }

    #[test]
    fn a_record_that_another_program_has_reopened_may_be_executed_again() {
        let before = TestHistory::default().then_outside(reopened("group", 6));
        let since = TestHistory::default().then(&drained_by(1)).then_outside(reopened("group", 6));
        for history in [before.then(&drained_by(1)), since] {
            assert_eq!(history.then(&again()).judged(hand_overs_repeat_nothing), Ok(()));
        }
    }

    #[test]
    fn other_records_and_those_committed_as_finished_again_may_not() {
        let of_another_group = reopened("another", 6);
        let further_up = reopened("group", 8);
        for foreign in [of_another_group, further_up] {
            let history = TestHistory::default().then(&drained_by(1)).then_outside(foreign);
            assert!(history.then(&again()).judged(hand_overs_repeat_nothing).is_err());
        }
        let history = TestHistory::default().then_outside(reopened("group", 6));
        let history = history.then(&[(1, committed(8))]).then(&drained_by(1));
        assert!(history.then(&again()).judged(hand_overs_repeat_nothing).is_err());
    }

    #[test]
    fn the_same_offset_in_another_life_is_another_record() {
        let again = |life| [(0, What::Began(Place { life, ..place(7) }))];
        for (life, is_repeated) in [(0, true), (1, false)] {
            let history = TestHistory::default().then(&drained_by(1)).then(&again(life));
            assert_eq!(history.judged(hand_overs_repeat_nothing).is_err(), is_repeated);
        }
    }

    #[test]
    fn the_rest_of_a_log_that_has_lost_its_end_may_be_executed_again() {
        let reset = Reset::OffsetsWentBack { from: 10, to: 0 };
        let reset = [(0, What::Reset(place(7).partition, reset))];
        let history = TestHistory::default().then(&drained_by(1)).then(&reset).then(&again());
        assert_eq!(history.judged(hand_overs_repeat_nothing), Ok(()));
        let history = TestHistory::default().then(&reset).then(&drained_by(1)).then(&again());
        assert!(history.judged(hand_overs_repeat_nothing).is_err());
    }
}
