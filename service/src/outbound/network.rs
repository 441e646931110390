//! What finds hosts and connects to them. A test has a network of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::lookups::Lookups;

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What finds hosts and connects to them. Which addresses may be connected to is not its concern.
#[async_trait]
pub trait Network: Send + Sync {
    /// The addresses of a host's name, the preferred one first.
    ///
    /// # Errors
    /// If it has none, or nobody can be asked.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;

    /// A connection to exactly this address.
    ///
    /// # Cancellation
    /// Dropping the future closes what is there of the connection.
    ///
    /// # Errors
    /// If there is none to be had.
    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>>;
}

/// The network of the machine. A name is looked up once at a time, for all who wait for it.
#[derive(Clone, Debug, Default)]
pub struct Tcp {
    lookups: Lookups,
}

#[async_trait]
impl Network for Tcp {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.find(name).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}
