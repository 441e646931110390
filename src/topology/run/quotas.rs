//! What the jobs of one key may use: how many execute at once, and how often an attempt begins.
//!
//! ```text
//!                                   ┌──▶ later ──┐ the rate's time has come
//!                                   │            ▼
//!  wait ──▶ due · new, of each key ─┴─────────▶ turns ──▶ next ──▶ executing ──▶ ended
//! ```
//!
//! A key *has a turn* while it has a job that may begin. The keys that have one take turns, so that
//! a key with many jobs keeps no other one from beginning. Of one key, a job whose next attempt is
//! due goes before those that are new, which go in the order of their offsets.
//!
//! A hash stands for the key. Two keys with the same hash share what is one key's, and no key is
//! kept in memory.
//!
//! # Why a key with many jobs holds up its partition
//!
//! Records are taken in in the order of their offsets, since a position names what is finished by
//! them. So what stands behind a flood of one key can only be reached through it. Without a bound
//! of its own the flood would fill what is in flight, and hold up every partition. The bound is no
//! number, but what is left free: any fixed share would be too little for one key, or too much for
//! ten. Shared-memory switches bound their queues so (Choudhury and Hahne, *Dynamic queue length
//! thresholds*, 1998).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use tokio::time::Instant;

use super::super::limits::KeyLimits;
use super::super::stages::KeyHash;
use super::capacity::ByKeys;
use super::lanes::Hashed;

/// Keys without a job whose rate is still known, at most. Above it, those are forgotten of which
/// the most time has passed: the next attempt of such a key may begin too early.
const KNOWN_RATES_MAX: usize = 65_536;

/// The keys that have jobs in flight, and those whose rate counts still.
pub(super) struct Quotas<J> {
    limits: KeyLimits,
    quotas: HashMap<KeyHash, Quota<J>, BuildHasherDefault<Hashed>>,
    /// The keys that have a turn, the next one first.
    turns: VecDeque<KeyHash>,
    /// The keys that wait for their rate, by when its time has come.
    later: BTreeSet<(Instant, KeyHash)>,
    /// The keys that have no job, by when nothing is left to be known of their rate.
    idle: BTreeSet<(Instant, KeyHash)>,
    /// What the jobs of all keys hold.
    held: ByKeys,
}

struct Quota<J> {
    held: ByKeys,
    due: VecDeque<J>,
    new: VecDeque<J>,
    /// When the rate has no memory of what has begun.
    full_at: Option<Instant>,
    turn: Queued,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queued {
    None,
    InLine,
    Later,
}

impl<J> Quota<J> {
    const fn new() -> Self {
        Self {
            held: ByKeys::NONE,
            due: VecDeque::new(),
            new: VecDeque::new(),
            full_at: None,
            turn: Queued::None,
        }
    }

    fn may_begin(&self, executing_max: usize) -> bool {
        self.held.executing.jobs < executing_max && !(self.due.is_empty() && self.new.is_empty())
    }

    const fn has_no_job(&self) -> bool {
        self.held.held().jobs == 0
    }
}

impl<J: Copy> Quotas<J> {
    pub(super) fn new(limits: KeyLimits) -> Self {
        Self {
            limits,
            quotas: HashMap::default(),
            turns: VecDeque::new(),
            later: BTreeSet::new(),
            idle: BTreeSet::new(),
            held: ByKeys::NONE,
        }
    }

    /// Whether no key is known.
    pub(super) fn is_empty(&self) -> bool {
        self.quotas.is_empty()
    }

    /// A job of the key is in flight.
    pub(super) fn enter(&mut self, key: KeyHash, size_bytes: usize) {
        let quota = self.quotas.entry(key).or_insert_with(Quota::new);
        if let Some(full_at) = quota.full_at.filter(|_| quota.has_no_job()) {
            self.idle.remove(&(full_at, key));
        }
        quota.held.waiting.add(size_bytes);
        self.held.waiting.add(size_bytes);
    }

    /// A job of the key, which does not execute, is done or in flight no more.
    pub(super) fn leave(&mut self, key: KeyHash, size_bytes: usize) {
        let Entry::Occupied(mut entry) = self.quotas.entry(key) else { return };
        let quota = entry.get_mut();
        quota.held.waiting.remove(size_bytes);
        self.held.waiting.remove(size_bytes);
        if !quota.has_no_job() {
            return;
        }
        match quota.full_at {
            Some(full_at) => drop(self.idle.insert((full_at, key))),
            None if quota.turn == Queued::None => drop(entry.remove()),
            None => {}
        }
        if self.idle.len() > KNOWN_RATES_MAX {
            self.forget_first();
        }
    }

