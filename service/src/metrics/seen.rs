//! When something was last seen to work.
//!
//! Readiness asks when a broker has last answered, because librdkafka's state of a connection stays
//! `UP` for minutes after a broker hangs, and its state of a group stays `steady` until the session
//! ends. The time of the last byte received is reliable. Every client asks for metadata every 5 s,
//! so that there is an answer even where nothing is consumed or produced.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::check::Finding;

/// The moment at which something was last seen to work, if it was.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Option<Instant>>);

impl Seen {
    /// It works now.
    pub fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// It worked so long ago, if nothing younger is known.
    pub fn ago(&self, ago: Duration) {
        // A machine may have started since.
        let Some(at) = Instant::now().checked_sub(ago) else { return };
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = Some(seen.map_or(at, |known| known.max(at)));
    }

    /// What was seen does not count any more.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long ago that was, if it ever was.
    pub fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Whether it was no longer ago than `limit`; `what` names it in the finding.
    pub fn within(&self, limit: Duration, what: &str) -> Finding {
        match self.age() {
            Some(age) if age <= limit => Ok(format!("{what} {:.1} s ago", age.as_secs_f64())),
            Some(age) => {
                let (age, limit) = (age.as_secs_f64(), limit.as_secs());
                Err(format!("{what} {age:.1} s ago, expected at most {limit} s"))
            }
            None => Err(format!("never {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_well_for_a_while() {
        let (seen, limit) = (Seen::default(), Duration::from_secs(30));
        assert_eq!(seen.within(limit, "turned"), Err("never turned".to_owned()));
        seen.now();
        tokio::time::advance(limit).await;
        assert_eq!(seen.within(limit, "turned"), Ok("turned 30.0 s ago".to_owned()));
        tokio::time::advance(Duration::from_secs(1)).await;
        let expected = "turned 31.0 s ago, expected at most 30 s".to_owned();
        assert_eq!(seen.within(limit, "turned"), Err(expected));
        seen.ago(Duration::from_secs(7));
        assert_eq!(seen.within(limit, "turned"), Ok("turned 7.0 s ago".to_owned()));
        seen.ago(Duration::from_secs(9));
        assert_eq!(seen.age(), Some(Duration::from_secs(7)), "an older sign is no news");
        seen.forget();
        assert_eq!(seen.within(limit, "turned"), Err("never turned".to_owned()));
    }
}
