//! The listener: sockets in front of a broker.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::select;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::call::Peer;
use super::cluster::{Cluster, Node};
use super::connection;
use crate::broker::Broker;

/// A request's bytes, at most; Kafka's `socket.request.max.bytes`.
const FRAME_MAX_BYTES: usize = 100 << 20;

/// How a broker is served.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) nodes: usize,
    pub(super) auto_create: Option<i32>,
    pub(super) host: Option<String>,
    pub(super) frame_max_bytes: usize,
    pub(super) rebalance_delay: Duration,
    pub(super) session_timeout_min: Duration,
    pub(super) session_timeout_max: Duration,
}

/// Opens a listener; from [`Broker::listener`].
#[derive(Clone, Debug)]
pub struct ListenerBuilder {
    broker: Broker,
    settings: Settings,
}

impl ListenerBuilder {
    fn new(broker: Broker) -> Self {
        let settings = Settings {
            nodes: 1,
            auto_create: None,
            host: None,
            frame_max_bytes: FRAME_MAX_BYTES,
            rebalance_delay: Duration::ZERO,
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
        };
        Self { broker, settings }
    }

    /// Pretends so many nodes, each with a port of its own; partitions, groups and transactional ids
    /// are spread over them. One if nothing is said.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    pub const fn nodes(mut self, nodes: usize) -> Self {
        assert!(nodes > 0, "a cluster has at least one node");
        self.settings.nodes = nodes;
        self
    }

    /// Creates a topic with so many partitions when a client that allows it first asks for it, as
    /// Kafka's `auto.create.topics.enable`. If nothing is said, only [`Broker::create_topic`] and
    /// clients that create topics do.
    ///
    /// # Panics
    /// If it is not at least one.
    #[must_use]
    pub const fn auto_create(mut self, partitions: i32) -> Self {
        assert!(partitions > 0, "a topic has at least one partition");
        self.settings.auto_create = Some(partitions);
        self
    }

    /// Names this host to clients, as Kafka's `advertised.listeners`; the address that is listened
    /// on if nothing is said, or `localhost` if that is every address.
    #[must_use]
    pub fn advertised_host(mut self, host: impl Into<String>) -> Self {
        self.settings.host = Some(host.into());
        self
    }

    /// Ends a connection whose request is longer, before it is read; 100 MiB if nothing is said, as
    /// Kafka's `socket.request.max.bytes`.
    #[must_use]
    pub const fn frame_max_bytes(mut self, bytes: usize) -> Self {
        self.settings.frame_max_bytes = bytes;
        self
    }

    /// How long an empty classic group waits for more members after the first, as Kafka's
    /// `group.initial.rebalance.delay.ms`; not at all if nothing is said.
    #[must_use]
    pub const fn rebalance_delay(mut self, delay: Duration) -> Self {
        self.settings.rebalance_delay = delay;
        self
    }

    /// The shortest and the longest session timeout that a member may ask for, as Kafka's
    /// `group.min.session.timeout.ms` and `group.max.session.timeout.ms`; 6 s and 30 min if nothing
    /// is said.
    #[must_use]
    pub const fn session_timeouts(mut self, min: Duration, max: Duration) -> Self {
        (self.settings.session_timeout_min, self.settings.session_timeout_max) = (min, max);
        self
    }

    /// Listens. With port 0 the system chooses one; with several nodes the others always have a
    /// port of its choice.
    ///
    /// # Errors
    /// If the address can't be had.
    pub async fn listen(self, address: impl ToSocketAddrs + Send) -> io::Result<Listener> {
        let Self { broker, settings } = self;
        let mut sockets = vec![TcpListener::bind(address).await?];
        let ip = sockets[0].local_addr()?.ip();
        for _ in 1..settings.nodes {
            sockets.push(TcpListener::bind((ip, 0)).await?);
        }
        let named = if ip.is_unspecified() { "localhost".to_owned() } else { ip.to_string() };
        let host = settings.host.clone().unwrap_or(named);
        let node = |(id, socket): (i32, &TcpListener)| {
            let address = socket.local_addr()?;
            Ok((Node { id, host: host.clone(), port: address.port() }, address))
        };
        let nodes = (1..).zip(&sockets).map(node).collect::<io::Result<Vec<_>>>()?;
        let (nodes, addresses): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        let cluster = Arc::new(Cluster::new(broker, settings, nodes));
        let serving = tokio::spawn(serve(cluster.clone(), sockets));
        Ok(Listener { cluster, addresses, serving })
    }
}

/// A broker that listens; when it is dropped, connections end and the ports are free.
///
/// Clones of the [`Broker`] stay what they are, with all that clients have produced.
pub struct Listener {
    cluster: Arc<Cluster>,
    addresses: Vec<SocketAddr>,
    serving: JoinHandle<()>,
}

impl Listener {
    /// What clients take as `bootstrap.servers`: `host:port`, by commas if there are several nodes.
    pub fn bootstrap(&self) -> String {
        let nodes = self.cluster.nodes().iter().map(|node| format!("{}:{}", node.host, node.port));
        nodes.collect::<Vec<_>>().join(",")
    }

    /// The address of the first node.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Why the broker has ended connections by itself, the last 64 times: a request that it does not
    /// serve, or that it can't read.
    pub fn refusals(&self) -> Vec<String> {
        self.cluster.refusals()
    }

    /// Ends connections and frees the ports; completes when that is done.
    pub async fn close(mut self) {
        self.serving.abort();
        // Cancelled, or done: either way it is over.
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Broker {
    /// Serves this broker to clients of Kafka, with the defaults of [`ListenerBuilder`].
    ///
    /// # Errors
    /// If the address can't be had.
    pub async fn listen(&self, address: impl ToSocketAddrs + Send) -> io::Result<Listener> {
        self.listener().listen(address).await
    }

    /// Serves this broker to clients of Kafka, with other settings.
    pub fn listener(&self) -> ListenerBuilder {
        ListenerBuilder::new(self.clone())
    }
}

/// Accepts connections until it is dropped; so are they then.
async fn serve(cluster: Arc<Cluster>, sockets: Vec<TcpListener>) {
    let mut tasks = JoinSet::new();
    tasks.spawn(expire(cluster.broker().clone()));
    for (node_id, socket) in (1..).zip(sockets) {
        tasks.spawn(accept(cluster.clone(), node_id, socket));
    }
    while tasks.join_next().await.is_some() {}
}

async fn accept(cluster: Arc<Cluster>, node_id: i32, socket: TcpListener) {
    /// The wait after a failed accept, for instance because too many files are open.
    const RETRY_AFTER: Duration = Duration::from_millis(10);
    let mut connections = JoinSet::new();
    loop {
        select! {
            biased;
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    cluster.refused(format!("a connection's task failed: {error}"));
                }
            }
            accepted = socket.accept() => match accepted {
                Ok((stream, address)) => {
                    let peer = Peer { cluster: cluster.clone(), node_id, address };
                    connections.spawn(connection::serve(stream, peer));
                }
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            },
        }
    }
}

/// Ends sessions, rebalances and transactions when their time is over.
async fn expire(broker: Broker) {
    let sooner = broker.lock().wire.deadline_moved();
    loop {
        let moved = sooner.notified();
        let deadline = broker.with(|state| {
            state.expire_overdue(Instant::now());
            state.next_deadline()
        });
        select! {
            biased;
            () = moved => {}
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
        }
    }
}
