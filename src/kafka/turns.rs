//! The transactional producers of one pair, which take turns.
//!
//! ```text
//!  first    begin ─▶ … ─▶ commit · · markers · ·   begin ─▶ … ─▶ commit · ·
//!  second                        begin ─▶ … ─▶ commit · · markers · ·
//! ```
//!
//! A commit is acknowledged before the coordinator has written its markers to the partitions. Until
//! then it refuses the producer's next transaction (`CONCURRENT_TRANSACTIONS`), and librdkafka asks
//! again after 20 ms only, which is longer than a small transaction takes. Where jobs wait for
//! commits, a second producer begins meanwhile.
//!
//! # Invariant
//! One transaction is open at a time, of the producer whose turn it is: the turn goes on once a
//! commit was acknowledged. So offsets come to the group's coordinator in the order of transactions,
//! and stay in it whichever markers come first: it keeps those that lie later in its log. Who reads
//! the group's positions waits for the markers of all of them (KIP-447).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ConfigError, KafkaConfig};
use crate::sinks::kafka::Producer;

/// Producers, and whose turn it is.
pub(super) struct Turns {
    config: KafkaConfig,
    state: Mutex<State>,
}

struct State {
    /// With the transactional id of each; never empty.
    producers: Vec<(String, Arc<Producer>)>,
    turn: usize,
    /// Whether a transaction is open, perhaps of a publish that was cancelled.
    has_begun: bool,
}

impl Turns {
    /// Makes the producers, whose ids begin with `id`. No broker need be there yet.
    pub(super) fn new(config: &KafkaConfig, id: &str) -> Result<Self, ConfigError> {
        let second = config.commits_soon().then(|| format!("{id}-second"));
        let ids = [id.to_owned()].into_iter().chain(second);
        let producers = ids.map(|id| Ok((id.clone(), producer(config, &id)?)));
        let producers = producers.collect::<Result<_, ConfigError>>()?;
        let state = Mutex::new(State { producers, turn: 0, has_begun: false });
        Ok(Self { config: config.clone(), state })
    }

    /// All of them, with their transactional ids.
    pub(super) fn all(&self) -> Vec<(String, Arc<Producer>)> {
        self.state().producers.clone()
    }

    /// The one whose turn it is.
    pub(super) fn current(&self) -> Arc<Producer> {
        let state = self.state();
        state.producers[state.turn].1.clone()
    }

    /// Whether a transaction is open.
    pub(super) fn has_begun(&self) -> bool {
        self.state().has_begun
    }

    /// A transaction was begun.
    pub(super) fn begun(&self) {
        self.state().has_begun = true;
    }

    /// The transaction was committed: it is the next one's turn.
    pub(super) fn committed(&self) {
        let mut state = self.state();
        state.has_begun = false;
        state.turn = (state.turn + 1) % state.producers.len();
    }

    /// The transaction was aborted, or is given up. The same producer goes on: what an abort has left
    /// behind is its own.
    pub(super) fn aborted(&self) {
        self.state().has_begun = false;
    }

    /// Replaces the one whose turn it is by a new one with the same id, and returns that.
    pub(super) fn replace(&self) -> Result<Arc<Producer>, ConfigError> {
        let mut state = self.state();
        let turn = state.turn;
        let new = producer(&self.config, &state.producers[turn].0)?;
        let fenced = std::mem::replace(&mut state.producers[turn].1, new.clone());
        state.has_begun = false;
        drop(state);
        // Its end takes a while.
        drop(fenced);
        Ok(new)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn producer(config: &KafkaConfig, id: &str) -> Result<Arc<Producer>, ConfigError> {
    Ok(Arc::new(Producer::new(config, Some(id))?))
}
