//! The cluster that clients see: nodes in front of one broker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::dispatch::Table;
use super::faults::WireFaults;
use super::internal::{is_internal, partition_of};
use super::listener::Settings;
use super::placement::Placement;
use crate::broker::Broker;
use crate::smtp::Certificate;

/// Reasons that are kept.
const REFUSALS_KEPT: usize = 64;

/// A pretended node, with a port of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) id: i32,
    pub(super) host: String,
    pub(super) port: u16,
}

pub(super) struct Cluster {
    broker: Broker,
    settings: Settings,
    /// At least one, ascending; the ids are 1 and on.
    nodes: Vec<Node>,
    placement: Placement,
    faults: WireFaults,
    /// How many connections there were.
    connections: AtomicU64,
    certificate: Option<Certificate>,
    /// How many numbers that are used once were handed out.
    nonces: AtomicU64,
    table: Table,
    /// Tells the member ids of one listener from those of another.
    salt: u32,
    /// Why connections were ended by the broker, the last ones.
    refusals: Mutex<VecDeque<String>>,
}

impl Cluster {
    /// As every cluster has one: 16 bytes in base64url.
    pub(super) const ID: &'static str = "am9ic3RyZWFtLXRlc3RraQ";

    pub(super) fn new(
        broker: Broker,
        settings: Settings,
        nodes: Vec<Node>,
        certificate: Option<Certificate>,
    ) -> Self {
        let salt = nodes.iter().fold(0, |salt, node| salt << 16 ^ u32::from(node.port));
        let (table, refusals) = (Table::new(), Mutex::default());
        let placement = Placement::new(nodes.len());
        let faults = WireFaults::new(settings.seed, settings.faults.clone());
        let connections = AtomicU64::new(0);
        let nonces = AtomicU64::new(0);
        Self {
            broker,
            settings,
            nodes,
            placement,
            faults,
            connections,
            certificate,
            nonces,
            table,
            salt,
            refusals,
        }
    }

    pub(super) const fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(super) const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) const fn table(&self) -> &Table {
        &self.table
    }

    pub(super) const fn placement(&self) -> &Placement {
        &self.placement
    }

    pub(super) const fn faults(&self) -> &WireFaults {
        &self.faults
    }

    pub(super) const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// A number that is given once.
    pub(super) fn next_nonce(&self) -> u64 {
        self.nonces.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of a new connection, from 1.
    pub(super) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) const fn salt(&self) -> u32 {
        self.salt
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes that are not away, of which there may be none.
    pub(super) fn nodes_here(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !self.placement.is_away(node.id))
    }

    /// The node with this id; the first one if there is none.
    pub(super) fn node(&self, id: i32) -> &Node {
        let index = usize::try_from(id - 1).unwrap_or_default();
        self.nodes.get(index).unwrap_or(&self.nodes[0])
    }

    /// The node that leads a partition of a topic.
    pub(super) fn leader(&self, topic: &str, partition: i32) -> &Node {
        match is_internal(topic) {
            true => self.node(self.placement.coordinator(partition)),
            false => self.node(self.placement.leader(partition)),
        }
    }

    /// The node that coordinates a group or a transactional id: the leader of the partition that
    /// keeps it.
    pub(super) fn coordinator(&self, key: &str) -> &Node {
        self.node(self.placement.coordinator(partition_of(key)))
    }

    pub(super) fn refused(&self, reason: String) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() == REFUSALS_KEPT {
            refusals.pop_front();
        }
        refusals.push_back(reason);
    }

    pub(super) fn refusals(&self) -> Vec<String> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().cloned().collect()
    }
}
