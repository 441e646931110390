//! What a request's handler knows beside the request.

use std::net::SocketAddr;
use std::sync::Arc;

use kafka_protocol::protocol::StrBytes;

use super::cluster::{Cluster, Node};
use crate::broker::Broker;

/// A client at the other end of a connection, and the node that it has connected to.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) cluster: Arc<Cluster>,
    pub(super) node_id: i32,
    pub(super) address: SocketAddr,
}

/// One request's place: who asks whom, in which version.
pub(super) struct Call {
    peer: Peer,
    version: i16,
    client_id: Option<StrBytes>,
}

impl Call {
    pub(super) const fn new(peer: Peer, version: i16, client_id: Option<StrBytes>) -> Self {
        Self { peer, version, client_id }
    }

    pub(super) const fn version(&self) -> i16 {
        self.version
    }

    pub(super) fn broker(&self) -> &Broker {
        self.peer.cluster.broker()
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.peer.cluster
    }

    /// The node that is asked.
    pub(super) fn node(&self) -> &Node {
        self.peer.cluster.node(self.peer.node_id)
    }

    /// What the client calls itself; empty if it has no name.
    pub(super) fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// The client's address, as Kafka shows it.
    pub(super) fn client_host(&self) -> String {
        format!("/{}", self.peer.address.ip())
    }
}
