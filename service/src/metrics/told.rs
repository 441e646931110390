//! Where metrics and health are served.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Monitor;
use crate::Failure;

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
    /// Serves requests, if there is anything to serve, as soon as no other process has the address:
    /// work is not held up by that. Completes only if it is not possible; dropped, it answers no
    /// request any more.
    pub async fn tell(told: Option<Self>) -> Failure {
        let Some(Self { address, monitor }) = told else { return pending().await };
        match serve(address, monitor).await {
            Err(error) => Failure::new(format!("metrics can't be told on {address}: {error}")),
            Ok(()) => pending().await,
        }
    }
}

async fn serve(address: SocketAddr, monitor: Monitor) -> io::Result<()> {
    let listener = listen(address).await?;
    info!("Metrics and health on http://{}", listener.local_addr()?);
    monitor.serve(listener).await;
    Ok(())
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
