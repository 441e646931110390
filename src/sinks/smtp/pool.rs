//! The connections of a sink: never more than the cap, first come first served.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::conversation::Conversation;
use super::gauge::Gauge;
use super::message::Mail;
use super::session_limit::SessionLimit;

/// How long a slot that the server did not want is left out, in seconds.
const WITHHELD_SECONDS: u64 = 60;

/// How long mails go one at a time after one had to give up following another, in seconds.
const ALONE_SECONDS: u64 = 60;

/// Idle connections, and the right to have one more.
///
/// A send opens a connection only if it holds a [`Slot`] and finds no idle one, and returns the
/// connection before its slot: so open connections, idle ones included, are never more than there are slots.
pub(super) struct Pool {
    queue: Mutex<Queue>,
    idle: Mutex<Vec<Conversation>>,
    idle_limit: Duration,
    session_limit: SessionLimit,
    gauge: Arc<Gauge>,
}

/// The sends that wait for a slot, and the number of free slots: one of the two is empty.
struct Queue {
    waiting: VecDeque<Waiter>,
    free: usize,
    /// Slots that are left out, since the server has fewer for us than we are allowed.
    withheld: usize,
    one_back_at: Option<Instant>,
    /// Until when no mail follows another.
    alone_until: Option<Instant>,
}

/// A send that waits for its turn; it has gone if it listens no more.
struct Waiter {
    /// What it sends. A probe sends none.
    mail: Option<Arc<Mail>>,
    turn: oneshot::Sender<Turn>,
}

/// The turn of a send.
pub(super) struct Turn {
    /// The connection on which its commands are written already, behind the mail before it.
    pub(super) followed: Option<Conversation>,
    pub(super) slot: Slot,
}

/// The right to one connection.
pub(super) struct Slot {
    pool: Arc<Pool>,
    withheld: bool,
}

/// The send whose turn is next. Unless it gets one, it goes back to the head of the queue.
pub(super) struct Follower {
    pool: Arc<Pool>,
    waiter: Option<Waiter>,
}

impl Pool {
    pub(super) fn new(
        connections_max: NonZeroUsize,
        idle_limit: Duration,
        gauge: Arc<Gauge>,
    ) -> Arc<Self> {
        let queue = Queue {
            waiting: VecDeque::new(),
            free: connections_max.get(),
            withheld: 0,
            one_back_at: None,
            alone_until: None,
        };
        let (idle, session_limit) = Default::default();
        Arc::new(Self { queue: Mutex::new(queue), idle, idle_limit, session_limit, gauge })
    }

    /// Completes when there is a slot; sends that wait get one in the order in which they came. A send
    /// with a mail may follow another one instead.
    pub(super) async fn turn(self: &Arc<Self>, mail: Option<&Arc<Mail>>) -> Turn {
        let turn = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                return self.alone();
            }
            let (sender, receiver) = oneshot::channel();
            queue.push(Waiter { mail: mail.cloned(), turn: sender });
            receiver
        };
        let _waiting = self.gauge.wait();
        turn.await.unwrap_or_else(|_| unreachable!("who still listens is not forgotten"))
    }

    /// The send whose turn is next, if its mail can follow another at once.
    pub(super) fn follower(self: &Arc<Self>, can: impl Fn(&Mail) -> bool) -> Option<Follower> {
        let mut queue = self.queue();
        if queue.alone_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        queue.pass_over_gone();
        let waiter = queue.waiting.pop_front_if(|it| it.mail.as_deref().is_some_and(can))?;
        Some(Follower { pool: Arc::clone(self), waiter: Some(waiter) })
    }

    /// For a while no mail follows another: the server is too slow for that, or does not expect it.
    pub(super) fn let_none_follow(&self) {
        let until = Instant::now() + Duration::from_secs(ALONE_SECONDS);
        self.queue().alone_until = Some(until);
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
    pub(super) fn restore(self: &Arc<Self>) {
        let withheld = std::mem::take(&mut self.queue().withheld);
        (0..withheld).for_each(|_| drop(self.slot()));
    }

    /// Gives back one of the slots that were withheld, if it is time.
    fn restore_one(self: &Arc<Self>) {
        let mut queue = self.queue();
        if queue.withheld == 0 {
            return;
        }
        let now = Instant::now();
        if queue.one_back_at.is_some_and(|at| at <= now) {
            queue.withheld -= 1;
            queue.one_back_at = Some(now + Duration::from_secs(WITHHELD_SECONDS));
            drop(queue);
            drop(self.slot());
        }
    }

    /// Closes every idle connection.
    pub(super) fn clear(&self) {
        let idle = std::mem::take(&mut *self.idle());
        idle.into_iter().for_each(Conversation::leave);
    }

    /// How many mails the server takes on one connection.
    pub(super) const fn session_limit(&self) -> &SessionLimit {
        &self.session_limit
    }

    /// How long a connection may be idle.
    pub(super) const fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    fn slot(self: &Arc<Self>) -> Slot {
        Slot { pool: Arc::clone(self), withheld: false }
    }

    fn alone(self: &Arc<Self>) -> Turn {
        Turn { followed: None, slot: self.slot() }
    }

    /// Hands a slot to the send that has waited longest.
    fn release(self: &Arc<Self>) {
        let mut queue = self.queue();
        queue.pass_over_gone();
        let Some(waiter) = queue.waiting.pop_front() else {
            queue.free += 1;
            return;
        };
        drop(queue);
        // If that send was cancelled just now, the turn is dropped, and its slot released again.
        let _ = waiter.turn.send(self.alone());
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Conversation>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Before the queue grows, the entries of cancelled sends are removed: where no slot comes free for
    /// long, many sends may come and be cancelled.
    fn push(&mut self, waiter: Waiter) {
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|it| !it.turn.is_closed());
        }
        self.waiting.push_back(waiter);
    }

    fn pass_over_gone(&mut self) {
        while self.waiting.pop_front_if(|it| it.turn.is_closed()).is_some() {}
    }
}

