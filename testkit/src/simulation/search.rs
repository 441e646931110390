//! The search for a schedule that breaks an invariant.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic};
use jobstream::topology::{Limits, Topology};

use super::fault::{Fault, Trigger};
use super::group::{Delivery, Group};
use super::history::History;
use super::member::Member;
use super::report::{Broken, Report, Stopwatch};
use super::schedule::Schedule;
use super::setup::Setup;
use super::trial::CALM_SEED;
use super::world::{Effect, World, effect_of};

/// The name of the first group of a search.
const GROUP: &str = "simulation";
/// By default a member is started again after this many polls.
pub(super) const RESTART_STEPS: u64 = 30;

/// Makes something go wrong outside.
pub(super) type Strike<O> = Box<dyn Fn(&O)>;
pub(super) type Invariant<O> = Box<dyn Fn(&History, &O) -> Result<(), String>>;

/// A search. `O` is the outside: what the jobs have an effect on, made anew for every run.
pub struct Search<O = ()> {
    pub(super) outside: Box<dyn Fn(&World) -> O>,
    pub(super) misfortunes: Vec<(&'static str, Strike<O>)>,
    /// Effects, each with the misfortune that causes it.
    pub(super) brought_about: Vec<(Effect, &'static str)>,
    pub(super) heal: fn(&O),
    pub(super) setup: Setup<O>,
    /// The invariants of this search, beside the general ones.
    pub(super) invariants: Vec<(&'static str, Invariant<O>)>,
    schedules: u64,
    seed: u64,
}

impl<O: Default + Send + Sync + 'static> Search<O> {
    /// A search over the topology that is made for each life of a member, with the default of `O`
    /// as outside.
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
        let nothing_yet: [Topic; 0] = [];
        Self::chain(outside, [Group::new(GROUP, nothing_yet, topology)])
    }

    /// A search over several groups, where the outputs of one group are the jobs of others. Each
    /// group has settings of its own; all topics that they consume have as many partitions as that
    /// of the workload.
    ///
    /// # Panics
    /// If there is no group.
    pub fn chain(
        outside: impl Fn(&World) -> O + 'static,
        groups: impl IntoIterator<Item = Group<O>>,
    ) -> Self {
        let groups: Vec<_> = groups.into_iter().collect();
        assert!(!groups.is_empty(), "a search is over one group at least");
        Self {
            outside: Box::new(outside),
            misfortunes: Vec::new(),
            brought_about: Vec::new(),
            heal: |_| (),
            setup: Setup::of(groups),
            invariants: Vec::new(),
            schedules: 100,
            seed: 0,
        }
    }

    /// The jobs of a run, made from its seed, for a topic with this many partitions. Half of them
    /// are produced before the run begins.
    #[must_use]
    pub fn workload(
        mut self,
        topic: impl Into<Topic>,
        partitions: i32,
        jobs: impl Fn(u64) -> Vec<ProducerRecord> + 'static,
    ) -> Self {
        (self.setup.input, self.setup.partitions) = (topic.into(), partitions);
        self.setup.jobs = Box::new(jobs);
        let first = &mut self.setup.groups[0];
        if first.topics.is_empty() {
            first.topics.push(self.setup.input.clone());
        }
        self
    }

    fn first(mut self, change: impl FnOnce(Group<O>) -> Group<O>) -> Self {
        let group = self.setup.groups.remove(0);
        self.setup.groups.insert(0, change(group));
        self
    }

    /// A topic for outputs, or for dead letters.
    #[must_use]
    pub fn outputs(mut self, topic: impl Into<Topic>, partitions: i32) -> Self {
        self.setup.outputs.insert(topic.into(), partitions);
        self
    }

    /// See [`Group::state`].
    #[must_use]
    pub fn state(self, topic: impl Into<Topic>) -> Self {
        self.first(|group| group.state(topic))
    }

    /// See [`Group::identified_by`].
    #[must_use]
    pub fn identified_by(self, identity: fn(&ConsumerRecord) -> Option<Bytes>) -> Self {
        self.first(|group| group.identified_by(identity))
    }

    /// See [`Group::delivery`].
    #[must_use]
    pub fn delivery(self, delivery: Delivery) -> Self {
        self.first(|group| group.delivery(delivery))
    }

    /// See [`Group::members`].
    #[must_use]
    pub fn members(self, members: usize) -> Self {
        self.first(|group| group.members(members))
    }

    /// See [`Group::limits`].
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        self.first(|group| group.limits(limits))
    }

