//! Connections to hosts that jobs name: nobody reaches by a job what only this machine can reach.
//!
//! ```text
//!  host ─▶ resolve ─▶ check ─▶ connect to what was checked ─▶ TLS ─▶ Stream
//!           (Network)  (is_public)      (Network)
//! ```

mod address;
mod exchange;
mod lookups;
mod network;
mod tls;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub use address::is_public;
pub use exchange::exchange;
pub use network::{Network, Stream, Tcp};
pub use tls::Trust;

/// The addresses of a host that are tried, at most.
const ADDRESSES_MAX: usize = 4;

/// Connects to hosts that jobs name.
pub struct Connector {
    network: Arc<dyn Network>,
    tls: TlsConnector,
    allow_private: bool,
    /// How long the look-up of a name may take, and then its addresses, all together.
    timeout: Duration,
}

/// Why there is no connection; nothing was sent. It shows nothing of the host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host has none but addresses that are not [public](is_public).
    #[error("found a host without a public address, expected one")]
    NotPublic,
    /// No certificate can have a name as the host's.
    #[error("found a host that no certificate can name, expected one for TLS")]
    NoName,
    /// The host can't be found or reached, or it has no certificate of its name.
    #[error("{0}")]
    Unreachable(String),
}

impl Connector {
    /// Connects by this network. `timeout` is for the look-up of a host's name, and once more for
    /// connections to all its addresses together; TLS comes after it, and has no limit here.
    pub fn new(network: Arc<dyn Network>, trust: &Trust, timeout: Duration) -> Self {
        let tls = trust.config.clone().into();
        Self { network, tls, allow_private: false, timeout }
    }

    /// Whether it also connects to addresses that are not [public](is_public).
    #[must_use]
    pub const fn allow_private(mut self, allow: bool) -> Self {
        self.allow_private = allow;
        self
    }

    /// A connection to a host, a name or an address: to an address that was looked up once and checked,
    /// whatever its name means a moment later. Of several, those that are not public are passed over.
    ///
    /// # Cancellation
    /// Dropping the future closes what is there of the connection.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        is_encrypted: bool,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let addresses = self.addresses(host).await?;
        let stream = self.first(&addresses, port).await?;
        if !is_encrypted {
            return Ok(stream);
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::NoName)?;
        let encrypted = self.tls.connect(name, stream).await;
        Ok(Box::new(encrypted.map_err(|error| unreachable(&"TLS", &error))?))
    }

    /// The addresses of a host that may be connected to.
    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let mut addresses = match host.parse() {
            Ok(address) => vec![address],
            Err(_) => self
                .found(host)
                .await
                .map_err(|problem| unreachable(&"the host's name", &problem))?,
        };
        addresses.retain(|address| self.allow_private || is_public(*address));
        addresses.truncate(ADDRESSES_MAX);
        if addresses.is_empty() { Err(ConnectError::NotPublic) } else { Ok(addresses) }
    }

    /// The addresses of a name, one at least.
    async fn found(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match timeout(self.timeout, self.network.resolve(name)).await {
            Ok(Ok(found)) if found.is_empty() => Err("it has no address".to_owned()),
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(_) => Err(format!("not within {:?}", self.timeout)),
        }
    }

    /// A connection to the first address that takes one. Each has its share of the time.
    async fn first(
        &self,
        addresses: &[IpAddr],
        port: u16,
    ) -> Result<Box<dyn Stream>, ConnectError> {
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(1);
        let mut problem = "it has no address".to_owned();
        for address in addresses {
            let connecting = self.network.connect(SocketAddr::new(*address, port));
            match timeout(share, connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => problem = error.to_string(),
                Err(_) => problem = format!("not within {share:?}"),
            }
        }
        Err(unreachable(&"no connection", &problem))
    }
}

fn unreachable(what: &dyn fmt::Display, problem: &dyn fmt::Display) -> ConnectError {
    ConnectError::Unreachable(format!("{what}: {problem}"))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use async_trait::async_trait;
    use tokio::time::Instant;

    use super::*;

    /// No name server answers.
    struct Silent;

    #[async_trait]
    impl Network for Silent {
        async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            std::future::pending().await
        }

        async fn connect(&self, _: SocketAddr) -> io::Result<Box<dyn Stream>> {
            Err(io::ErrorKind::ConnectionRefused.into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_nobody_answers_for_takes_no_longer_than_a_connection_may() {
        let limit = Duration::from_secs(10);
        let connector = Connector::new(Arc::new(Silent), &Trust::new(None).unwrap(), limit);
        let begin = Instant::now();
        let ended = connector.connect("dead.example", 443, true).await.map(drop);
        let expected = "the host's name: not within 10s".to_owned();
        assert_eq!(ended, Err(ConnectError::Unreachable(expected)));
        assert_eq!(begin.elapsed(), limit);
    }
}
