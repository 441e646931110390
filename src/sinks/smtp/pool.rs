//! The connections of a sink: never more than the cap, first come first served.
//!
//! ```text
//! sends that wait ◀── idle ◀── a send that is done
//!        │              ▲
//!        └─ openings ───┘
//! ```
//!
//! A send takes the first connection that is there: an idle one, one that comes free, or one that is
//! opened. Where there are fewer openings than sends that wait, and connections are allowed, another
//! opening begins. None of them belongs to a send: a server that lets a connection wait holds up no
//! mail while others come free.
//!
//! A server may have fewer connections for us than we are allowed, and say so by 421, by closing
//! them, or not at all. While others of ours are open, a connection that can't be opened is left out
//! for a while ([`Slot::withhold`]); while none is, the server is away, and the circuit opens. One
//! that is silent while none is open says nothing of other addresses of the host, or of other servers
//! behind the same one: it is given up for another opening, a few times; where there is another
//! relay, that one has its turn.
//!
//! A send that follows another mail may leave that connection again. The server may take minutes
//! for the mail before it, while other connections come free: after 2 s without an answer the
//! follower returns to the head of the queue, and the connection that holds its commands is closed
//! after the answer to the earlier mail. A server that ignores what stands behind a final dot costs
//! a reconnection a minute.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::circuit::{Circuit, Met};
use super::conversation::Conversation;
use super::fault::ServerFault;
use super::gauge::Gauge;
use super::message::Mail;
use super::open::{Opener, PATIENCE};
use super::openings::{Ended, Openings};
use super::session_limit::SessionLimit;
use super::withheld::Withheld;

/// How long mails go one at a time after one had to give up following another, in seconds.
const ALONE_SECONDS: u64 = 60;

/// Idle connections, those that are being opened, and the right to have one more.
///
/// # Invariant
/// A connection is open only for a [`Slot`], for an opening, or for a slot that is free while the
/// connection is idle: so open connections are never more than there are slots.
pub(super) struct Pool {
    queue: Mutex<Queue>,
    openings: Openings,
    circuit: Arc<Circuit>,
    idle_limit: Duration,
    session_limit: SessionLimit,
    gauge: Arc<Gauge>,
    /// Whether another relay takes the mails that this one leaves waiting.
    has_next: bool,
}

/// The sends that wait, and what they wait for.
struct Queue {
    waiting: VecDeque<Waiter>,
    /// The one used last stands last.
    idle: Vec<Conversation>,
    /// Slots that nobody has, those of idle connections included.
    free: usize,
    /// Slots of the openings.
    opening: usize,
    withheld: Withheld,
    /// Until when no mail follows another.
    alone_until: Option<Instant>,
}

/// A send that waits for its turn; it has gone if it listens no more.
struct Waiter {
    /// What it sends. Who only wants a slot sends nothing.
    mail: Option<Arc<Mail>>,
    turn: oneshot::Sender<Grant>,
}

