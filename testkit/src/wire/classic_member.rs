//! A member of a classic group.

use std::time::Duration;

use bytes::{Buf as _, Bytes};
use kafka_protocol::ResponseError;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::Instant;

use crate::broker::instances::NotOfInstance;

/// What a join is answered.
pub(super) type Join = Result<Joined, ResponseError>;
/// What a sync is answered.
pub(super) type Sync = Result<Synced, ResponseError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) member_id: String,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: String,
    /// Whether the leader keeps the assignment that there is (KIP-814).
    pub(super) skips_assignment: bool,
    /// For the leader: each member's id, instance and metadata.
    pub(super) members: Vec<(String, Option<String>, Bytes)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Synced {
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) assignment: Bytes,
}

/// What a member joins with.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// How long it may be silent after it was let in, if that is less than its session.
    pub(super) unheard_limit: Duration,
    pub(super) protocol_type: String,
    /// The metadata of each protocol, the preferred one first.
    pub(super) protocols: Vec<(String, Bytes)>,
}

impl Joining {
    /// How long nothing may come of a member that does not know yet that it is one.
    pub(super) fn silence(&self) -> Duration {
        self.session_timeout.min(self.unheard_limit)
    }

    pub(super) fn metadata(&self, protocol: &str) -> Option<Bytes> {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map(|(_, metadata)| metadata.clone())
    }
}

#[derive(Debug)]
pub(super) struct ClassicMember {
    joining: Joining,
    assignment: Bytes,
    /// Its join that waits for the others.
    join: Option<Sender<Join>>,
    /// Its sync that waits for the leader's.
    sync: Option<Sender<Sync>>,
    session_ends: Instant,
    /// Whether it has joined the generation, and has not asked for its assignment.
    owes_sync: bool,
    /// Whether it has never been in a generation.
    is_new: bool,
}

impl ClassicMember {
    /// A member whose join is given up at `ends`.
    pub(super) const fn new(joining: Joining, ends: Instant) -> Self {
        let assignment = Bytes::new();
        let (owes_sync, is_new) = (false, true);
        Self { joining, assignment, join: None, sync: None, session_ends: ends, owes_sync, is_new }
    }

    /// What it has joined with.
    #[cfg(feature = "programs")]
    pub(super) const fn joining(&self) -> &Joining {
        &self.joining
    }

    pub(super) fn instance(&self) -> Option<&str> {
        self.joining.instance.as_deref()
    }

    pub(super) fn client_id(&self) -> &str {
        &self.joining.client_id
    }

    pub(super) fn client_host(&self) -> &str {
        &self.joining.client_host
    }

    pub(super) const fn rebalance_timeout(&self) -> Duration {
        self.joining.rebalance_timeout
    }

    /// Its assignment, which it asks for.
    pub(super) fn synced(&mut self, now: Instant) -> Bytes {
        self.renew(now);
        self.owes_sync = false;
        self.assignment()
    }

    pub(super) fn assignment(&self) -> Bytes {
        self.assignment.clone()
    }

    pub(super) fn clear_assignment(&mut self) {
        self.assignment = Bytes::new();
    }

    /// The names of its protocols, the preferred one first.
    pub(super) fn protocols(&self) -> impl Iterator<Item = &str> {
        self.joining.protocols.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols().any(|name| name == protocol)
    }

    pub(super) fn has_protocols(&self, protocols: &[(String, Bytes)]) -> bool {
        self.joining.protocols == protocols
    }

    pub(super) fn metadata(&self, protocol: &str) -> Option<Bytes> {
        self.joining.metadata(protocol)
    }

    /// Whether its metadata, in the format of consumers, may name the topic.
    pub(super) fn subscribes_to(&self, topic: &str) -> bool {
        let metadata = self.protocols().find_map(|name| self.metadata(name));
        metadata.is_none_or(|metadata| subscribes(&metadata, topic))
    }

