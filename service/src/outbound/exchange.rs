//! One request and its answer, on a connection of their own.
//!
//! A kept connection may be closed by the receiver just as the next request is written, and nobody
//! could say whether that one was taken. So each has its own; TLS sessions are resumed.

use std::pin::Pin;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::FusedFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::http::response::Parts;
use hyper::{Error, Request};
use hyper_util::rt::TokioIo;
use tokio::select;
use tokio::time::{Instant, timeout_at};

use super::network::Stream;

/// The longest head of an answer, in bytes.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;

/// Sends a request in HTTP/1.1, and completes with the head of its answer. Of the body at most
/// `answer_bytes` are read, until the same time; what becomes of it changes nothing.
///
/// # Cancellation
/// Dropping the future closes the connection; of the request any part may have arrived.
///
/// # Errors
/// If no answer has come by `until`; of the request any part may have arrived.
pub async fn exchange(
    stream: Box<dyn Stream>,
    request: Request<Full<Bytes>>,
    answer_bytes: usize,
    until: Instant,
) -> Result<Parts, String> {
    let lost = |error: Error| format!("the answer was lost: {error}");
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_LIMIT_BYTES);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(lost)?;
    let mut connection = Box::pin(connection.fuse());
    let answer = beside(connection.as_mut(), sender.send_request(request));
    let answer = timeout_at(until, answer).await;
    let (head, body) = match answer {
        Ok(answer) => answer.map_err(lost)?.into_parts(),
        Err(_) => return Err("no answer within the time limit".to_owned()),
    };
    let read = beside(connection.as_mut(), read(body, answer_bytes));
    // Late or not, the receiver has said what it has to say.
    _ = timeout_at(until, read).await;
    Ok(head)
}

/// Completes as the work does, which the connection carries on.
async fn beside<T>(
    mut connection: Pin<&mut (impl FusedFuture<Output = Result<(), Error>> + Send)>,
    work: impl Future<Output = T> + Send,
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        select! {
            biased;
            done = &mut work => return done,
            _ = &mut connection, if !connection.is_terminated() => {}
        }
    }
}

async fn read(mut body: Incoming, mut left: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
