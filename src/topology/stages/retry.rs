//! How often, how long and how far apart a job is tried.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::record::ConsumerRecord;
use crate::sinks::Ambiguous;

/// The limits of a job's attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts at most, the first included, at least 1; `None` leaves it to the deadline alone.
    pub attempts: Option<u32>,
    /// No wait for an attempt ends later than this after the first one ended. Time in which the job
    /// sink was unavailable does not count.
    pub deadline: Duration,
    /// The wait before the second attempt; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest back-off between two attempts. A job sink can ask for a longer wait
    /// ([`JobError::not_before`](crate::sinks::JobError::not_before)), which the deadline alone bounds.
    pub max_delay: Duration,
    /// How long an attempt may take, from its begin, without the time in which it
    /// [waits](crate::sinks::Effect::wait_for) for its turn; `None` leaves it to the job sink. When it is over the attempt is dropped, and the job sink says
    /// [what has come of it](crate::sinks::JobSink::timed_out): ambiguous, if it says nothing. Within
    /// a [ledger](crate::sinks::ledger) it counts from when the intent is durable.
    pub attempt_timeout: Option<Duration>,
    /// What is done with a job that was executed or not.
    pub ambiguous: Ambiguous,
}

impl Default for Retry {
    /// See [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// As many attempts as fit into an hour, from 500 ms to 5 minutes apart, so that greylisting is
    /// survived; no time limit of an attempt; ambiguous jobs are sent again.
    pub const fn new() -> Self {
        Self {
            attempts: None,
            deadline: Duration::from_secs(3_600),
            first_delay: Duration::from_millis(500),
            max_delay: Duration::from_secs(300),
            attempt_timeout: None,
            ambiguous: Ambiguous::Resend,
        }
    }

    /// Sets [`attempts`](Self#structfield.attempts).
    #[must_use]
    pub const fn attempts(mut self, attempts: Option<u32>) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets [`deadline`](Self#structfield.deadline).
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sets [`first_delay`](Self#structfield.first_delay).
    #[must_use]
    pub const fn first_delay(mut self, first_delay: Duration) -> Self {
        self.first_delay = first_delay;
        self
    }

    /// Sets [`max_delay`](Self#structfield.max_delay).
    #[must_use]
    pub const fn max_delay(mut self, max_delay: Duration) -> Self {
        self.max_delay = max_delay;
        self
    }

    /// Sets [`attempt_timeout`](Self#structfield.attempt_timeout).
    #[must_use]
    pub const fn attempt_timeout(mut self, attempt_timeout: Option<Duration>) -> Self {
        self.attempt_timeout = attempt_timeout;
        self
    }

    /// Sets [`ambiguous`](Self#structfield.ambiguous).
    #[must_use]
    pub const fn ambiguous(mut self, ambiguous: Ambiguous) -> Self {
        self.ambiguous = ambiguous;
        self
    }

    /// Whether no attempt may follow so many.
    pub(in crate::topology) fn is_exhausted_by(&self, attempts: u32) -> bool {
        self.attempts.is_some_and(|most| attempts >= most)
    }

    /// The wait after the given failure (from 1): exponential, of which a random part of up to
    /// half is taken off, so that jobs that failed together do not come back together.
    pub(in crate::topology) fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.first_delay.saturating_mul(1 << doublings).min(self.max_delay);
        full.mul_f64(1.0 - jitter / 2.0)
    }
}

/// A random number in `0.0..1.0` that is a function of the seed, the record and its attempt: it
/// does not depend on what else runs.
pub(in crate::topology) fn jitter(seed: u64, record: &ConsumerRecord, attempt: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, &record.partition, record.offset, attempt).hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_limit_and_lose_at_most_half_to_jitter() {
        let retry =
            Retry::new().first_delay(Duration::from_secs(1)).max_delay(Duration::from_secs(5));
        let full: Vec<_> = (1..=5).map(|n| retry.delay(n, 0.0).as_secs()).collect();
        assert_eq!(full, [1, 2, 4, 5, 5]);
        assert_eq!(retry.delay(3, 1.0), Duration::from_secs(2));
        assert_eq!(retry.delay(u32::MAX, 0.0), Duration::from_secs(5));
    }
}