    /// A job of the key waits until it may begin: it is new, or its next attempt is due.
    pub(super) fn wait(&mut self, key: KeyHash, job: J, is_due: bool) {
        if let Some(quota) = self.quotas.get_mut(&key) {
            if is_due { &mut quota.due } else { &mut quota.new }.push_back(job);
            self.line_up(key);
        }
    }

    /// The next job to begin, which executes from now on.
    pub(super) fn next(&mut self, now: Instant, size_bytes: impl Fn(J) -> usize) -> Option<J> {
        while let Some((at, key)) = self.later.first().copied()
            && at <= now
        {
            self.later.pop_first();
            self.set_turn(key, Queued::None);
            self.line_up(key);
        }
        while let Some(key) = self.turns.pop_front() {
            self.set_turn(key, Queued::None);
            if let Some(job) = self.take(key, now, &size_bytes) {
                self.line_up(key);
                return Some(job);
            }
            self.forget_if_unused(key);
        }
        while self.idle.first().is_some_and(|(full_at, _)| *full_at <= now) {
            self.forget_first();
        }
        None
    }

    /// A job of the key executes no more.
    pub(super) fn ended(&mut self, key: KeyHash, size_bytes: usize) {
        if let Some(quota) = self.quotas.get_mut(&key) {
            quota.held.has_ended(size_bytes);
            self.held.has_ended(size_bytes);
            self.line_up(key);
        }
    }

    /// When the next key's rate lets an attempt begin.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// What the jobs of the key hold.
    pub(super) fn held_of(&self, key: KeyHash) -> ByKeys {
        self.quotas.get(&key).map_or(ByKeys::NONE, |quota| quota.held)
    }

    /// What the jobs of all keys hold.
    pub(super) const fn held(&self) -> ByKeys {
        self.held
    }

    /// Takes the jobs for which `condition` holds out of those that wait.
    pub(super) fn take_out(&mut self, condition: impl Fn(J) -> bool) -> Vec<J> {
        let mut taken = Vec::new();
        for quota in self.quotas.values_mut() {
            for jobs in [&mut quota.due, &mut quota.new] {
                jobs.retain(|job| {
                    let is_taken = condition(*job);
                    taken.extend(is_taken.then_some(*job));
                    !is_taken
                });
            }
        }
        taken
    }

    /// Takes the next job of a key whose turn it is, or lets the key wait for its rate.
    fn take(&mut self, key: KeyHash, now: Instant, size_bytes: impl Fn(J) -> usize) -> Option<J> {
        let limits = self.limits;
        let quota = self.quotas.get_mut(&key)?;
        if !quota.may_begin(limits.executing_max()) {
            return None;
        }
        if !limits.attempt_interval.is_zero() {
            let full_at = quota.full_at.map_or(now, |full_at| full_at.max(now));
            let at = full_at.checked_sub(limits.tolerance()).unwrap_or(now);
            if at > now {
                quota.turn = Queued::Later;
                self.later.insert((at, key));
                return None;
            }
            quota.full_at = Some(full_at + limits.attempt_interval);
        }
        let job = quota.due.pop_front().or_else(|| quota.new.pop_front())?;
        let size_bytes = size_bytes(job);
        quota.held.has_begun(size_bytes);
        self.held.has_begun(size_bytes);
        Some(job)
    }

    /// Gives a key a turn if it has a job that may begin.
    fn line_up(&mut self, key: KeyHash) {
        let most = self.limits.executing_max();
        let Some(quota) = self.quotas.get_mut(&key) else { return };
        if quota.turn == Queued::None && quota.may_begin(most) {
            quota.turn = Queued::InLine;
            self.turns.push_back(key);
        }
    }

    fn set_turn(&mut self, key: KeyHash, turn: Queued) {
        self.quotas.get_mut(&key).into_iter().for_each(|quota| quota.turn = turn);
    }

    /// Forgets a key that has had no job when its turn came.
    fn forget_if_unused(&mut self, key: KeyHash) {
        if self.quotas.get(&key).is_some_and(|quota| quota.has_no_job() && quota.full_at.is_none())
        {
            self.quotas.remove(&key);
        }
    }

    /// Forgets the key without a job of which the most time has passed.
    fn forget_first(&mut self) {
        if let Some((_, key)) = self.idle.pop_first() {
            self.quotas.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
