//! When the loops of the runs last turned.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::topology::RunId;
use tokio::time::Instant;

use super::check::Finding;

/// The moment at which each run's loop last turned, of the runs that have not ended.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<RunId, Instant>>);

impl Turns {
    pub(super) fn turned(&self, run: RunId) {
        self.all().insert(run, Instant::now());
    }

    pub(super) fn ended(&self, run: RunId) {
        self.all().remove(&run);
    }

    /// Whether every loop has turned no longer ago than `limit`: none hides behind another.
    pub(super) fn within(&self, limit: Duration) -> Finding {
        let all = self.all();
        let Some(age) = all.values().map(Instant::elapsed).max() else {
            return Ok("no run is under way".to_owned());
        };
        let seconds = age.as_secs_f64();
        if age <= limit {
            return Ok(format!("the loop turned {seconds:.1} s ago"));
        }
        let (stand, runs) = (all.values().filter(|at| at.elapsed() > limit).count(), all.len());
        Err(format!(
            "the loop turned {seconds:.1} s ago, expected at most {} s ({stand} of {runs} runs)",
            limit.as_secs()
        ))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<RunId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
