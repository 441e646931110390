//! The cluster that clients see: nodes in front of one broker.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::dispatch::Table;
use super::listener::Settings;
use crate::broker::Broker;

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
    table: Table,
    /// Tells the member ids of one listener from those of another.
    salt: u32,
    /// Why connections were ended by the broker, the last ones.
    refusals: Mutex<VecDeque<String>>,
}

impl Cluster {
    /// As every cluster has one: 16 bytes in base64url.
    pub(super) const ID: &'static str = "am9ic3RyZWFtLXRlc3RraQ";

    pub(super) fn new(broker: Broker, settings: Settings, nodes: Vec<Node>) -> Self {
        let salt = nodes.iter().fold(0, |salt, node| salt << 16 ^ u32::from(node.port));
        let (table, refusals) = (Table::new(), Mutex::default());
        Self { broker, settings, nodes, table, salt, refusals }
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

    pub(super) const fn salt(&self) -> u32 {
        self.salt
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node with this id; the first one if there is none.
    pub(super) fn node(&self, id: i32) -> &Node {
        let index = usize::try_from(id - 1).unwrap_or_default();
        self.nodes.get(index).unwrap_or(&self.nodes[0])
    }

    /// The node that leads a partition.
    pub(super) fn leader(&self, partition: i32) -> &Node {
        let index = usize::try_from(partition).unwrap_or_default() % self.nodes.len();
        &self.nodes[index]
    }

    /// The node that coordinates a group or a transactional id.
    pub(super) fn coordinator(&self, key: &str) -> &Node {
        &self.nodes[crc32fast::hash(key.as_bytes()) as usize % self.nodes.len()]
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
