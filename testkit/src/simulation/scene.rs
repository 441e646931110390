//! What schedules can contain, and the strategy that generates and shrinks them.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::sample::{Index, select};
use proptest::strategy::{BoxedStrategy, Union};

use super::fault::{Fault, ForeignOffset, Planned, Trigger};
use super::group::Group;
use super::run::Outcome;
use super::schedule::Schedule;
use super::search::{RESTART_STEPS, Search};
use super::setup::Setup;
use super::world::{EXECUTE, Effect, effect_of};
use crate::broker::{self, Operation, When};

/// What schedules can contain.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// For each member, the operations of its source, sink and store.
    pub(super) members: Vec<Vec<Operation>>,
    pub(super) partitions: i32,
    pub(super) occasions: Vec<Occasion>,
    pub(super) outside: Vec<&'static str>,
    pub(super) has_state: bool,
    pub(super) has_static_members: bool,
    /// Faults of a schedule, at most.
    pub(super) faults_max: usize,
    /// The polls of the scheduler in which faults can strike.
    pub(super) steps: u64,
}

/// An effect of a member, at which a fault can strike.
#[derive(Clone, Debug)]
pub(super) struct Occasion {
    pub(super) member: usize,
    pub(super) effect: Effect,
    /// The highest occurrence at which a fault is drawn.
    pub(super) nth_max: usize,
    /// The fault that causes the effect, if it does not occur without one.
    pub(super) under: Option<Fault>,
}

/// The highest occurrence of an effect at which faults are drawn.
const OCCURRENCES_MAX: usize = 8;
/// How long a fault lasts, and a member is away, in polls of the scheduler.
const LASTS_STEPS: Range<u64> = 1..200;
/// How long a member goes on after the end of its session before it learns of it, in polls of the
/// scheduler.
const UNAWARE_STEPS: Range<u64> = 0..200;
/// How many unfinished offsets retention removes.
const BEYOND: Range<i64> = 0..5;
/// How many jobs are produced at once into a topic that was created again.
const AT_ONCE: Range<usize> = 0..20;
/// How many offsets a partition loses at its end.
const LOST: Range<i64> = 1..8;
/// By how many offsets an operator resets a group.
const BACK: Range<i64> = 1..12;
/// What other programs commit as metadata. The last two are base64 of many bits.
const FOREIGN_METADATA: [&str; 7] =
    ["", "\0", "consumer-7@host", "null", "IA==", "AgAAAaDEUGwA", "////"];

impl Scene {
    /// All schedules of this scene; smaller ones have fewer, shorter and earlier faults.
    pub(super) fn schedules(&self) -> impl Strategy<Value = Schedule> + use<> {
        let other = (self.trigger(), self.fault()).prop_map(|(at, fault)| vec![at.then(fault)]);
        let planned = Union::new_weighted(vec![(1, self.crash()), (1, other.boxed())]);
        let faults = vec(planned, 1..=self.faults_max);
        faults.prop_map(|faults| Schedule::new(faults.into_iter().flatten()))
    }

    /// A crash at any step, or at an effect of the member, with the fault that causes the effect. Which
    /// members a misfortune of the outside meets is not known: each that the effect follows for crashes.
    fn crash(&self) -> BoxedStrategy<Vec<Planned>> {
        let members = self.members.len();
        let at_effect = (self.at_effect(), self.trigger(), LASTS_STEPS);
        let at_effect =
            at_effect.prop_map(move |((occasion, at), earlier, restart_after_steps)| {
                let crashing = match &occasion.under {
                    Some(Fault::Outside(_)) => 0..members,
                    _ => occasion.member..occasion.member + 1,
                };
                let crashes = crashing
                    .map(|member| at.of(member).then(Fault::Crash { member, restart_after_steps }));
                let under = occasion.under.map(|fault| earlier.then(fault));
                under.into_iter().chain(crashes).collect()
            });
        let anywhere = (0..self.steps, 0..self.members.len(), LASTS_STEPS);
        let anywhere = anywhere.prop_map(|(step, member, restart_after_steps)| {
            vec![Trigger::Step(step).then(Fault::Crash { member, restart_after_steps })]
        });
        Union::new_weighted(vec![(1, anywhere.boxed()), (3, at_effect.boxed())]).boxed()
    }

