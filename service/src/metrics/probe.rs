//! A probe for containers that have no shell, and so no HTTP client.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a service may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 65_536;

/// Why a service is not well, as far as a probe can see.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Nobody answers.
    #[error("http://{0}: {1}")]
    Unreachable(SocketAddr, io::Error),
    /// Nobody answers in time.
    #[error("http://{0}: found no answer within {limit} s", limit = ANSWER_LIMIT.as_secs())]
    Late(SocketAddr),
    /// It is not well, and says why.
    #[error("{0}")]
    NotWell(String),
}

/// Asks a [`Monitor`](super::Monitor) that listens on `address` for a path such as `/healthz`;
/// completes with its reasons in JSON. One that listens on every interface is asked on loopback.
///
/// # Errors
/// If it does not answer within 10 s, or with another status than 200.
pub async fn probe(address: SocketAddr, path: &str) -> Result<String, ProbeError> {
    let address = reachable(address);
    let answer = timeout(ANSWER_LIMIT, get(address, path)).await;
    let answer = answer.map_err(|_| ProbeError::Late(address))?;
    let answer = answer.map_err(|error| ProbeError::Unreachable(address, error))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1);
    if status == Some("200") {
        return Ok(body.trim_end().to_owned());
    }
    let first = head.lines().next().unwrap_or_default();
    let reason = if body.is_empty() { first } else { body };
    Err(ProbeError::NotWell(reason.trim_end().to_owned()))
}

/// HTTP/1.0, so that the answer ends with the connection.
async fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX_BYTES).read_to_string(&mut answer).await?;
    Ok(answer)
}

fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
