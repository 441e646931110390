//! A listener that no client can exhaust.
//!
//! ```text
//!  accept ─▶ client has room? ─▶ listener has room? ─▶ connection ─▶ router
//!                │ no: closed        │ no: the one that has waited longest
//!                ▼                   ▼     for a request is closed
//! ```
//!
//! axum's own server takes every connection and waits for a request without limit: a few hundred
//! silent connections use up the file descriptors of the process, and its work stops. This one has
//! a share of the descriptors, and gives each client a share of that.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::sleep;

use super::client::Client;
use super::connection::{self, Waiting};
use super::limits::Limits;

/// The wait before a connection is accepted again, after the process had no descriptor for one.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Answers HTTP/1.1 until `shutdown` completes; then requests under way are answered, and it
/// completes. Dropping it ends every connection at once.
///
/// A client that has its share of connections gets no more. Where the listener has all that it may
/// have, the one that has waited longest for a request is closed for a new one; if none waits, the
/// new one is. A connection whose client sends no whole head of a request, or reads nothing, for
/// [`Limits::standstill`] is closed. How long a request may take is up to the router: see
/// [`limit`](super::limit).
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let mut connections = Connections::new(limits);
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.tasks.join_next_with_id() => {
                connections.forget(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            (stream, client) = accept(&listener) => connections.begin(stream, client, &router),
        }
    }
    drop(listener);
    connections.end().await;
}

/// The next connection; a fault that passes is waited for.
async fn accept(listener: &TcpListener) -> (TcpStream, Client) {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, Client::at(address)),
            Err(error) => match error.kind() {
                ConnectionAborted | ConnectionRefused | ConnectionReset => {}
                _ => sleep(ACCEPT_AGAIN_AFTER).await,
            },
        }
    }
}

/// The connections that are open.
struct Connections {
    limits: Limits,
    open: Vec<Open>,
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

struct Open {
    client: Client,
    waiting: Waiting,
    task: AbortHandle,
}

impl Connections {
    fn new(limits: Limits) -> Self {
        let stop = watch::Sender::new(false);
        Self { limits, open: Vec::new(), tasks: JoinSet::new(), stop }
    }

    /// Begins to answer on a connection, if there is room for it.
    fn begin(&mut self, stream: TcpStream, client: Client, router: &Router) {
        if !self.has_room_for(client) {
            return;
        }
        // Where it can't be set, an answer is late at worst.
        let _ = stream.set_nodelay(true);
        let waiting = Waiting::since_now();
        let (router, standstill) = (router.clone(), self.limits.standstill);
        let stopped = self.stop.subscribe();
        let answer =
            connection::answer(stream, client, router, waiting.clone(), standstill, stopped);
        let task = self.tasks.spawn(answer);
        self.open.push(Open { client, waiting, task });
    }

    /// Whether a client may have one more; makes room, if there is none and one can be closed.
    fn has_room_for(&mut self, client: Client) -> bool {
        let own = self.open.iter().filter(|open| open.client == client).count();
        if own >= self.limits.connections_of_client {
            return false;
        }
        if self.open.len() < self.limits.connections {
            return true;
        }
        let since = |(at, open): (usize, &Open)| Some((open.waiting.since()?, at));
        let Some((_, longest)) = self.open.iter().enumerate().filter_map(since).min() else {
            return false;
        };
        self.open.remove(longest).task.abort();
        true
    }

    fn forget(&mut self, ended: Id) {
        self.open.retain(|open| open.task.id() != ended);
    }

    /// Ends each after the request under way.
    async fn end(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}