impl Slot {
    /// The idle connection that was used last, if there is one that is still good.
    pub(super) async fn idle(&self) -> Option<Conversation> {
        self.pool.retire();
        loop {
            let mut conversation = self.pool.idle().pop()?;
            if !self.pool.session_limit.allows(conversation.mails) {
                conversation.leave();
            } else if conversation.is_quiet().await {
                return Some(conversation);
            }
        }
    }

    /// The server refuses a further connection. While others are open the slot is withheld for a
    /// while, so that the pool settles at what the server allows.
    pub(super) fn withhold(mut self) {
        if self.pool.gauge.open_connections() == 0 {
            return;
        }
        let mut queue = self.pool.queue();
        queue.withheld += 1;
        queue.one_back_at = Some(Instant::now() + Duration::from_secs(WITHHELD_SECONDS));
        drop(queue);
        self.withheld = true;
    }

    /// Keeps a connection whose conversation has ended cleanly, unless it has carried as many mails
    /// as the server takes on one; gives back the slot.
    pub(super) fn put_back(self, mut conversation: Conversation) {
        if self.pool.session_limit.allows(conversation.mails) {
            conversation.idle_since = Instant::now();
            conversation.reused = true;
            self.pool.idle().push(conversation);
        } else {
            conversation.leave();
        }
        self.pool.restore_one();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.withheld {
            self.pool.release();
        }
    }
}

impl Follower {
    /// What it sends.
    pub(super) fn mail(&self) -> &Mail {
        let mail = self.waiter.as_ref().and_then(|it| it.mail.as_deref());
        mail.unwrap_or_else(|| unreachable!("only who sends a mail follows"))
    }

    /// It has its turn: with the slot of the mail before it, and with that one's connection, where
    /// its commands are written already.
    pub(super) fn follow(mut self, slot: Slot, conversation: Conversation) {
        let Some(waiter) = self.waiter.take() else { return };
        // If it has gone, its commands stand there for nobody: the connection is closed.
        let _ = waiter.turn.send(Turn { followed: Some(conversation), slot });
        self.pool.restore_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        let mut queue = self.pool.queue();
        if queue.free > 0 {
            queue.free -= 1;
            drop(queue);
            let _ = waiter.turn.send(self.pool.alone());
        } else {
            queue.waiting.push_front(waiter);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::{Gauge, Pool};

    #[test]
    fn who_has_gone_is_not_kept_while_nothing_comes_free() {
        let gauge = Gauge::new(Arc::new(()));
        let pool = Pool::new(NonZeroUsize::MIN, Duration::MAX, gauge);
        let held = pool.turn(None).now_or_never().expect("a slot is free");
        let mut stays = Box::pin(pool.turn(None));
        assert!((&mut stays).now_or_never().is_none());
        for _ in 0..10_000 {
            assert!(pool.turn(None).now_or_never().is_none());
        }
        assert!(pool.queue().waiting.len() < 10);
        drop(held);
        assert!(stays.now_or_never().is_some(), "it has waited longest");
    }
}
