//! An HTTP receiver: answers every request with 200, and keeps what it says.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// The bytes of a body, at most.
const BODY_MAX_BYTES: usize = 16 << 20;

/// Serves until it is dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    address: SocketAddr,
    taken: Taken,
    serving: JoinHandle<()>,
}

/// The requests that were answered, and not yet looked at.
type Taken = Arc<Mutex<Vec<Taking>>>;

/// A request that was answered.
#[derive(Debug)]
pub(super) struct Taking {
    /// Method, path and headers.
    pub(super) head: String,
    pub(super) body: Bytes,
}

impl Receiver {
    pub(super) async fn listen() -> io::Result<Self> {
        let socket = TcpListener::bind("127.0.0.1:0").await?;
        let (address, taken) = (socket.local_addr()?, Taken::default());
        let serving = tokio::spawn(serve(socket, taken.clone()));
        Ok(Self { address, taken, serving })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has come since this was last asked.
    pub(super) fn take(&self) -> Vec<Taking> {
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(socket: TcpListener, taken: Taken) {
    /// The wait after a failed accept, for instance because too many files are open.
    const RETRY_AFTER: Duration = Duration::from_millis(10);
    let mut connections = JoinSet::new();
    loop {
        select! {
            biased;
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = socket.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(converse(stream, taken.clone()));
                }
                Err(_) => sleep(RETRY_AFTER).await,
            },
        }
    }
}

async fn converse(stream: TcpStream, taken: Taken) {
    let answer = service_fn(|request| answer(request, taken.clone()));
    // A client that goes in the middle of a request has sent none.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

async fn answer(
    request: Request<Incoming>,
    taken: Taken,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut head = format!("{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        head += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    let status = match Limited::new(request.into_body(), BODY_MAX_BYTES).collect().await {
        Ok(body) => {
            let taking = Taking { head, body: body.to_bytes() };
            taken.lock().unwrap_or_else(PoisonError::into_inner).push(taking);
            StatusCode::OK
        }
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}