/// What a send gets when it has its turn; dropped, it goes to the next send.
pub(super) struct Grant {
    /// The connection, on which the commands of the mail may be written already.
    conversation: Option<Conversation>,
    slot: Option<Slot>,
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
        opener: Arc<Opener>,
        circuit: Arc<Circuit>,
        has_next: bool,
    ) -> Arc<Self> {
        let queue = Queue {
            waiting: VecDeque::new(),
            idle: Vec::new(),
            free: connections_max.get(),
            opening: 0,
            withheld: Withheld::new(Arc::clone(&opener.gauge)),
            alone_until: None,
        };
        let gauge = Arc::clone(&opener.gauge);
        let (openings, session_limit) = (Openings::new(opener), SessionLimit::default());
        let queue = Mutex::new(queue);
        Arc::new(Self { queue, openings, circuit, idle_limit, session_limit, gauge, has_next })
    }

    /// Completes when there is a connection for a mail: the first that is there, whichever it is.
    /// Sends get one in the order in which they came.
    ///
    /// # Errors
    /// Why none is to be had, once the circuit is open.
    pub(super) async fn connection(
        self: &Arc<Self>,
        mail: &Arc<Mail>,
    ) -> Result<(Conversation, Slot), String> {
        let reason = || self.circuit.reason().unwrap_or_else(|| "the mail server was away".into());
        if self.circuit.is_open() {
            return Err(reason());
        }
        self.retire();
        match self.turn(Some(mail)).await.and_then(Grant::into_parts) {
            // Commands that are written already are answered, whatever befell other connections.
            Some((conversation, slot)) if conversation.is_ahead || !self.circuit.is_open() => {
                Ok((conversation, slot))
            }
            Some((conversation, slot)) => {
                slot.put_back(conversation);
                Err(reason())
            }
            None => Err(reason()),
        }
    }

    /// Completes when there is a slot, also while the circuit is open.
    pub(super) async fn slot(self: &Arc<Self>) -> Slot {
        let grant = self.turn(None).await;
        let slot = grant.and_then(|mut grant| grant.slot.take());
        slot.unwrap_or_else(|| unreachable!("who wants a slot is not sent away"))
    }

    /// Nothing, if the send that waits was sent away.
    async fn turn(self: &Arc<Self>, mail: Option<&Arc<Mail>>) -> Option<Grant> {
        let (sender, mut turn) = oneshot::channel();
        self.queue().push(Waiter { mail: mail.cloned(), turn: sender });
        self.settle();
        if let Ok(grant) = turn.try_recv() {
            return Some(grant);
        }
        let _waiting = self.gauge.wait();
        tokio::select! {
            biased;
            grant = turn => grant.ok(),
            never = self.open() => match never {},
        }
    }

    /// Goes on with the connections that are being opened. Who waits for one has to poll this;
    /// dropping it is fine while others poll it, or come later.
    pub(super) async fn open(self: &Arc<Self>) -> Infallible {
        loop {
            while let Some(ended) = self.openings.poll() {
                self.ended(ended);
            }
            self.openings.progressed().await;
        }
    }

    fn ended(self: &Arc<Self>, Ended { opened, took }: Ended) {
        let mut queue = self.queue();
        queue.opening -= 1;
        match opened {
            Ok(mut conversation) => {
                queue.free += 1;
                // An opening that stood alone has shown whether the server has room again.
                if queue.opening == 0 {
                    queue.free += queue.withheld.take_one();
                }
                conversation.end();
                conversation.reused = false;
                conversation.idle_since = Instant::now();
                queue.idle.push(conversation);
                drop(queue);
                self.settle();
                if let Some(conversation) = self.queue().idle.last_mut() {
                    conversation.reused = true;
                }
            }
            Err(fault) => {
                // Others that began at about the same time may still be served.
                let has_company = queue.opening > self.gauge.stuck();
                let may_follow = took < PATIENCE && has_company;
                if fault.may_be_a_limit() && (may_follow || self.gauge.has_established()) {
                    queue.withheld.add();
                    drop(queue);
                    self.settle();
                } else if fault.is_given_up() && !self.has_next {
                    // No connection is served, so that none shows a limit of them.
                    queue.free += 1 + queue.withheld.take_all();
                    drop(queue);
                    self.settle();
                } else {
                    queue.free += 1;
                    drop(queue);
                    self.let_none_wait(&fault.to_string(), Met::Connecting);
                }
            }
        }
    }

    /// Opens the circuit: who waits for a connection is sent away, and none is opened any more.
    pub(super) fn let_none_wait(self: &Arc<Self>, reason: &str, met: Met) {
        self.circuit.open(reason, met);
        self.abandon_openings();
        let mut queue = self.queue();
        let (sent_away, waiting) =
            std::mem::take(&mut queue.waiting).into_iter().partition(|it| it.mail.is_some());
        queue.waiting = waiting;
        drop(queue);
        let sent_away: VecDeque<Waiter> = sent_away;
        drop(sent_away);
        self.settle();
    }

    /// Whether the server shows by this fault that it has no more connections for us.
    pub(super) fn is_limit(&self, fault: &ServerFault) -> bool {
        fault.may_be_a_limit() && self.gauge.has_established()
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
        let mut queue = self.queue();
        if queue.idle.is_empty() {
            return None;
        }
        let now = Instant::now();
        let expired = queue.idle.partition_point(|c| now - c.idle_since >= self.idle_limit);
        let retired: Vec<_> = queue.idle.drain(..expired).collect();
        let next = queue.idle.first().and_then(|c| c.idle_since.checked_add(self.idle_limit));
        drop(queue);
        retired.into_iter().for_each(Conversation::leave);
        next
    }

    /// Gives back every slot that was withheld: the server has shown that it takes connections.
    pub(super) fn restore(self: &Arc<Self>) {
        let mut queue = self.queue();
        queue.free += queue.withheld.take_all();
        drop(queue);
        self.settle();
    }

    /// Closes every idle connection, and those that are being opened if no send waits.
    pub(super) fn clear(&self) {
        let mut queue = self.queue();
        let idle = std::mem::take(&mut queue.idle);
        queue.waiting.retain(|it| !it.turn.is_closed());
        let none_waits = queue.waiting.is_empty();
        drop(queue);
        if none_waits {
            self.abandon_openings();
        }
        idle.into_iter().for_each(Conversation::leave);
    }

    fn abandon_openings(&self) {
        let abandoned = self.openings.abandon();
        let mut queue = self.queue();
        queue.opening -= abandoned;
        queue.free += abandoned;
    }

    /// How many mails the server takes on one connection.
    pub(super) const fn session_limit(&self) -> &SessionLimit {
        &self.session_limit
    }

    /// How long a connection may be idle.
    pub(super) const fn idle_limit(&self) -> Duration {
        self.idle_limit
    }

    fn slot_of(self: &Arc<Self>) -> Slot {
        Slot { pool: Arc::clone(self), withheld: false }
    }

    /// Hands out what there is to the sends that have waited longest, and begins to open what the
    /// others need.
    fn settle(self: &Arc<Self>) {
        loop {
            let Some((waiter, conversation)) = self.queue().next() else { break };
            let wants_connection = conversation.is_some();
            let conversation = conversation.and_then(|it| self.usable(it));
            if wants_connection && conversation.is_none() {
                let mut queue = self.queue();
                queue.free += 1;
                queue.waiting.push_front(waiter);
                continue;
            }
            // If that send was cancelled just now, the grant is dropped, and goes to the next.
            drop(waiter.turn.send(Grant { conversation, slot: Some(self.slot_of()) }));
        }
        let begun = self.queue().begin_openings();
        (0..begun).for_each(|_| self.openings.begin());
    }

    /// An idle connection, if it is still good.
    fn usable(&self, mut conversation: Conversation) -> Option<Conversation> {
        if !self.session_limit.allows(conversation.mails) {
            conversation.leave();
            return None;
        }
        conversation.nothing_unread().is_ok().then_some(conversation)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Before the queue grows, the entries of cancelled sends are removed: where no slot comes free
    /// for long, many sends may come and be cancelled.
    fn push(&mut self, waiter: Waiter) {
        if self.waiting.len() == self.waiting.capacity() {
            self.waiting.retain(|it| !it.turn.is_closed());
        }
        self.waiting.push_back(waiter);
    }

    fn pass_over_gone(&mut self) {
        while self.waiting.pop_front_if(|it| it.turn.is_closed()).is_some() {}
    }

    /// The send that is next, with an idle connection if it has a mail. It takes a slot.
    fn next(&mut self) -> Option<(Waiter, Option<Conversation>)> {
        self.pass_over_gone();
        if self.free == 0 {
            return None;
        }
        let conversation = match self.waiting.front()?.mail {
            Some(_) => Some(self.idle.pop()?),
            None => None,
        };
        self.free -= 1;
        Some((self.waiting.pop_front()?, conversation))
    }

    /// How many openings are to begin; they take their slots.
    fn begin_openings(&mut self) -> usize {
        let begun = self.waiting.len().saturating_sub(self.opening).min(self.free);
        self.free -= begun;
        self.opening += begun;
        begun
    }

    /// Gives back one of the slots that were withheld, if it is time.
    fn restore_one(&mut self) {
        self.free += self.withheld.take_due();
    }
}

