//! The effects on the broker that are under way, and what may begin beside them.
//!
//! A sink that commits positions has one effect at a time, so that no position overtakes another. One
//! that leaves them to the source may have several batches under way, and a commit beside them: the
//! commit tells only of records that were acknowledged before it began.

use futures::future::{BoxFuture, pending};
use futures::stream::{FuturesUnordered, StreamExt};

use super::effect::Effect;

/// Publishes, commits and hand-overs under way.
pub(super) struct UnderWay<'a> {
    effects: FuturesUnordered<BoxFuture<'a, Effect>>,
    /// How many of them are publishes.
    publishes: usize,
    publishes_at_once: usize,
}

impl<'a> UnderWay<'a> {
    pub(super) fn new(publishes_at_once: usize) -> Self {
        Self { effects: FuturesUnordered::new(), publishes: 0, publishes_at_once }
    }

    /// Whether publishes overlap each other and a commit: their batches carry no positions.
    pub(super) const fn overlaps(&self) -> bool {
        self.publishes_at_once > 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.effects.is_empty()
    }

    pub(super) fn may_publish(&self) -> bool {
        if self.overlaps() { self.publishes < self.publishes_at_once } else { self.is_empty() }
    }

    pub(super) fn may_commit(&self) -> bool {
        self.effects.len() == if self.overlaps() { self.publishes } else { 0 }
    }

    pub(super) fn publish(&mut self, publish: BoxFuture<'a, Effect>) {
        self.publishes += 1;
        self.effects.push(publish);
    }

    /// Begins a commit or a hand-over.
    pub(super) fn begin(&mut self, effect: BoxFuture<'a, Effect>) {
        self.effects.push(effect);
    }

    /// The next effect that ends; never, if there is none. Cancelled, all of them stay.
    pub(super) async fn next(&mut self) -> Effect {
        let Some(effect) = self.effects.next().await else { return pending().await };
        self.publishes -= usize::from(matches!(effect, Effect::Published(..)));
        effect
    }

    /// Drops all of them, as a crash would.
    pub(super) fn clear(&mut self) {
        self.effects.clear();
        self.publishes = 0;
    }
}
