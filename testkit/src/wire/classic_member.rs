//! A member of a classic group.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot::{self, Receiver, Sender};
use tokio::time::Instant;

use super::classic::{Join, Joined, Sync, Synced};

/// What a member joins with.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocol_type: String,
    /// The metadata of each protocol, the preferred one first.
    pub(super) protocols: Vec<(String, Bytes)>,
}

impl Joining {
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
    /// Whether it has never been in a generation.
    is_new: bool,
}

impl ClassicMember {
    /// A member whose join is given up at `ends`.
    pub(super) const fn new(joining: Joining, ends: Instant) -> Self {
        let assignment = Bytes::new();
        Self { joining, assignment, join: None, sync: None, session_ends: ends, is_new: true }
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

    pub(super) fn assignment(&self) -> Bytes {
        self.assignment.clone()
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

    /// When its session times out; a join that waits keeps it alive.
    pub(super) fn session_ends(&self) -> Option<Instant> {
        (self.is_new || self.join.is_none()).then_some(self.session_ends)
    }

    pub(super) fn renew(&mut self, now: Instant) {
        self.session_ends = now + self.joining.session_timeout;
    }

    pub(super) fn update(&mut self, joining: Joining, now: Instant) {
        self.joining = joining;
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

    pub(super) fn await_sync(&mut self, now: Instant) -> Receiver<Sync> {
        self.renew(now);
        let (sender, receiver) = oneshot::channel();
        self.sync = Some(sender);
        receiver
    }

    /// Answers its join with the new generation.
    pub(super) fn begin(&mut self, joined: Joined, now: Instant) {
        self.is_new = false;
        if let Some(join) = self.join.take() {
            self.renew(now);
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
