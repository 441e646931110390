//! How often a visitor may do something within a minute.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a visitor's actions count, from the first one on.
const WINDOW: Duration = Duration::from_secs(60);

/// How many visitors are remembered.
const MAX_VISITORS: usize = 4_096;

/// So many actions of a visitor within a minute, which begins with the first. A visitor is
/// forgotten with its minute, and earlier if more than 4,096 other visitors have begun one since.
pub struct Quota<V> {
    in_a_minute: u32,
    done: Mutex<BTreeMap<V, Done>>,
}

#[derive(Clone, Copy)]
struct Done {
    since: Instant,
    times: u32,
}

impl<V: Ord + Clone> Quota<V> {
    /// So many a visitor.
    pub const fn new(in_a_minute: u32) -> Self {
        Self { in_a_minute, done: Mutex::new(BTreeMap::new()) }
    }

    /// How long a visitor must wait until it may do it again; nothing if it may now.
    pub fn wait(&self, visitor: &V) -> Option<Duration> {
        let done = *self.done().get(visitor)?;
        let is_spent = done.times >= self.in_a_minute;
        let wait = (done.since + WINDOW).saturating_duration_since(Instant::now());
        (is_spent && !wait.is_zero()).then_some(wait)
    }

    /// Counts that a visitor has done it.
    pub fn count(&self, visitor: V) {
        let (mut done, now) = (self.done(), Instant::now());
        if done.len() >= MAX_VISITORS && !done.contains_key(&visitor) {
            done.retain(|_, done| now < done.since + WINDOW);
            let oldest = done.iter().min_by_key(|(_, done)| done.since).map(|(it, _)| it.clone());
            if let Some(oldest) = oldest.filter(|_| done.len() >= MAX_VISITORS) {
                done.remove(&oldest);
            }
        }
        let own = done.entry(visitor).or_insert(Done { since: now, times: 0 });
        if now >= own.since + WINDOW {
            *own = Done { since: now, times: 0 };
        }
        own.times = own.times.saturating_add(1);
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<V, Done>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> fmt::Debug for Quota<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("in_a_minute", &self.in_a_minute).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_visitor_may_do_it_so_often_a_minute_and_others_are_not_touched() {
        let quota = Quota::new(2);
        for _ in 0..2 {
            assert_eq!(quota.wait(&"a"), None);
            quota.count("a");
        }
        advance(WINDOW / 2).await;
        assert_eq!(quota.wait(&"a"), Some(WINDOW / 2));
        assert_eq!(quota.wait(&"b"), None);
        advance(WINDOW / 2).await;
        assert_eq!(quota.wait(&"a"), None);
        quota.count("a");
        assert_eq!(quota.wait(&"a"), None, "one of the next minute");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_of_visitors_is_bounded_and_the_latest_are_kept() {
        let quota = Quota::new(1);
        for visitor in 0..MAX_VISITORS + 10 {
            advance(Duration::from_millis(1)).await;
            quota.count(visitor);
        }
        assert_eq!(quota.done().len(), MAX_VISITORS);
        assert!(quota.wait(&9).is_none() && quota.wait(&10).is_some());
    }
}
