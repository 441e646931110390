//! A schedule of faults, and the strategy that generates and shrinks it.

use std::fmt;
use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy};
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Union};

use super::fault::{Fault, Planned, Trigger};
use super::world::Effect;
use crate::broker::{self, Moment, Operation};

/// The faults of one run, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Planned>,
}

impl Schedule {
    /// A schedule of these faults.
    pub fn new(faults: impl IntoIterator<Item = Planned>) -> Self {
        Self { faults: faults.into_iter().collect() }
    }
}

/// As it is written in Rust.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schedule::new([\n")?;
        self.faults.iter().try_for_each(|planned| writeln!(f, "    {planned},"))?;
        f.write_str("])")
    }
}

/// What schedules can be about.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) members: usize,
    pub(super) partitions: i32,
    pub(super) effects: Vec<Effect>,
    pub(super) operations: Vec<Operation>,
    pub(super) outside: Vec<&'static str>,
    /// Faults of a schedule, at most.
    pub(super) faults_max: usize,
    /// The polls of the scheduler in which faults come.
    pub(super) steps: u64,
}

/// For how long a fault lasts, and a member is away, in polls of the scheduler.
const LASTS_STEPS: Range<u64> = 1..200;
/// How far ahead the occurrences of an effect are counted.
const OCCURRENCES: Range<u64> = 1..9;

impl Scene {
    /// All schedules of this scene; smaller ones have fewer, shorter and earlier faults.
    pub(super) fn schedules(&self) -> impl Strategy<Value = Schedule> + use<> {
        let crash = self.crash();
        let other = (self.trigger(), self.fault()).prop_map(|(at, fault)| at.then(fault));
        let planned = Union::new_weighted(vec![(1, crash), (1, other.boxed())]);
        vec(planned, 1..=self.faults_max).prop_map(Schedule::new)
    }

    /// A crash at an effect of the member itself, or at any step.
    fn crash(&self) -> BoxedStrategy<Planned> {
        let at_effect = (self.at_effect(), LASTS_STEPS).prop_map(|(at, restart_after_steps)| {
            let member = if let Trigger::Effect { member, .. } = at { member } else { 0 };
            at.then(Fault::Crash { member, restart_after_steps })
        });
        let anywhere = (0..self.steps, 0..self.members, LASTS_STEPS);
        let anywhere = anywhere.prop_map(|(step, member, restart_after_steps)| {
            Trigger::Step(step).then(Fault::Crash { member, restart_after_steps })
        });
        Union::new_weighted(vec![(1, anywhere.boxed()), (3, at_effect.boxed())]).boxed()
    }

    fn trigger(&self) -> BoxedStrategy<Trigger> {
        let step = (0..self.steps).prop_map(Trigger::Step);
        Union::new_weighted(vec![(1, step.boxed()), (1, self.at_effect())]).boxed()
    }

    fn at_effect(&self) -> BoxedStrategy<Trigger> {
        let moment = select(vec![Moment::Before, Moment::After]);
        let at = (0..self.members, select(self.effects.clone()), OCCURRENCES, moment);
        at.prop_map(|(member, effect, nth, moment)| Trigger::Effect { member, effect, nth, moment })
            .boxed()
    }

    fn fault(&self) -> BoxedStrategy<Fault> {
        let stop = (0..self.members, LASTS_STEPS)
            .prop_map(|(member, restart_after_steps)| Fault::Stop { member, restart_after_steps });
        let pause = (0..self.members, LASTS_STEPS)
            .prop_map(|(member, steps)| Fault::Pause { member, steps });
        let expire = (0..self.members).prop_map(|member| Fault::Expire { member });
        let moved = (0..self.partitions, 0..self.members)
            .prop_map(|(partition, to)| Fault::Move { partition, to });
        let jump =
            (-3_600_000..3_600_000_i64).prop_map(|milliseconds| Fault::ClockJump { milliseconds });
        let away = LASTS_STEPS.prop_map(|steps| Fault::Away { steps });
        let mut faults = vec![
            (4, stop.boxed()),
            (2, pause.boxed()),
            (2, expire.boxed()),
            (3, moved.boxed()),
            (3, self.fail()),
            (2, self.hang()),
            (1, away.boxed()),
            (1, jump.boxed()),
        ];
        if !self.outside.is_empty() {
            faults.push((6, select(self.outside.clone()).prop_map(Fault::Outside).boxed()));
        }
        Union::new_weighted(faults).boxed()
    }

    fn whose(&self) -> BoxedStrategy<Option<usize>> {
        let one = (0..self.members).prop_map(Some);
        Union::new(vec![Just(None).boxed(), one.boxed()]).boxed()
    }

    fn fail(&self) -> BoxedStrategy<Fault> {
        let how = select(vec![
            broker::Fault::Transient,
            broker::Fault::Aborted,
            broker::Fault::Fenced,
            broker::Fault::Broken,
        ]);
        (self.whose(), select(self.operations.clone()), 1..4_usize, how)
            .prop_map(|(member, operation, times, how)| Fault::Fail {
                member,
                operation,
                times,
                how,
            })
            .boxed()
    }

    fn hang(&self) -> BoxedStrategy<Fault> {
        (self.whose(), select(self.operations.clone()), LASTS_STEPS)
            .prop_map(|(member, operation, steps)| Fault::Hang { member, operation, steps })
            .boxed()
    }
}
