//! One schedule: made from its seed, played, checked, and shrunk if it breaks an invariant.

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::invariants;
use super::report::{Broken, Report};
use super::run::{Outcome, Patience};
use super::schedule::Schedule;
use super::search::{Invariant, Search};

/// How often a failing schedule is played to shrink it.
const SHRINKS_MAX: usize = 150;
/// A run without faults should come to rest within this many polls of the scheduler.
const CALM_STEPS: u64 = 200_000;
/// The seed of the run without faults.
pub(super) const CALM_SEED: u64 = 0;

impl<O: Send + Sync + 'static> Search<O> {
    pub(super) fn try_schedule(
        &self,
        seed: u64,
        schedule: &Schedule,
    ) -> Result<Outcome<O>, Box<Broken>> {
        let patience = Patience { with_faults: CALM_STEPS, without_faults: CALM_STEPS };
        self.judged(seed, schedule, patience)
    }

    /// Plays a run without faults. The invariants must hold in it too, and it shows how long a run
    /// is. It is the same for every search of the same setup, so that a schedule depends on its
    /// seed only.
    pub(super) fn calm(&self) -> Result<Outcome<O>, Box<Broken>> {
        self.try_schedule(CALM_SEED, &Schedule::default())
    }

    pub(super) fn try_seed(
        &self,
        seed: u64,
        calm: &Outcome<O>,
        report: &mut Report,
    ) -> Result<(), Box<Broken>> {
        let scene = self.scene(seed, calm);
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

    /// Plays a schedule and checks the invariants.
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
        match self.judge(&outcome) {
            Some((name, how)) => Err(broken(name, how, Some(outcome.history))),
            None => Ok(outcome),
        }
    }

    /// The first invariant that is broken, and how.
    fn judge(
        &self,
        Outcome { history, outside, .. }: &Outcome<O>,
    ) -> Option<(&'static str, String)> {
        for (name, holds) in invariants::ALL {
            for group in &history.groups {
                if let Err(how) = holds(history, group) {
                    return Some((name, how));
                }
            }
        }
        let broken = |(name, holds): &(&'static str, Invariant<O>)| {
            holds(history, outside).err().map(|how| (*name, how))
        };
        self.invariants.iter().find_map(broken)
    }
}
