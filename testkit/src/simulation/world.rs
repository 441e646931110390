//! The world of one run: its clocks, its generator, and the effects that happen in it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::future::BoxFuture;
use jobstream::record::Timestamp;
use tokio::time::Instant;

use super::history::{Occurrence, What, Who};
use crate::broker::{DEFAULT_WALL_CLOCK_MS, MemberId, Operation, When, Witness};
use crate::random::Random;

/// The name of an effect: `publish`, `commit`, `smtp MAIL`, or a name that a job sink gives.
pub type Effect = &'static str;

/// The effect of a job sink that is watched.
pub(super) const EXECUTE: Effect = "execute";

/// A handle to the world of one run; clones share it.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

struct Shared {
    seed: u64,
    started: Instant,
    state: Mutex<State>,
}

/// What has happened, and what the scheduler takes from it.
pub(super) struct State {
    pub(super) random: Random,
    pub(super) step: u64,
    /// The member that is being polled.
    pub(super) turn: Option<Who>,
    /// The moments at which the actor that was polled last has yielded.
    pub(super) reached: Vec<(Effect, When)>,
    /// How often each member reached each moment.
    pub(super) counts: BTreeMap<(usize, Effect, When), u64>,
    pub(super) entries: Vec<Occurrence>,
    pub(super) spawned: Vec<BoxFuture<'static, ()>>,
    pub(super) clock_jumps_ms: i64,
    /// The lives of members, by their names at the broker.
    pub(super) lives: BTreeMap<MemberId, Who>,
}

impl World {
    /// A world that begins now, by tokio's clock.
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            random: Random::seeded(seed),
            step: 0,
            turn: None,
            reached: Vec::new(),
            counts: BTreeMap::new(),
            entries: Vec::new(),
            spawned: Vec::new(),
            clock_jumps_ms: 0,
            lives: BTreeMap::new(),
        };
        let shared = Shared { seed, started: Instant::now(), state: Mutex::new(state) };
        Self { shared: Arc::new(shared) }
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.shared.seed
    }

    /// Time since the run began, by tokio's clock, which advances only when no actor is ready.
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// The wall clock, in milliseconds since 1970. Faults make it jump.
    pub fn wall_clock(&self) -> Timestamp {
        let elapsed_ms = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        DEFAULT_WALL_CLOCK_MS + elapsed_ms + self.state().clock_jumps_ms
    }

    /// Lets a future of the outside (a server's side of a connection) run until it ends. It is
    /// polled by the scheduler like the members, and does not crash with them.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.state().spawned.push(Box::pin(future));
    }

    /// Performs an effect, and yields once before and once after it: at both moments a crash can
    /// come, and other actors can be polled. After a drop, the effect has happened or not.
    pub async fn effect<T>(&self, name: Effect, effect: impl Future<Output = T>) -> T {
        self.reach(name, When::Before).await;
        let outcome = effect.await;
        self.reach(name, When::After).await;
        outcome
    }

    async fn reach(&self, name: Effect, when: When) {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            self.note_effect(name, when);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Notes that the actor that is being polled has reached a moment of an effect, at which it
    /// yields.
    pub(super) fn note_effect(&self, name: Effect, when: When) {
        let mut state = self.state();
        state.reached.push((name, when));
        if let Some(Who { member, .. }) = state.turn {
            *state.counts.entry((member, name, when)).or_default() += 1;
        }
        let turn = state.turn;
        self.push(&mut state, turn, What::Effect(name, when));
    }

    /// Notes something in the history.
    pub(super) fn note(&self, who: Option<Who>, what: What) {
        self.push(&mut self.state(), who, what);
    }

    fn push(&self, state: &mut State, who: Option<Who>, what: What) {
        let (at, step) = (self.elapsed(), state.step);
        state.entries.push(Occurrence { at, step, who, what });
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for World {
    fn on(&self, operation: Operation, when: When) {
        self.note_effect(effect_of(operation), when);
    }

    fn on_session_ended(&self, member: MemberId) {
        let who = self.state().lives.get(&member).copied();
        self.note(who, What::SessionEnded);
    }
}

/// The name of a broker's operation as an effect.
pub const fn effect_of(operation: Operation) -> Effect {
    match operation {
        Operation::Join => "join",
        Operation::Fetch => "fetch",
        Operation::Restore => "restore",
        Operation::BeginTransaction => "begin",
        Operation::Publish => "publish",
        Operation::Commit => "commit",
        Operation::EndTransaction => "end",
        Operation::Release => "release",
        Operation::Leave => "leave",
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.shared.seed).finish_non_exhaustive()
    }
}
