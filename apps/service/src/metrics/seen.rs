//! When something was last seen to work.

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

    /// How long ago that was, if it ever was.
    pub fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// Whether it was no longer ago than `limit`; what it is that was seen is told by `what`.
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
    }
}
