//! The search for a schedule that breaks an invariant.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic};
use jobstream::topology::{Limits, Topology};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::fault::{Fault, Trigger};
use super::history::History;
use super::invariants;
use super::member::Member;
use super::report::{Broken, Report, Stopwatch};
use super::run::{Outcome, Patience};
use super::schedule::{Scene, Schedule};
use super::setup::{Delivery, Setup};
use super::world::{Effect, World};

/// How often a failing schedule is played to make it smaller.
const SHRINKS_MAX: usize = 150;
/// After so many polls of the scheduler a run without faults should have come to rest.
const CALM_STEPS: u64 = 200_000;
/// The seed of the run without faults.
const CALM_SEED: u64 = 0;
/// When every crash is tried, the member is started again after so many polls.
const RESTART_STEPS: u64 = 30;

/// Lets something go wrong outside.
pub(super) type Strike<O> = Box<dyn Fn(&O)>;
/// Makes the topology of one life of a member.
pub(super) type Executor<O> = Box<dyn Fn(&Member<O>) -> Topology>;
type Invariant<O> = Box<dyn Fn(&History, &O) -> Result<(), String>>;

/// A search. `O` is the outside: what the jobs have an effect on, made anew for every run.
pub struct Search<O = ()> {
    pub(super) outside: Box<dyn Fn(&World) -> O>,
    pub(super) topology: Executor<O>,
    pub(super) misfortunes: Vec<(&'static str, Strike<O>)>,
    pub(super) heal: fn(&O),
    pub(super) setup: Setup,
    invariants: Vec<(&'static str, Invariant<O>)>,
    schedules: u64,
    seed: u64,
}

impl<O: Default + Send + Sync + 'static> Search<O> {
    /// A search over the topology that is made for each life of a member, in an outside by default.
    pub fn new(topology: impl Fn(&Member<O>) -> Topology + 'static) -> Self {
        Self::within(|_| O::default(), topology)
    }
}

impl<O: Send + Sync + 'static> Search<O> {
    /// A search over the topology that is made for each life of a member, in an outside that is
    /// made for each run.
    pub fn within(
        outside: impl Fn(&World) -> O + 'static,
        topology: impl Fn(&Member<O>) -> Topology + 'static,
    ) -> Self {
        let general = invariants::ALL.iter().map(|(name, holds)| {
            let invariant: Invariant<O> = Box::new(|history, _| holds(history));
            (*name, invariant)
        });
        Self {
            outside: Box::new(outside),
            topology: Box::new(topology),
            misfortunes: Vec::new(),
            heal: |_| (),
            setup: Setup::default(),
            invariants: general.collect(),
            schedules: 100,
            seed: 0,
        }
    }

    /// The jobs of a run by its seed, for a topic with so many partitions. Half of them are there
    /// when it begins.
    #[must_use]
    pub fn workload(
        mut self,
        topic: impl Into<Topic>,
        partitions: i32,
        jobs: impl Fn(u64) -> Vec<ProducerRecord> + 'static,
    ) -> Self {
        (self.setup.input, self.setup.partitions) = (topic.into(), partitions);
        self.setup.jobs = Box::new(jobs);
        self
    }

    /// A topic that outputs go to, dead letters included.
    #[must_use]
    pub fn outputs(mut self, topic: impl Into<Topic>, partitions: i32) -> Self {
        self.setup.outputs.insert(topic.into(), partitions);
        self
    }

    /// A compacted topic that the members' keyed state outlives them on, with a partition for each
    /// of the jobs'.
    #[must_use]
    pub fn state(mut self, topic: impl Into<Topic>) -> Self {
        self.setup.state = Some(topic.into());
        self
    }

    /// By what a record is known, both as input and as output: each input must be told from the
    /// others. `None` for an input that has no output. By its value if nothing is said.
    #[must_use]
    pub fn identified_by(mut self, identity: fn(&ConsumerRecord) -> Option<Bytes>) -> Self {
        self.setup.identity = identity;
        self
    }