    fn trigger(&self) -> BoxedStrategy<Trigger> {
        let step = (0..self.steps).prop_map(Trigger::Step);
        let at_effect = self.at_effect().prop_map(|(_, at)| at);
        Union::new_weighted(vec![(1, step.boxed()), (1, at_effect.boxed())]).boxed()
    }

    fn at_effect(&self) -> BoxedStrategy<(Occasion, Trigger)> {
        let when = select(vec![When::Before, When::After]);
        let at = (select(self.occasions.clone()), any::<Index>(), when);
        at.prop_map(|(occasion, nth, when)| {
            let Occasion { member, effect, nth_max, .. } = occasion;
            let nth = 1 + nth.index(nth_max) as u64;
            (occasion, Trigger::Effect { member, effect, nth, when })
        })
        .boxed()
    }

    fn fault(&self) -> BoxedStrategy<Fault> {
        let members = 0..self.members.len();
        let stop = (members.clone(), LASTS_STEPS)
            .prop_map(|(member, restart_after_steps)| Fault::Stop { member, restart_after_steps });
        let pause = (members.clone(), LASTS_STEPS, UNAWARE_STEPS).prop_map(
            |(member, steps, unaware_steps)| Fault::Pause { member, steps, unaware_steps },
        );
        let expire = (members.clone(), UNAWARE_STEPS)
            .prop_map(|(member, unaware_steps)| Fault::Expire { member, unaware_steps });
        let moved =
            (0..self.partitions, members).prop_map(|(partition, to)| Fault::Move { partition, to });
        let mut faults =
            vec![(4, stop.boxed()), (2, pause.boxed()), (2, expire.boxed()), (3, moved.boxed())];
        faults.extend(self.faults_of_the_broker());
        if self.has_static_members {
            let replace = (0..self.members.len(), UNAWARE_STEPS)
                .prop_map(|(member, unaware_steps)| Fault::Replace { member, unaware_steps });
            faults.push((3, replace.boxed()));
        }
        if !self.outside.is_empty() {
            faults.push((6, select(self.outside.clone()).prop_map(Fault::Outside).boxed()));
        }
        Union::new_weighted(faults).boxed()
    }

    fn faults_of_the_broker(&self) -> Vec<(u32, BoxedStrategy<Fault>)> {
        let away = LASTS_STEPS.prop_map(|steps| Fault::Away { steps });
        let jump =
            (-3_600_000..3_600_000_i64).prop_map(|milliseconds| Fault::ClockJump { milliseconds });
        let truncate = (0..self.partitions, BEYOND)
            .prop_map(|(partition, beyond)| Fault::Truncate { partition, beyond });
        let lose_end = (0..self.partitions, LOST)
            .prop_map(|(partition, offsets)| Fault::LoseEnd { partition, offsets });
        let mut faults = vec![
            (3, self.fail()),
            (2, self.hang()),
            (1, away.boxed()),
            (1, jump.boxed()),
            (1, truncate.boxed()),
            (1, AT_ONCE.prop_map(|jobs| Fault::Recreate { jobs }).boxed()),
            (1, lose_end.boxed()),
            (1, self.foreign_commit()),
        ];
        faults.extend(self.has_state.then(|| (1, Just(Fault::Compact).boxed())));
        faults
    }

    fn foreign_commit(&self) -> BoxedStrategy<Fault> {
        let back = BACK.prop_map(ForeignOffset::Back).boxed();
        let beyond = Just(ForeignOffset::BeyondTheEnd).boxed();
        let offset = Union::new_weighted(vec![
            (1, Just(ForeignOffset::Same).boxed()),
            (1, back.clone()),
            (1, beyond),
        ]);
        let metadata = select(FOREIGN_METADATA.to_vec());
        let of_its_own = (offset, metadata.prop_map(Some)).boxed();
        let copied = (back, Just(None)).boxed();
        let commit = Union::new_weighted(vec![(3, of_its_own), (1, copied)]);
        (0..self.partitions, commit)
            .prop_map(|(partition, (offset, metadata))| Fault::ForeignCommit {
                partition,
                offset,
                metadata,
            })
            .boxed()
    }

    /// An operation, of one member or of the first that calls it.
    fn operation(&self) -> BoxedStrategy<(Option<usize>, Operation)> {
        let members = self.members.iter().enumerate();
        let operations: Vec<_> = members
            .flat_map(|(member, operations)| operations.iter().map(move |of_it| (member, *of_it)))
            .collect();
        let whose = select(vec![false, true]);
        (whose, select(operations))
            .prop_map(|(is_one, (member, operation))| (is_one.then_some(member), operation))
            .boxed()
    }