    /// See [`Group::attempt_timeout`].
    #[must_use]
    pub fn attempt_timeout(self, timeout: Duration) -> Self {
        self.first(|group| group.attempt_timeout(timeout))
    }

    /// See [`Group::limited_by`].
    #[must_use]
    pub fn limited_by(
        self,
        key: fn(&ConsumerRecord) -> Option<Bytes>,
        executing_max: usize,
    ) -> Self {
        self.first(|group| group.limited_by(key, executing_max))
    }

    /// See [`Group::attempts_max`].
    #[must_use]
    pub fn attempts_max(self, attempts: u32) -> Self {
        self.first(|group| group.attempts_max(attempts))
    }

    /// Effects of the job sink, at which faults strike too.
    #[must_use]
    pub fn effects(mut self, effects: impl IntoIterator<Item = Effect>) -> Self {
        self.setup.effects.extend(effects);
        self
    }

    /// The effects at which faults strike: those of sources, sinks and stores, and those that were
    /// added.
    pub fn known_effects(&self) -> BTreeSet<Effect> {
        let operations = self.setup.groups.iter().flat_map(Group::operations);
        operations.map(effect_of).chain(self.setup.effects.iter().copied()).collect()
    }

    /// Something that can go wrong outside, as a fault of schedules.
    #[must_use]
    pub fn misfortune(mut self, name: &'static str, strike: impl Fn(&O) + 'static) -> Self {
        self.misfortunes.push((name, Box::new(strike)));
        self
    }

    /// An effect that does not occur without this misfortune: a crash at it is drawn together with
    /// the misfortune.
    #[must_use]
    pub fn brought_about(mut self, effect: Effect, misfortune: &'static str) -> Self {
        self.brought_about.push((effect, misfortune));
        self
    }

    /// Ends the misfortunes of the outside, so that a run can come to rest.
    #[must_use]
    pub fn healed_by(mut self, heal: fn(&O)) -> Self {
        self.heal = heal;
        self
    }

    /// An invariant that must hold after every run, beside the [general ones](super::invariants).
    #[must_use]
    pub fn invariant(
        mut self,
        name: &'static str,
        holds: impl Fn(&History, &O) -> Result<(), String> + 'static,
    ) -> Self {
        self.invariants.push((name, Box::new(holds)));
        self
    }

    /// How many schedules are tried; 100 by default.
    #[must_use]
    pub const fn schedules(mut self, schedules: u64) -> Self {
        self.schedules = schedules;
        self
    }

    /// The seed of the first schedule; the next schedules have the next numbers. 0 by default.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The most faults of a schedule; 8 by default.
    #[must_use]
    pub const fn faults_max(mut self, faults: usize) -> Self {
        self.setup.faults_max = faults;
        self
    }

    /// Tries the schedules.
    ///
    /// # Errors
    /// The first schedule that breaks an invariant, made as small as possible.
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

    /// Crashes each member at each of its polls, one crash in each run: every crash that is
    /// possible without another fault.
    ///
    /// # Errors
    /// The first schedule that breaks an invariant.
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

    /// Plays one schedule, and returns what happened.
    ///
    /// # Errors
    /// If it breaks an invariant.
    pub fn play_schedule(&self, seed: u64, schedule: &Schedule) -> Result<History, Box<Broken>> {
        self.try_schedule(seed, schedule).map(|outcome| outcome.history)
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
