//! The rate limit: a token bucket.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets a number of mails a second through, in the order in which they come, and after a pause up
/// to a burst of them at once.
///
/// It is a token bucket, counted by the time at which it is full again (the generic cell rate
/// algorithm).
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    tolerance: Duration,
    full_at: Mutex<Option<Instant>>,
}

impl Rate {
    pub(super) fn new(mails_per_second: NonZeroU32, burst_mails: NonZeroU32) -> Self {
        let interval = Duration::from_secs(1) / mails_per_second.get();
        let tolerance = interval * (burst_mails.get() - 1);
        Self { interval, tolerance, full_at: Mutex::new(None) }
    }

    /// Completes when the next mail may go. A dropped future's turn is lost, nobody else's.
    pub(super) async fn take(&self) {
        let turn = self.turn(Instant::now());
        sleep_until(turn).await;
    }

    /// Whoever waits for a turn has left: turns that were not due yet are free again.
    pub(super) fn void_turns(&self) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let emptied = Instant::now() + self.tolerance + self.interval;
        *full_at = full_at.map(|full| full.min(emptied));
    }

    fn turn(&self, now: Instant) -> Instant {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.map_or(now, |full| full.max(now));
        *full_at = Some(full + self.interval);
        full.checked_sub(self.tolerance).unwrap_or(now).max(now)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::Instant;

    use super::Rate;

    async fn seconds_for(mails: u32, rate: &Rate) -> f64 {
        let start = Instant::now();
        for _ in 0..mails {
            rate.take().await;
        }
        start.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_the_rate_and_a_burst_go_through() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate::new(number(10), number(1));
        assert!((seconds_for(21, &rate).await - 2.0).abs() < 0.02);
        let rate = Rate::new(number(10), number(5));
        assert!((seconds_for(25, &rate).await - 2.0).abs() < 0.02);
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!((seconds_for(25, &rate).await - 2.0).abs() < 0.02);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_of_those_who_have_left_hold_up_nobody() {
        let number = |n| NonZeroU32::new(n).unwrap();
        let rate = Rate::new(number(10), number(5));
        let mut waiting: Vec<_> = (0..1_000).map(|_| Box::pin(rate.take())).collect();
        assert_eq!(waiting.iter_mut().filter_map(FutureExt::now_or_never).count(), 5);
        drop(waiting);
        rate.void_turns();
        assert!((seconds_for(11, &rate).await - 1.1).abs() < 0.02);
    }
}
