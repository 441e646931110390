//! How many mails the server takes on one connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a limit is kept after it was seen, in seconds.
const REMEMBERED_SECONDS: u64 = 600;

/// The server's limit of mails on one connection, as far as it has shown one.
///
/// A refusal that does not come again on a fresh connection shows it, unless another connection has
/// carried more mails recently: then the refusal had another cause.
#[derive(Debug, Default)]
pub(super) struct SessionLimit(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    limit: Option<Mails>,
    /// The most mails that a connection has carried.
    most: Option<Mails>,
}

/// A number of mails, and until when it is remembered.
#[derive(Clone, Copy, Debug)]
struct Mails {
    number: u32,
    until: Instant,
}

impl SessionLimit {
    /// A connection has carried so many mails.
    pub(super) fn carried(&self, mails: u32) {
        let mut seen = self.seen();
        let now = Instant::now();
        let known = seen.most.filter(|most| now < most.until);
        if known.is_none_or(|most| most.number <= mails) {
            seen.most = Some(Mails::new(mails, now));
        }
    }

    /// A further mail was refused on a connection that had carried so many, and taken on a fresh
    /// one.
    pub(super) fn refused_after(&self, mails: u32) {
        let mut seen = self.seen();
        let now = Instant::now();
        if seen.most.is_none_or(|most| most.until <= now || most.number <= mails) {
            seen.limit = Some(Mails::new(mails, now));
        }
    }

    /// Whether the server may take a further mail on a connection that has carried so many.
    pub(super) fn allows(&self, mails: u32) -> bool {
        let limit = self.seen().limit;
        limit.is_none_or(|limit| mails < limit.number || limit.until <= Instant::now())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mails {
    fn new(number: u32, now: Instant) -> Self {
        Self { number, until: now + Duration::from_secs(REMEMBERED_SECONDS) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::SessionLimit;

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_remembered_for_ten_minutes() {
        let limit = SessionLimit::default();
        assert!(limit.allows(u32::MAX));
        limit.carried(10);
        limit.refused_after(10);
        assert!(limit.allows(9) && !limit.allows(10));
        sleep(Duration::from_secs(599)).await;
        assert!(!limit.allows(10));
        sleep(Duration::from_secs(1)).await;
        assert!(limit.allows(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_below_what_another_connection_has_carried_is_no_limit() {
        let limit = SessionLimit::default();
        limit.carried(100);
        limit.carried(1);
        limit.refused_after(3);
        assert!(limit.allows(3));
        limit.refused_after(100);
        assert!(!limit.allows(100));
        sleep(Duration::from_secs(600)).await;
        limit.carried(3);
        limit.refused_after(3);
        assert!(!limit.allows(3), "what was carried long ago says nothing of today");
    }
}
