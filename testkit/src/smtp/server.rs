//! The server: where connections come from, and what they share.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::builder::{Config, Parts, SmtpServerBuilder, StartError};
use super::connections::{ConnectionCount, Connections, OpenConnection};
use super::conversation::{Conversation, Exchange};
use super::inbox::Inbox;
use super::misfortune::Moment;
use super::misfortunes::{Ending, Misfortunes, Scene, Tally, Verdict};
use super::reply::Reply;
use super::session::{End, Session};
use super::tls::{Certificate, Tls};
use super::wire::Wire;

/// What fits into each direction of an in-memory connection.
const DUPLEX_OCTETS: usize = 64 * 1024;
/// How long the server waits after a connection that could not be accepted.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);

/// A fake SMTP server. Dropping it stops it and cuts its connections; the [`Inbox`] stays.
#[derive(Debug)]
pub struct SmtpServer {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    listening: Option<Listening>,
}

/// What all conversations of a server share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) inbox: Inbox,
    pub(super) misfortunes: Misfortunes,
    pub(super) conversation: Conversation,
    certificate: Option<Certificate>,
    connections: ConnectionCount,
    messages: AtomicU64,
    refusing: AtomicBool,
    /// Counts the times when all connections were cut.
    cuts: watch::Sender<u64>,
}

#[derive(Debug)]
struct Listening {
    address: SocketAddr,
    switch: mpsc::Sender<Switch>,
}

/// A command to the accept loop.
#[derive(Debug)]
enum Switch {
    /// Close the listener, and say when it is closed.
    Refuse(oneshot::Sender<()>),
    Admit(TcpListener),
}

impl SmtpServer {
    /// Begins with a server that has all extensions, no TLS, no login and no misfortunes.
    pub fn builder() -> SmtpServerBuilder {
        SmtpServerBuilder::new()
    }

    pub(super) fn in_memory(parts: Parts) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(parts)?);
        Ok(Self { shared, tasks: Mutex::default(), listening: None })
    }

    pub(super) async fn listen(parts: Parts, address: SocketAddr) -> Result<Self, StartError> {
        let shared = Arc::new(Shared::new(parts)?);
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            listener.local_addr().map(|address| (listener, address))
        };
        let (listener, address) =
            bound.await.map_err(|source| StartError::Listen { address, source })?;
        let (switch, switches) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(shared.clone(), listener, switches));
        let listening = Some(Listening { address, switch });
        Ok(Self { shared, tasks: Mutex::new(tasks), listening })
    }

    /// Where the server listens.
    ///
    /// # Panics
    /// If the server is [in memory](SmtpServerBuilder::in_memory).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.listening.as_ref().expect("a server in memory has no address").address
    }

    /// The accepted mails.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        self.shared.inbox.clone()
    }

    /// The misfortunes in force, to be changed at run time.
    #[must_use]
    pub fn misfortunes(&self) -> Misfortunes {
        self.shared.misfortunes.clone()
    }

    /// The certificate of the CA that signed the server's, in PEM; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.shared.certificate.as_ref().map(|certificate| certificate.ca_pem.as_str())
    }

    /// How many connections there are and were.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.shared.connections.get()
    }

    /// The last exchanges of all connections, in the order in which they were answered.
    #[must_use]
    pub fn conversation(&self) -> Vec<Exchange> {
        self.shared.conversation.exchanges()
    }

    /// Connects in memory. The server's side runs as a task of the current runtime, which ends with
    /// the connection or with the server.
    ///
    /// # Errors
    /// `ConnectionRefused` after [`refuse_connections`](Self::refuse_connections).
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        if self.shared.refusing.load(Ordering::Acquire) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, server) = duplex(DUPLEX_OCTETS);
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(self.serve(server));
        Ok(client)
    }

    /// Serves one connection that the caller has made, as a future that the caller polls: nothing
    /// is spawned. It completes when the conversation has ended; dropping it cuts the connection.
    /// It does not end with the server.
    pub fn serve<S>(&self, stream: S) -> impl Future<Output = ()> + Send + 'static
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        serve(self.shared.clone(), stream)
    }

    /// Refuses new connections from now on, as if no server were there: the listener is closed when
    /// this completes. Connections that are open stay.
    pub async fn refuse_connections(&self) {
        self.shared.refusing.store(true, Ordering::Release);
        let Some(listening) = &self.listening else { return };
        let (closed, when_closed) = oneshot::channel();
        if listening.switch.send(Switch::Refuse(closed)).await.is_ok() {
            // An error would mean that the accept loop has ended, and its listener with it.
            let _ = when_closed.await;
        }
    }

    /// Takes new connections again, on the same address.
    ///
    /// # Errors
    /// When another process has taken the port meanwhile.
    pub async fn admit_connections(&self) -> io::Result<()> {
        if !self.shared.refusing.load(Ordering::Acquire) {
            return Ok(());
        }
        if let Some(listening) = &self.listening {
            let listener = TcpListener::bind(listening.address).await?;
            let gone = |_| io::Error::other("the accept loop has ended");
            listening.switch.send(Switch::Admit(listener)).await.map_err(gone)?;
        }
        self.shared.refusing.store(false, Ordering::Release);
        Ok(())
    }

    /// Serves at most so many connections at once from now on; see
    /// [`served_limit`](SmtpServerBuilder::served_limit). Those that are open stay.
    pub fn serve_at_most(&self, connections: u64) {
        self.shared.connections.set_served_limit(connections);
    }

    /// Cuts all connections that are open, without a word, also those that stall.
    pub fn disconnect_all(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Stops the server and completes when all its tasks have ended.
    pub async fn shutdown(self) {
        let mut tasks = self.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        tasks.shutdown().await;
    }
}

