//! The connections of a sink: never more than the cap, first come first served.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::conversation::Conversation;
use super::gauge::Gauge;

/// How long a slot that the server did not want is left out, in seconds.
const WITHHELD_SECONDS: u64 = 60;

/// Idle connections, and the right to have one more.
///
/// A connection is opened only by who holds a [`Slot`] and finds none idle, and is given back before
/// its slot: so open connections, idle ones included, are never more than there are slots.
pub(super) struct Pool {
    slots: Semaphore,
    idle: Mutex<Vec<Conversation>>,
    withheld: Mutex<Withheld>,
    idle_limit: Duration,
    gauge: Arc<Gauge>,
}

/// Slots that are left out, since the server has fewer for us than we are allowed.
#[derive(Default)]
struct Withheld {
    slots: usize,
    one_back_at: Option<Instant>,
}

/// The right to one connection.
pub(super) struct Slot<'a> {
    pool: &'a Pool,
    permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(
        connections_max: NonZeroUsize,
        idle_limit: Duration,
        gauge: Arc<Gauge>,
    ) -> Self {
        let slots = Semaphore::new(connections_max.get().min(Semaphore::MAX_PERMITS));
        Self { slots, idle: Mutex::default(), withheld: Mutex::default(), idle_limit, gauge }
    }

    /// Completes when there is a slot, for those who wait in the order in which they came.
    pub(super) async fn slot(&self) -> Slot<'_> {
        let permit = match self.slots.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = self.gauge.wait();
                let permit = self.slots.acquire().await;
                permit.unwrap_or_else(|_| unreachable!("the semaphore is never closed"))
            }
        };
        Slot { pool: self, permit }
    }

    /// Closes connections that were idle for too long, and says when the next one will have been.
    pub(super) fn retire(&self) -> Option<Instant> {
        let mut idle = self.idle();
        // The one used last stands last: those before it have been idle for longer.
        let now = Instant::now();
        let expired = idle.partition_point(|c| now - c.idle_since >= self.idle_limit);
        let retired: Vec<_> = idle.drain(..expired).collect();
        let next = idle.first().and_then(|c| c.idle_since.checked_add(self.idle_limit));
        drop(idle);
        retired.into_iter().for_each(Conversation::leave);
        next
    }

    /// Gives back every slot that was withheld: the server has shown that it takes connections.
    pub(super) fn restore(&self) {
        let withheld = std::mem::take(&mut *self.withheld());
        self.slots.add_permits(withheld.slots);
    }

    /// Gives back one of the slots that were withheld, if it is time.
    fn restore_one(&self) {
        let mut withheld = self.withheld();
        let now = Instant::now();
        if withheld.slots > 0 && withheld.one_back_at.is_some_and(|at| at <= now) {
            withheld.slots -= 1;
            withheld.one_back_at = Some(now + Duration::from_secs(WITHHELD_SECONDS));
            self.slots.add_permits(1);
        }
    }

    /// Closes every idle connection.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle());
        idle.into_iter().for_each(Conversation::leave);
    }

    /// How long a connection may be idle.
    pub(super) const fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    fn withheld(&self) -> MutexGuard<'_, Withheld> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Conversation>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// The idle connection that was used last, if there is one that is still good.
    pub(super) async fn idle(&self) -> Option<Conversation> {
        self.pool.retire();
        loop {
            let mut conversation = self.pool.idle().pop()?;
            if conversation.is_quiet().await {
                return Some(conversation);
            }
        }
    }

    /// The server refuses a further connection. While others are open the slot is withheld for a
    /// while, so that the pool settles at what the server allows.
    pub(super) fn withhold(self) {
        if self.pool.gauge.open_connections() == 0 {
            return;
        }
        let mut withheld = self.pool.withheld();
        withheld.slots += 1;
        withheld.one_back_at = Some(Instant::now() + Duration::from_secs(WITHHELD_SECONDS));
        self.permit.forget();
    }

    /// Keeps a connection whose conversation has ended cleanly, and gives back the slot.
    pub(super) fn put_back(self, mut conversation: Conversation) {
        conversation.idle_since = Instant::now();
        conversation.reused = true;
        self.pool.idle().push(conversation);
        self.pool.restore_one();
    }
}
