//! What a search has found.

use std::fmt;
use std::iter::Sum;
use std::time::Duration;

use super::history::History;
use super::run::Outcome;
use super::schedule::Schedule;
use super::scheduler::Crashes;
use super::world::Effect;

/// The figures of a search that has found nothing broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Schedules that were played.
    pub schedules: u64,
    /// Those of them in which a member crashed.
    pub crash_schedules: u64,
    /// Polls of the scheduler.
    pub steps: u64,
    /// Jobs of the first group, each counted once a schedule.
    pub jobs: u64,
    /// Crashes by the effect at which they came.
    pub crashes: Crashes,
    /// How long the search took, by the machine's clock.
    pub took: Duration,
}

impl Report {
    pub(super) fn add<O>(&mut self, outcome: &Outcome<O>) {
        self.schedules += 1;
        self.crash_schedules += u64::from(!outcome.crashes.is_empty());
        self.steps += outcome.steps;
        self.jobs += outcome.history.groups[0].inputs.len() as u64;
        self.crashes = added(std::mem::take(&mut self.crashes), &outcome.crashes);
    }

    /// How often members crashed before this effect or after it, whichever is less.
    pub fn least_crashes(&self, effect: Effect) -> u64 {
        self.crashes.get(effect).map_or(0, |(before, after)| *before.min(after))
    }

    /// Schedules that were played in a second.
    pub fn schedules_per_second(&self) -> f64 {
        self.schedules as f64 / self.took.as_secs_f64()
    }
}

/// For searches one after another.
impl Sum for Report {
    fn sum<I: Iterator<Item = Self>>(reports: I) -> Self {
        reports.fold(Self::default(), |sum, report| Self {
            schedules: sum.schedules + report.schedules,
            crash_schedules: sum.crash_schedules + report.crash_schedules,
            steps: sum.steps + report.steps,
            jobs: sum.jobs + report.jobs,
            crashes: added(sum.crashes, &report.crashes),
            took: sum.took + report.took,
        })
    }
}

fn added(mut sum: Crashes, crashes: &Crashes) -> Crashes {
    for (effect, (before, after)) in crashes {
        let counts = sum.entry(effect).or_default();
        counts.0 += before;
        counts.1 += after;
    }
    sum
}

/// The figures, and a table of the crashes.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { schedules, crash_schedules, steps, jobs, crashes, took } = self;
        let (seconds, rate) = (took.as_secs_f64(), self.schedules_per_second());
        writeln!(
            f,
            "{schedules} schedules, {crash_schedules} with a crash; {jobs} jobs, {steps} polls; \
             {seconds:.1} s, {rate:.0} schedules/s"
        )?;
        writeln!(f, "{:<20} {:>14} {:>14}", "crash at", "before it", "after it")?;
        for (effect, (before, after)) in crashes {
            writeln!(f, "{effect:<20} {before:>14} {after:>14}")?;
        }
        Ok(())
    }
}

/// A schedule that breaks an invariant.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The invariant's name.
    pub invariant: &'static str,
    /// How it is broken.
    pub reason: String,
    /// The seed of the run.
    pub seed: u64,
    /// The smallest schedule that was found to break it.
    pub schedule: Schedule,
    /// What happened; `None` if the run has panicked.
    pub history: Option<History>,
}

/// For people: what is broken, by which schedule, and the timeline.
impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, reason, seed, schedule, history } = self;
        writeln!(f, "broken: {invariant}\n  {reason}\n")?;
        if let Some(history) = history {
            writeln!(f, "{history}")?;
        }
        writeln!(f, "broken: {invariant}\n  {reason}\n")?;
        writeln!(f, "seed {seed}: found again by `.replay({seed})`, and in its smallest form by")?;
        writeln!(f, "`.play_schedule({seed}, &schedule)` with\n{schedule}")
    }
}

impl std::error::Error for Broken {}

/// The machine's clock. It measures a search, and never influences it.
pub(super) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "what is measured is the real time of a search")]
    pub(super) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(super) fn took(&self) -> Duration {
        self.0.elapsed()
    }
}