    /// When its session times out; a join that waits keeps it alive.
    pub(super) fn session_ends(&self) -> Option<Instant> {
        (self.is_new || self.join.is_none()).then_some(self.session_ends)
    }

    /// Since when nothing has come of it, if it is in a generation and has its assignment.
    #[cfg(feature = "programs")]
    pub(super) fn silent_since(&self) -> Option<Instant> {
        let is_settled = !self.is_new && !self.owes_sync && self.join.is_none();
        is_settled.then(|| self.session_ends.checked_sub(self.joining.session_timeout)).flatten()
    }

    pub(super) fn renew(&mut self, now: Instant) {
        self.session_ends = now + self.joining.session_timeout;
    }

    /// Takes what it joins with again. Which instance it is, and whose client, stays what it was.
    pub(super) fn update(&mut self, joining: Joining, now: Instant) {
        let Joining { session_timeout, rebalance_timeout, protocols, .. } = joining;
        self.joining =
            Joining { session_timeout, rebalance_timeout, protocols, ..self.joining.clone() };
        self.renew(now);
    }

    pub(super) const fn is_joining(&self) -> bool {
        self.join.is_some()
    }

    /// Lets its join wait; one that waited before is not answered any more.
    pub(super) fn await_join(&mut self) -> Receiver<Join> {
        let (sender, receiver) = oneshot::channel();
        self.join = Some(sender);
        receiver
    }

    pub(super) const fn owes_sync(&self) -> bool {
        self.owes_sync
    }

    pub(super) fn await_sync(&mut self, now: Instant) -> Receiver<Sync> {
        self.renew(now);
        self.owes_sync = false;
        let (sender, receiver) = oneshot::channel();
        self.sync = Some(sender);
        receiver
    }

    /// Answers its join with the new generation.
    pub(super) fn begin(&mut self, joined: Joined, now: Instant) {
        self.is_new = false;
        if let Some(join) = self.join.take() {
            self.session_ends = now + self.joining.silence();
            self.owes_sync = true;
            // A client that has gone is found by its session.
            let _ = join.send(Ok(joined));
        }
    }

    /// Gives it its assignment, and answers its sync.
    pub(super) fn assign(&mut self, synced: Synced, now: Instant) {
        self.assignment = synced.assignment.clone();
        if let Some(sync) = self.sync.take() {
            self.renew(now);
            let _ = sync.send(Ok(synced));
        }
    }

    pub(super) fn refuse_sync(&mut self, error: ResponseError) {
        if let Some(sync) = self.sync.take() {
            let _ = sync.send(Err(error));
        }
    }

    /// Refuses what waits.
    pub(super) fn refuse(&mut self, error: ResponseError) {
        self.refuse_sync(error);
        if let Some(join) = self.join.take() {
            let _ = join.send(Err(error));
        }
    }

    /// Another process has its instance.
    pub(super) fn fence(&mut self) {
        self.refuse(ResponseError::FencedInstanceId);
    }
}

/// Whether a consumer's subscription has this topic; one that can't be read may have it.
fn subscribes(mut subscription: &[u8], topic: &str) -> bool {
    // The version, and the number of topics.
    let (Ok(_), Ok(topics)) = (subscription.try_get_i16(), subscription.try_get_i32()) else {
        return true;
    };
    for _ in 0..topics {
        let length = subscription.try_get_u16().map(usize::from);
        let name = length.ok().and_then(|length| subscription.split_off(..length));
        match name {
            None => return true,
            Some(name) if name == topic.as_bytes() => return true,
            Some(_) => {}
        }
    }
    false
}

/// What a member is answered that is not, or no longer, the one of its instance (KIP-345).
pub(super) const fn refusal(why: NotOfInstance) -> ResponseError {
    match why {
        NotOfInstance::Unknown => ResponseError::UnknownMemberId,
        NotOfInstance::Fenced => ResponseError::FencedInstanceId,
    }
}