impl Grant {
    fn into_parts(mut self) -> Option<(Conversation, Slot)> {
        self.conversation.take().zip(self.slot.take())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        // Commands that stand there for nobody can't be answered: that connection is closed.
        let conversation = self.conversation.take().filter(|it| !it.is_ahead);
        if let Some((conversation, slot)) = conversation.zip(self.slot.take()) {
            slot.put_back(conversation);
        }
    }
}

impl Slot {
    /// The idle connection that was used last, if there is one that is still good.
    pub(super) fn idle(&self) -> Option<Conversation> {
        self.pool.retire();
        loop {
            let conversation = self.pool.queue().idle.pop()?;
            if let Some(conversation) = self.pool.usable(conversation) {
                return Some(conversation);
            }
        }
    }

    /// The server has no further connection for us. The slot is left out for a while, so that the
    /// pool settles at what the server allows; then one at a time is tried again.
    pub(super) fn withhold(mut self) {
        self.pool.queue().withheld.add();
        self.withheld = true;
    }

    /// Keeps a connection whose conversation has ended cleanly, unless it has carried as many mails
    /// as the server takes on one; gives back the slot.
    pub(super) fn put_back(self, mut conversation: Conversation) {
        if self.pool.session_limit.allows(conversation.mails) {
            conversation.idle_since = Instant::now();
            conversation.reused = true;
            let mut queue = self.pool.queue();
            queue.idle.push(conversation);
            queue.restore_one();
        } else {
            conversation.leave();
            self.pool.queue().restore_one();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.withheld {
            self.pool.queue().free += 1;
        }
        self.pool.settle();
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
        let grant = Grant { conversation: Some(conversation), slot: Some(slot) };
        // If it has gone, its commands stand there for nobody: the connection is closed.
        drop(waiter.turn.send(grant));
        self.pool.queue().restore_one();
        self.pool.settle();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else { return };
        // While the circuit is open nobody waits.
        if !self.pool.circuit.is_open() {
            self.pool.queue().waiting.push_front(waiter);
            self.pool.settle();
        }
    }
}
