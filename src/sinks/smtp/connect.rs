//! How a connection to the server comes to be.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use super::addresses::{InVain, first_to_connect, in_order};

/// A stream of bytes in both directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> Stream for S {}

/// Opens connections to the server. The sink speaks SMTP, and TLS, on what it is given.
#[async_trait]
pub trait Connect: Send + Sync {
    /// Opens one. The sink limits its time; dropping the future gives it up.
    ///
    /// # Errors
    /// If the server cannot be reached, which is its fault and no job's.
    async fn connect(&self) -> io::Result<Box<dyn Stream>>;

    /// Opens one like [`connect`](Self::connect), and gives the address that it has reached, where
    /// the server may have several.
    ///
    /// # Errors
    /// If the server cannot be reached, which is its fault and no job's.
    async fn reach(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        Ok((self.connect().await?, None))
    }

    /// No mail could be sent on a connection to this address: another one is worth a try.
    fn came_to_nothing(&self, _: IpAddr) {}
}

/// Opens TCP connections, without Nagle's delay, to whichever address of the host answers.
///
/// The addresses are tried in the order in which they were looked up, IPv6 and IPv4 by turns; the
/// next one after 250 ms, or as soon as one has failed, while the earlier ones go on (RFC 8305). An
/// address that was reached in vain, since no mail could be sent there, is tried last from then on
/// (RFC 5321 section 5.1: all of them are tried until one serves).
#[derive(Debug)]
pub struct TcpConnect {
    host: String,
    port: u16,
    in_vain: Mutex<InVain>,
}

impl TcpConnect {
    /// Connects to that host, a name or an IP address.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, in_vain: Mutex::default() }
    }

    async fn tcp(&self) -> io::Result<(SocketAddr, TcpStream)> {
        let found = lookup_host((self.host.as_str(), self.port)).await?;
        let addresses = in_order(found, &self.in_vain());
        first_to_connect(addresses, |address| async move {
            TcpStream::connect(address).await.map(|stream| (address, stream))
        })
        .await
    }

    fn in_vain(&self) -> MutexGuard<'_, InVain> {
        self.in_vain.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Connect for TcpConnect {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        self.reach().await.map(|(stream, _)| stream)
    }

    async fn reach(&self) -> io::Result<(Box<dyn Stream>, Option<IpAddr>)> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}:{}: {error}", self.host, self.port))
        };
        let (address, stream) = self.tcp().await.map_err(named)?;
        stream.set_nodelay(true)?;
        Ok((Box::new(stream), Some(address.ip())))
    }

    fn came_to_nothing(&self, address: IpAddr) {
        self.in_vain().add(address);
    }
}
