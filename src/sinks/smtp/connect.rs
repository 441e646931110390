//! How a connection to the server comes to be.

use std::io;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

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
}

/// Opens TCP connections, without Nagle's delay, to the first address of the host that answers.
#[derive(Clone, Debug)]
pub struct TcpConnect {
    host: String,
    port: u16,
}

impl TcpConnect {
    /// Connects to that host, a name or an IP address.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

#[async_trait]
impl Connect for TcpConnect {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}:{}: {error}", self.host, self.port))
        };
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(named)?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
