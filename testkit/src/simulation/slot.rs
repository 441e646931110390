//! The place of a member: its current life, if any, and what is planned for it.

use std::sync::Arc;
use std::task::Poll;

use futures::future::BoxFuture;
use jobstream::topology::{Drained, RunError};
use tokio::sync::watch;

use super::actor::{Actor, Bell};
use super::world::Effect;
use crate::broker::{MemberId, When};

/// How a member's run ends.
pub(super) type Ended = Result<Drained, RunError>;

/// A life of a member: its future, its name at the broker, and how it is asked to stop.
pub(super) struct Life {
    pub(super) run: BoxFuture<'static, Ended>,
    pub(super) id: MemberId,
    pub(super) stop: watch::Sender<bool>,
}

/// The moments of effects that a poll of a member has reached.
pub(super) type Reached = Vec<(Effect, When)>;

/// The place of a member. Times are steps of the scheduler.
pub(super) struct Slot {
    life: Option<Living>,
    lives: u32,
    polls: u64,
    reached: Reached,
    restart_at: Option<u64>,
}

/// A life under way.
pub(super) struct Living {
    actor: Actor<Ended>,
    id: MemberId,
    stop: watch::Sender<bool>,
    paused_until: Option<u64>,
    /// Until this step it does not learn that its session has ended.
    unaware_until: Option<u64>,
}

/// What is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) starts: bool,
    pub(super) wakes: bool,
    pub(super) learns: bool,
}

impl Living {
    pub(super) const fn id(&self) -> MemberId {
        self.id
    }

    pub(super) fn can_go_on(&self) -> bool {
        self.paused_until.is_none() && self.actor.is_ready()
    }

    pub(super) fn due(&self, step: u64) -> Due {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= step);
        Due { starts: false, wakes: is_due(self.paused_until), learns: is_due(self.unaware_until) }
    }

    /// Polls it, unless it is paused.
    pub(super) fn poll(&mut self) -> Option<Poll<Ended>> {
        self.paused_until.is_none().then(|| self.actor.poll())
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    pub(super) const fn wake(&mut self) {
        self.paused_until = None;
    }

    /// Until when it does not learn that its session has ended; `None` means that it learns of it
    /// now.
    pub(super) const fn set_unaware(&mut self, until: Option<u64>) {
        self.unaware_until = until;
    }

    /// Asks it to stop. Returns whether it had not been asked before.
    pub(super) fn ask_to_stop(&self) -> bool {
        !self.stop.send_replace(true)
    }
}

impl Slot {
    /// A place whose member begins its first life at once.
    pub(super) const fn new() -> Self {
        Self { life: None, lives: 0, polls: 0, reached: Vec::new(), restart_at: Some(0) }
    }

    /// How many lives its member has had.
    pub(super) const fn lives(&self) -> u32 {
        self.lives
    }

    /// The polls of its member so far, in all its lives.
    pub(super) const fn polls(&self) -> u64 {
        self.polls
    }

    pub(super) fn id(&self) -> Option<MemberId> {
        self.life.as_ref().map(|living| living.id)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.life.as_ref().is_some_and(Living::is_paused)
    }

    /// Whether its member can be polled.
    pub(super) fn can_go_on(&self) -> bool {
        self.life.as_ref().is_some_and(Living::can_go_on)
    }

    /// Whether its member does not run, and no restart is planned.
    pub(super) const fn is_over(&self) -> bool {
        self.life.is_none() && self.restart_at.is_none()
    }

    pub(super) fn due(&self, step: u64) -> Due {
        let starts = self.restart_at.is_some_and(|at| at <= step);
        let vacant = Due { starts, ..Due::default() };
        self.life.as_ref().map_or(vacant, |living| living.due(step))
    }

    /// Counts a poll of its member, and returns the number of polls before it.
    pub(super) const fn count_poll(&mut self) -> u64 {
        self.polls += 1;
        self.polls - 1
    }

    /// Polls its member, if it runs and is not paused.
    pub(super) fn poll(&mut self) -> Option<Poll<Ended>> {
        self.life.as_mut()?.poll()
    }

    /// The moments that the last poll of its member has reached.
    pub(super) fn reached(&self) -> &Reached {
        &self.reached
    }

    pub(super) fn set_reached(&mut self, reached: &Reached) {
        self.reached.clone_from(reached);
    }

    /// Counts the next life, which begins now.
    pub(super) const fn next_life(&mut self) -> u32 {
        self.restart_at = None;
        self.lives += 1;
        self.lives
    }

    pub(super) fn begin(&mut self, Life { run, id, stop }: Life, bell: &Arc<Bell>) {
        let actor = Actor::new(run, bell);
        self.life = Some(Living { actor, id, stop, paused_until: None, unaware_until: None });
    }

    /// Ends the life of its member here, and returns it.
    pub(super) const fn end(&mut self) -> Option<Living> {
        self.life.take()
    }

    /// Plans when its member is started again; `None` is never.
    pub(super) const fn set_restart(&mut self, at: Option<u64>) {
        self.restart_at = at;
    }

    pub(super) const fn restarts(&self) -> bool {
        self.restart_at.is_some()
    }

    /// Stops polling its member until this step.
    pub(super) fn pause(&mut self, until: u64) {
        self.life.iter_mut().for_each(|living| living.paused_until = Some(until));
    }

    pub(super) fn wake(&mut self) {
        self.life.iter_mut().for_each(Living::wake);
    }

    /// Until when its member does not learn that its session has ended; `None` means that it learns
    /// of it now.
    pub(super) fn set_unaware(&mut self, until: Option<u64>) {
        self.life.iter_mut().for_each(|living| living.set_unaware(until));
    }

    /// Asks its member to stop. Returns whether it had not been asked before.
    pub(super) fn ask_to_stop(&self) -> bool {
        self.life.as_ref().is_some_and(Living::ask_to_stop)
    }
}
