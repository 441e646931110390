//! A member of a group, as the broker sees its process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jobstream::position::Position;
use jobstream::record::{Generation, Topic, TopicId, TopicPartition};
use jobstream::sources::SourceEvent;
use tokio::time::Instant;

use super::assignor::Assignor;
use super::group::Protocol;
use super::log::Isolation;

/// Names a consumer to the fault verbs; it stays the same when the member has to join again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub(super) usize);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "member-{}", self.0)
    }
}

/// What a consumer asks for.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) group: Arc<str>,
    pub(super) topics: BTreeSet<Topic>,
    /// The `group.instance.id` of a static member.
    pub(super) instance: Option<Arc<str>>,
    pub(super) isolation: Isolation,
    pub(super) protocol: Protocol,
    pub(super) assignor: Assignor,
    pub(super) max_poll_records: usize,
}

/// Whether the member's process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Running,
    Suspended,
    Crashed,
}

/// Where the member is with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// Not yet, or not any more: it joins when its stream is polled.
    Outside,
    /// In the group, under this session number.
    Joined(u64),
    /// Another process has joined with its instance.
    Fenced,
    /// Closed. A static member keeps its place in the group until its session ends.
    Left,
}

/// Reading one assigned partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pub(super) generation: Generation,
    /// The next offset; negative if the group had no commit, for the start of the log.
    pub(super) next: i64,
    /// The topic as the member knows it.
    pub(super) topic_id: Option<TopicId>,
    pub(super) paused: bool,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) subscription: Subscription,
    pub(super) process: Process,
    pub(super) membership: Membership,
    /// When the group stops waiting for a member that does not run.
    pub(super) session_ends: Option<Instant>,
    /// When an operation that failed for now is tried again.
    pub(super) retry_at: Option<Instant>,
    /// What the stream has still to yield, before any record.
    pub(super) notices: VecDeque<SourceEvent>,
    /// Whether it is kept from learning that its session has ended.
    pub(super) hides_loss: bool,
    /// What it has lost with its session and does not know of.
    pub(super) hidden_loss: Option<Vec<TopicPartition>>,
    pub(super) fetches: BTreeMap<TopicPartition, Fetch>,
    /// The most metadata that it commits, in bytes, as far as it knows.
    pub(super) metadata_max_bytes: usize,
    /// The partition that was read last; the next one has its turn.
    pub(super) turn: Option<TopicPartition>,
    /// Set when the stream must look here before it yields what it has fetched.
    pub(super) dirty: Arc<AtomicBool>,
}

impl Member {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self {
            subscription,
            process: Process::Running,
            membership: Membership::Outside,
            session_ends: None,
            retry_at: None,
            notices: VecDeque::new(),
            hides_loss: false,
            hidden_loss: None,
            fetches: BTreeMap::new(),
            metadata_max_bytes: Position::METADATA_MAX_BYTES,
            turn: None,
            dirty: Arc::default(),
        }
    }

    /// The number of its session, while it is in the group.
    pub(super) const fn session(&self) -> Option<u64> {
        match self.membership {
            Membership::Joined(session) => Some(session),
            Membership::Outside | Membership::Fenced | Membership::Left => None,
        }
    }

    pub(super) fn touch(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    /// Its session has ended, and with it what it owned.
    pub(super) fn lose(&mut self, partitions: Vec<TopicPartition>) {
        if self.hides_loss {
            self.hidden_loss = Some(partitions);
        } else if !partitions.is_empty() {
            self.notify(SourceEvent::Lost(partitions));
        }
    }

    /// Learns what was hidden from it.
    pub(super) fn learn(&mut self) {
        self.hides_loss = false;
        let hidden = self.hidden_loss.take();
        hidden.into_iter().for_each(|partitions| self.lose(partitions));
        self.touch();
    }

    pub(super) fn notify(&mut self, event: SourceEvent) {
        self.notices.push_back(event);
        self.touch();
    }
}
