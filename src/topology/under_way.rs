//! The effects on the broker that are under way, and what may begin beside them.
//!
//! A sink that commits positions has one effect at a time, so that no position overtakes another. One
//! that leaves them to the source may have several batches under way, and a commit beside them: the
//! commit tells only of records that were acknowledged before it began.
//!
//! Batches that overlap are kept alike. If each began as soon as it had an output, small ones would
//! soon have all the places; everything else would gather behind them to one large batch, and the
//! next small ones wait for that: records in bursts, and time with nothing to do between them.

use std::time::Duration;

use futures::future::{BoxFuture, pending};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;

use super::effect::Effect;

/// Batches that may be small beside each other.
const SMALL_BATCHES: usize = 2;
/// Outputs of a batch that is worth a place beside those.
const LARGE_BATCH_OUTPUTS: usize = 2_048;
/// The longest that outputs wait to be so many, while a place is free.
const SMALL_BATCH_WAIT: Duration = Duration::from_millis(50);

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

    /// When so many outputs are worth a batch that have been there since then.
    pub(super) fn publish_due(&self, outputs: usize, since: Instant) -> Instant {
        let is_due = self.publishes < SMALL_BATCHES || outputs >= LARGE_BATCH_OUTPUTS;
        if is_due { since } else { since + SMALL_BATCH_WAIT }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn beside_two_others_a_batch_waits_until_it_is_large_but_not_for_ever() {
        let (mut under_way, since) = (UnderWay::new(4), Instant::now());
        for _ in 0..SMALL_BATCHES {
            assert_eq!(under_way.publish_due(1, since), since);
            under_way.publish(Box::pin(pending()));
        }
        assert!(under_way.may_publish());
        assert_eq!(under_way.publish_due(1, since), since + SMALL_BATCH_WAIT);
        assert_eq!(under_way.publish_due(LARGE_BATCH_OUTPUTS, since), since);
    }
}
