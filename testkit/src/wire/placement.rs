//! Which node leads what, and which nodes are here.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Where partitions, groups and transactional ids are; it changes only by faults.
#[derive(Debug)]
pub(super) struct Placement {
    nodes: usize,
    inner: Mutex<Inner>,
    /// Counts how often nodes went away.
    departures: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    /// How far leaders are moved, in nodes.
    leaders: usize,
    coordinators: usize,
    leader_epoch: i32,
    /// The nodes that are away, and until when, if that is known.
    away: BTreeMap<i32, Option<Instant>>,
}

impl Placement {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, inner: Mutex::default(), departures: watch::Sender::new(0) }
    }

    /// The leader epoch of every partition.
    pub(super) fn leader_epoch(&self) -> i32 {
        self.inner().leader_epoch
    }

    /// The id of the node that leads a partition.
    pub(super) fn leader(&self, partition: i32) -> i32 {
        let inner = self.inner();
        let partition = usize::try_from(partition).unwrap_or_default();
        self.here(&inner, partition.wrapping_add(inner.leaders))
    }

    /// The id of the node that leads a partition of an internal topic, and so coordinates what is
    /// kept there.
    pub(super) fn coordinator(&self, partition: i32) -> i32 {
        let inner = self.inner();
        let partition = usize::try_from(partition).unwrap_or_default();
        self.here(&inner, partition.wrapping_add(inner.coordinators))
    }

    pub(super) fn is_away(&self, node: i32) -> bool {
        self.inner().away.contains_key(&node)
    }

    /// Is notified when a node goes away.
    pub(super) fn departures(&self) -> watch::Receiver<u64> {
        self.departures.subscribe()
    }

    /// Cuts the connections of a node and refuses new ones, for this time or until it is brought back.
    pub(super) fn take_away(&self, node: i32, time: Option<Duration>) {
        let mut inner = self.inner();
        // A time without an end that a clock knows is as none.
        let until = time.and_then(|time| Instant::now().checked_add(time));
        inner.away.insert(node, until);
        inner.leader_epoch += 1;
        drop(inner);
        self.departures.send_modify(|count| *count += 1);
    }

    pub(super) fn bring_back(&self, node: i32) {
        let mut inner = self.inner();
        if inner.away.remove(&node).is_some() {
            inner.leader_epoch += 1;
        }
    }

    pub(super) fn move_leaders(&self) {
        let mut inner = self.inner();
        inner.leaders = (inner.leaders + 1) % self.nodes;
        inner.leader_epoch += 1;
    }

    pub(super) fn move_coordinators(&self) {
        let mut inner = self.inner();
        inner.coordinators = (inner.coordinators + 1) % self.nodes;
    }

    /// The first node from this one on that is not away; this one if all are.
    fn here(&self, inner: &Inner, from: usize) -> i32 {
        let id = |index: usize| (index % self.nodes) as i32 + 1;
        let mut ids = (0..self.nodes).map(|next| id(from.wrapping_add(next)));
        ids.find(|id| !inner.away.contains_key(id)).unwrap_or_else(|| id(from))
    }

    /// With those back whose time is over.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if !inner.away.is_empty() {
            let (now, before) = (Instant::now(), inner.away.len());
            inner.away.retain(|_, until| until.is_none_or(|until| until > now));
            inner.leader_epoch += (before - inner.away.len()) as i32;
        }
        inner
    }
}