    /// How outputs and positions become durable; at least once if nothing is said.
    #[must_use]
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.setup.delivery = delivery;
        self
    }

    /// How many members the group has; two if nothing is said.
    #[must_use]
    pub fn members(mut self, members: usize) -> Self {
        self.setup.members = members;
        self
    }

    /// The limits of every member; if nothing is said, 16 records in flight and half a minute to
    /// drain.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.setup.limits = limits;
        self
    }

    /// The most attempts that a job has in one assignment, those that found the sink unavailable not
    /// counted; not judged if nothing is said.
    #[must_use]
    pub const fn attempts_max(mut self, attempts: u32) -> Self {
        self.setup.attempts_max = Some(attempts);
        self
    }

    /// Effects of the job sink at which faults are to strike too.
    #[must_use]
    pub fn effects(mut self, effects: impl IntoIterator<Item = Effect>) -> Self {
        self.setup.effects.extend(effects);
        self
    }

    /// Something that can go wrong outside, as a fault of schedules.
    #[must_use]
    pub fn misfortune(mut self, name: &'static str, strike: impl Fn(&O) + 'static) -> Self {
        self.misfortunes.push((name, Box::new(strike)));
        self
    }

    /// Ends the misfortunes of the outside, so that a run can come to rest.
    #[must_use]
    pub fn healed_by(mut self, heal: fn(&O)) -> Self {
        self.heal = heal;
        self
    }

    /// What must hold after every run, beside the [general invariants](invariants).
    #[must_use]
    pub fn invariant(
        mut self,
        name: &'static str,
        holds: impl Fn(&History, &O) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariants.push((name, Box::new(holds)));
        self
    }

    /// How many schedules are tried; 100 if nothing is said.
    #[must_use]
    pub const fn schedules(mut self, schedules: u64) -> Self {
        self.schedules = schedules;
        self
    }

    /// The seed of the first schedule; the next ones count on from it. 0 if nothing is said.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The most faults that a schedule has; 8 if nothing is said.
    #[must_use]
    pub const fn faults_max(mut self, faults: usize) -> Self {
        self.setup.faults_max = faults;
        self
    }

    /// Tries so many schedules.
    ///
    /// # Errors
    /// The first that breaks an invariant, made as small as can be.
    pub fn run(&self) -> Result<Report, Box<Broken>> {
        let mut report = Report::default();
        let stopwatch = Stopwatch::start();
        let calm = self.calm()?;
        for seed in self.seed..self.seed + self.schedules {
            self.try_seed(seed, &calm, &mut report)?;
        }
        report.took = stopwatch.took();
        Ok(report)
    }

    /// Tries the schedule of one seed, as [`run`](Self::run) does with a search's seeds.
    ///
    /// # Errors
    /// If it breaks an invariant.
    pub fn replay(&self, seed: u64) -> Result<Report, Box<Broken>> {
        let mut report = Report::default();
        let stopwatch = Stopwatch::start();
        let calm = self.calm()?;
        self.try_seed(seed, &calm, &mut report)?;
        report.took = stopwatch.took();
        Ok(report)
    }

    /// Crashes each member at each of its polls, one in a run: all that there are without another
    /// fault.
    ///
    /// # Errors
    /// The first that breaks an invariant.
    pub fn every_crash(&self) -> Result<Report, Box<Broken>> {
        let mut report = Report::default();
        let stopwatch = Stopwatch::start();
        let calm = self.calm()?;
        for (member, polls) in calm.polls.iter().enumerate() {
            for poll in 0..*polls {
                let crash = Fault::Crash { member, restart_after_steps: RESTART_STEPS };
                let schedule = Schedule::new([Trigger::Poll { member, poll }.then(crash)]);
                let outcome = self.try_schedule(CALM_SEED, &schedule)?;
                report.add(&outcome);
            }
        }
        report.took = stopwatch.took();
        Ok(report)
    }

    /// Plays one schedule, and gives what happened.
    ///
    /// # Errors
    /// If it breaks an invariant.
    pub fn play_schedule(&self, seed: u64, schedule: &Schedule) -> Result<History, Box<Broken>> {
        self.try_schedule(seed, schedule).map(|outcome| outcome.history)
    }

    fn try_schedule(&self, seed: u64, schedule: &Schedule) -> Result<Outcome<O>, Box<Broken>> {
        let patience = Patience { with_faults: CALM_STEPS, without_faults: CALM_STEPS };
        self.judged(seed, schedule, patience)
    }

    /// A run without faults: it must hold too, and shows how long a run is. It is the same for every
    /// search of the same things, so that a schedule depends on its seed only.
    fn calm(&self) -> Result<Outcome<O>, Box<Broken>> {
        self.try_schedule(CALM_SEED, &Schedule::default())
    }

    fn try_seed(
        &self,
        seed: u64,
        calm: &Outcome<O>,
        report: &mut Report,
    ) -> Result<(), Box<Broken>> {
        let scene = self.scene(calm.steps);
        let patience =
            Patience { with_faults: 6 * calm.steps, without_faults: 10 * calm.steps + 5_000 };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let config = Config { failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, random);
        let tree = scene.schedules().new_tree(&mut runner);
        let tree = tree.unwrap_or_else(|reason| unreachable!("nothing is filtered: {reason}"));
        match self.judged(seed, &tree.current(), patience) {
            Ok(outcome) => {
                report.add(&outcome);
                Ok(())
            }
            Err(broken) => Err(self.shrink(broken, tree, patience)),
        }
    }

    fn scene(&self, calm_steps: u64) -> Scene {
        Scene {
            members: self.setup.members,
            partitions: self.setup.partitions,
            effects: self.setup.effects(),
            operations: self.setup.operations(),
            outside: self.misfortunes.iter().map(|(name, _)| *name).collect(),
            faults_max: self.setup.faults_max,
            steps: calm_steps,
        }
    }

    /// The smallest schedule that is found to break the same invariant.
    fn shrink(
        &self,
        mut broken: Box<Broken>,
        mut tree: impl ValueTree<Value = Schedule>,
        patience: Patience,
    ) -> Box<Broken> {
        let mut can_go_on = tree.simplify();
        for _ in 0..SHRINKS_MAX {
            if !can_go_on {
                break;
            }
            let schedule = tree.current();
            can_go_on = match self.judged(broken.seed, &schedule, patience) {
                Err(smaller) if smaller.invariant == broken.invariant => {
                    broken = smaller;
                    tree.simplify()
                }
                Ok(_) | Err(_) => tree.complicate(),
            };
        }
        broken
    }

    /// Plays a schedule and judges it.
    fn judged(
        &self,
        seed: u64,
        schedule: &Schedule,
        patience: Patience,
    ) -> Result<Outcome<O>, Box<Broken>> {
        let broken = |invariant, reason, history| {
            Box::new(Broken { invariant, reason, seed, schedule: schedule.clone(), history })
        };
        let played = catch_unwind(AssertUnwindSafe(|| self.play(seed, schedule, patience)));
        let outcome = played.map_err(|panic| {
            let reason = panic.downcast_ref::<String>().cloned();
            let reason = reason.or_else(|| panic.downcast_ref::<&str>().map(|&s| s.to_owned()));
            broken(invariants::NO_PANIC, reason.unwrap_or_default(), None)
        })?;
        for (name, holds) in &self.invariants {
            if let Err(how) = holds(&outcome.history, &outcome.outside) {
                return Err(broken(name, how, Some(outcome.history)));
            }
        }
        Ok(outcome)
    }
}

impl<O> fmt::Debug for Search<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let invariants: Vec<_> = self.invariants.iter().map(|(name, _)| name).collect();
        f.debug_struct("Search")
            .field("schedules", &self.schedules)
            .field("seed", &self.seed)
            .field("invariants", &invariants)
            .finish_non_exhaustive()
    }
}