    fn fail(&self) -> BoxedStrategy<Fault> {
        let how = select(vec![
            broker::Fault::Transient,
            broker::Fault::Aborted,
            broker::Fault::Fenced,
            broker::Fault::Broken,
        ]);
        (self.operation(), 1..4_usize, how)
            .prop_map(|((member, operation), times, how)| Fault::Fail {
                member,
                operation,
                times,
                how,
            })
            .boxed()
    }

    fn hang(&self) -> BoxedStrategy<Fault> {
        (self.operation(), LASTS_STEPS)
            .prop_map(|((member, operation), steps)| Fault::Hang { member, operation, steps })
            .boxed()
    }
}

impl<O> Search<O> {
    /// The scene of a run with this seed, made from a run without faults.
    pub(super) fn scene(&self, seed: u64, calm: &Outcome<O>) -> Scene {
        let groups = || self.setup.numbered();
        let operations = groups().flat_map(|(group, members)| members.map(|_| group.operations()));
        let occasions = groups().flat_map(|(group, members)| self.occasions(group, members, calm));
        Scene {
            members: operations.collect(),
            partitions: self.setup.partitions,
            occasions: occasions.collect(),
            outside: self.misfortunes.iter().map(|(name, _)| *name).collect(),
            has_state: self.setup.state_topics().next().is_some(),
            has_static_members: Setup::<O>::members_are_static(seed),
            faults_max: self.setup.faults_max,
            steps: calm.steps,
        }
    }

    /// The effects of a group's members, each with the most occurrences that a member had.
    fn occasions(
        &self,
        group: &Group<O>,
        members: Range<usize>,
        calm: &Outcome<O>,
    ) -> Vec<Occasion> {
        let occurrences = |effect| {
            let of_member = |member| calm.counts.get(&(member, effect, When::Before)).copied();
            let most = members.clone().filter_map(of_member).max().unwrap_or_default();
            usize::try_from(most).unwrap_or(usize::MAX)
        };
        let executes = (occurrences(EXECUTE) > 0).then_some(EXECUTE);
        let operations = group.operations().into_iter().map(effect_of);
        let effects = operations.chain(executes).chain(self.setup.effects.iter().copied());
        let occasions = effects.flat_map(|effect| {
            let nth_max = occurrences(effect).clamp(1, OCCURRENCES_MAX);
            let occasion = move |member| {
                let under = self.under(member, effect);
                Occasion { member, effect, nth_max, under }
            };
            members.clone().map(occasion)
        });
        occasions.collect()
    }

    /// The fault that causes an effect.
    fn under(&self, member: usize, effect: Effect) -> Option<Fault> {
        if effect == effect_of(Operation::Leave) {
            return Some(Fault::Stop { member, restart_after_steps: RESTART_STEPS });
        }
        let mut brought_about = self.brought_about.iter();
        let (_, misfortune) = brought_about.find(|(brought, _)| *brought == effect)?;
        Some(Fault::Outside(misfortune))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn scene() -> Scene {
        let occasion = Occasion { member: 0, effect: "publish", nth_max: 3, under: None };
        Scene {
            members: vec![vec![Operation::Fetch, Operation::Publish], vec![Operation::Leave]],
            partitions: 3,
            occasions: vec![occasion],
            outside: vec!["rain"],
            has_state: true,
            has_static_members: true,
            faults_max: 8,
            steps: 100,
        }
    }

    #[test]
    fn every_kind_of_fault_is_drawn() {
        let (strategy, mut runner) = (scene().schedules(), TestRunner::deterministic());
        let mut kinds = BTreeSet::new();
        for _ in 0..500 {
            let schedule = strategy.new_tree(&mut runner).unwrap().current();
            let name = |fault| format!("{fault:?}").split([' ', '(']).next().map(str::to_owned);
            kinds.extend(schedule.faults.iter().filter_map(|planned| name(planned.fault)));
        }
        let expected = [
            "Away",
            "ClockJump",
            "Compact",
            "Crash",
            "Expire",
            "Fail",
            "ForeignCommit",
            "Hang",
            "LoseEnd",
            "Move",
            "Outside",
            "Pause",
            "Recreate",
            "Replace",
            "Stop",
            "Truncate",
        ];
        assert_eq!(kinds, expected.map(str::to_owned).into());
    }
}