impl Shared {
    fn new(parts: Parts) -> Result<Self, StartError> {
        let certificate = match parts.config.tls {
            Some(_) => Some(Certificate::new(&parts.tls_names, parts.self_made.as_deref())?),
            None => None,
        };
        Ok(Self {
            certificate,
            inbox: Inbox::new(parts.keep),
            misfortunes: Misfortunes::new(parts.seed, parts.misfortunes),
            conversation: Conversation::new(parts.exchanges_kept),
            config: parts.config,
            connections: ConnectionCount::new(parts.served_limit),
            messages: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
            cuts: watch::Sender::new(0),
        })
    }

    /// Counts a MAIL.
    pub(super) fn next_message(&self) -> u64 {
        self.messages.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// What strikes a new connection.
    fn judge_connection(&self, connection: &OpenConnection, tally: &mut Tally) -> Verdict {
        let scene = Scene {
            moment: Moment::Connect,
            connection: connection.number,
            message: None,
            sender: None,
            recipients: &[],
            behind_dot: false,
        };
        let mut verdict = self.misfortunes.judge(&scene, tally);
        if connection.open > self.config.connections_limit {
            verdict.reply = Some(Reply::plain(421, "too many connections"));
        }
        verdict
    }
}

/// Takes connections until the server is dropped.
async fn accept(shared: Arc<Shared>, listener: TcpListener, mut switches: mpsc::Receiver<Switch>) {
    let mut sessions = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            switch = switches.recv() => match switch {
                Some(Switch::Refuse(closed)) => {
                    listener = None;
                    // An error would mean that nobody waits any more.
                    let _ = closed.send(());
                }
                Some(Switch::Admit(again)) => listener = Some(again),
                None => return,
            },
            Some(_) = sessions.join_next() => {}
            accepted = accepted => match accepted {
                Ok((stream, _)) => {
                    sessions.spawn(serve_tcp(shared.clone(), stream));
                }
                // Of the connection that was to come, or for want of file descriptors (accept(2)).
                Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
            },
        }
    }
}

async fn serve_tcp(shared: Arc<Shared>, stream: TcpStream) {
    // Without it replies only come later; a connection that is broken is found so when it is read.
    let _ = stream.set_nodelay(true);
    serve(shared, stream).await;
}

async fn serve<S>(shared: Arc<Shared>, stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut cuts = shared.cuts.subscribe();
    tokio::select! {
        biased;
        // The error is the client's: it has broken the connection, which ends the conversation.
        _ = converse(&shared, stream) => {}
        _ = cuts.changed() => {}
    }
}

async fn converse<S>(shared: &Shared, stream: S) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    if shared.refusing.load(Ordering::Acquire) {
        return Ok(());
    }
    let open = shared.connections.open().await;
    let mut tally = Tally::default();
    let verdict = shared.judge_connection(&open, &mut tally);
    match verdict.ending {
        Some(Ending::DisconnectBefore) => return Ok(()),
        Some(Ending::Stall) => return Wire::new(stream).stall().await,
        _ => {}
    }
    match (&shared.certificate, shared.config.tls) {
        (Some(certificate), Some(Tls::Implicit)) => {
            let stream = certificate.acceptor.accept(stream).await?;
            let end =
                Session::new(shared, stream, open.number, tally, true).run(Some(verdict)).await?;
            close(end, open).await;
        }
        (Some(certificate), Some(Tls::StartTls)) => {
            let session = Session::new(shared, stream, open.number, tally, false);
            match session.run(Some(verdict)).await? {
                End::StartTls(stream, tally) => {
                    let stream = certificate.acceptor.accept(stream).await?;
                    let end =
                        Session::new(shared, stream, open.number, tally, true).run(None).await?;
                    close(end, open).await;
                }
                end => close(end, open).await,
            }
        }
        _ => {
            let session = Session::new(shared, stream, open.number, tally, false);
            close(session.run(Some(verdict)).await?, open).await;
        }
    }
    Ok(())
}

/// The connection no longer counts as open once the server has closed its side.
async fn close<S>(end: End<S>, open: OpenConnection)
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    drop(open);
    if let End::Closed(wire) = end {
        wire.linger().await;
    }
}
