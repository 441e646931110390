//! Where metrics and health are served.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Monitor;

/// The wait before an address that another process has is tried again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A monitor, and the address at which it serves.
#[derive(Debug)]
pub struct Told {
    /// Where.
    pub address: SocketAddr,
    /// What.
    pub monitor: Monitor,
}

impl Told {
    /// Serves requests, as soon as no other process has the address: work is not held up by that.
    /// Completes only if it is not possible; dropped, it answers no request any more.
    ///
    /// # Errors
    /// The listener's.
    pub async fn tell(self) -> io::Result<()> {
        let listener = listen(self.address).await?;
        info!("Metrics and health on http://{}", listener.local_addr()?);
        self.monitor.serve(listener).await;
        Ok(())
    }
}

async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let mut is_told = false;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if !std::mem::replace(&mut is_told, true) {
                    warn!("Metrics and health can't be told on {address} yet: {error}");
                }
                sleep(LISTEN_AGAIN_AFTER).await;
            }
            bound => return bound,
        }
    }
}
