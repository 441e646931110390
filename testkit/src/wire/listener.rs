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
use super::faults::{WireFault, WireFaults};
use super::login::{Account, Login};
use super::witness::WireWitness;
use crate::broker::Broker;
use crate::broker::state::State;
use crate::smtp::Certificate;

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
    pub(super) seed: u64,
    pub(super) faults: Vec<WireFault>,
    /// Who may log in; nobody has to if there are none.
    pub(super) accounts: Vec<Account>,
    /// The names of a certificate that is made.
    pub(super) tls_names: Option<Vec<String>>,
    pub(super) consumer_session_timeout: Duration,
    pub(super) consumer_heartbeat_interval: Duration,
    pub(super) unheard_limit: Duration,
    pub(super) witness: Option<Arc<dyn WireWitness>>,
    pub(super) retention_bytes: Option<u64>,
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
            seed: 0,
            faults: Vec::new(),
            accounts: Vec::new(),
            tls_names: None,
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            unheard_limit: Duration::MAX,
            witness: None,
            retention_bytes: None,
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
    /// Kafka's `auto.create.topics.enable`: the first answer says that there is no such topic, and the
    /// client asks again. If nothing is said, only [`Broker::create_topic`] and
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

    /// How long a member may be silent that was given an id, or let into a generation: a client that has
    /// lost the answer comes with another id, and the group waits for the first one. Its session timeout
    /// if nothing is said or that is shorter, as in Kafka.
    #[must_use]
    pub const fn unheard_members(mut self, limit: Duration) -> Self {
        self.settings.unheard_limit = limit;
        self
    }

    /// Asks every client to log in by SASL; this user may, with PLAIN, SCRAM-SHA-256 and
    /// SCRAM-SHA-512. May be repeated.
    #[must_use]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.settings.accounts.push(Account { user: user.into(), password: password.into() });
        self
    }

    /// Speaks TLS, with a certificate that is made for `localhost`, the loopback addresses and these
    /// names; [`Listener::ca_pem`] has the CA that signed it.
    #[must_use]
    pub fn tls<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let names = always.into_iter().chain(names.into_iter().map(Into::into)).collect();
        self.settings.tls_names = Some(names);
        self
    }

    /// After what time without a heartbeat a member of a group of KIP-848 is given up, and how often
    /// members are to send one, as Kafka's `group.consumer.session.timeout.ms` and
    /// `group.consumer.heartbeat.interval.ms`; 45 s and 5 s if nothing is said.
    #[must_use]
    pub const fn consumer_sessions(mut self, timeout: Duration, heartbeats: Duration) -> Self {
        self.settings.consumer_session_timeout = timeout;
        self.settings.consumer_heartbeat_interval = heartbeats;
        self
    }

    /// Drops the oldest batches of a partition that grows larger, unless its topic says otherwise, as
    /// Kafka's `log.retention.bytes`; none if nothing is said.
    #[must_use]
    pub const fn retention_bytes(mut self, bytes: u64) -> Self {
        self.settings.retention_bytes = Some(bytes);
        self
    }

    /// What goes wrong, after the faults that were added before. More can be added later, by
    /// [`Listener::faults`].
    #[must_use]
    pub fn fault(mut self, fault: WireFault) -> Self {
        self.settings.faults.push(fault);
        self
    }

    /// What faults with a probability are drawn from; 0 if nothing is said.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Notifies `witness` of every request, and does what it asks for.
    #[must_use]
    pub fn witnessed_by(mut self, witness: Arc<dyn WireWitness>) -> Self {
        self.settings.witness = Some(witness);
        self
    }

    /// Listens. With port 0 the system chooses one; with several nodes the others always have a
    /// port of its choice.
    ///
    /// # Errors
    /// If the address can't be had, or no certificate can be made for the names;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if a fault names a node that is not there.
    pub async fn listen(self, address: impl ToSocketAddrs + Send) -> io::Result<Listener> {
        let Self { broker, settings } = self;
        let mut of_nodes = settings.faults.iter().filter_map(WireFault::node);
        if let Some(node) = of_nodes.find(|node| !(1..=settings.nodes as i64).contains(node)) {
            let message = format!("a fault has node={node}, expected 1 to {}", settings.nodes);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let names = settings.tls_names.as_ref();
        let certificate = names.map(|names| Certificate::new(names, None));
        let certificate = certificate.transpose().map_err(io::Error::other)?;
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
        if let Some(bytes) = settings.retention_bytes {
            broker.with(|state| state.set_retention_bytes(bytes));
        }
        let cluster = Arc::new(Cluster::new(broker, settings, nodes, certificate));
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

    /// The certificate of the CA that signed the listener's, in PEM; `None` without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.cluster.certificate().map(|certificate| certificate.ca_pem.as_str())
    }

    /// Why the broker has ended connections by itself, the last 64 times: a request that it does not
    /// serve, or that it can't read.
    pub fn refusals(&self) -> Vec<String> {
        self.cluster.refusals()
    }

    /// The faults in force, to be changed at run time.
    pub fn faults(&self) -> WireFaults {
        self.cluster.faults().clone()
    }

    /// Cuts the connections of a node and refuses new ones until it is [back](Self::bring_back). The
    /// other nodes lead and coordinate in its place.
    pub fn take_away(&self, node: i32) {
        self.cluster.placement().take_away(node, None);
    }

    /// Lets a node serve again what it served before.
    pub fn bring_back(&self, node: i32) {
        self.cluster.placement().bring_back(node);
    }

    /// Moves the leader of every partition to the next node, under the next leader epoch.
    pub fn move_leaders(&self) {
        self.cluster.placement().move_leaders();
    }

    /// Moves the coordinator of every group and transactional id to the next node.
    pub fn move_coordinators(&self) {
        self.cluster.placement().move_coordinators();
    }

    #[cfg(feature = "programs")]
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Expels every member of a group that has joined by the wire, as if its session had ended.
    pub fn expel_group(&self, group: &str) {
        self.cluster.broker().change(|state| state.expel(group, None, Instant::now()));
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
    tasks.spawn(sweep(cluster.broker().clone()));
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
                    let (cluster, login) = (cluster.clone(), Login::default());
                    let peer = Peer { cluster, node_id, address, login };
                    connections.spawn(connection::serve(stream, peer));
                }
                Err(_) => tokio::time::sleep(RETRY_AFTER).await,
            },
        }
    }
}

/// Drops, now and then, what no topic keeps any longer; never completes.
async fn sweep(broker: Broker) {
    const PAUSE: Duration = Duration::from_millis(500);
    loop {
        tokio::time::sleep(PAUSE).await;
        broker.with(State::sweep);
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
