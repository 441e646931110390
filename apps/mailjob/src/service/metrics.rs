//! Where metrics and health are told.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jobstream_service::metrics::Monitor;
use mailjob::metrics::Metrics;
use mailjob::settings::Settings;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tracing::{info, warn};

use super::ServiceError;

/// The wait before an address that another process has is tried again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What tells metrics and health, where a setting wants it.
pub(super) struct Told {
    address: SocketAddr,
    monitor: Monitor,
}

/// What is counted, and what tells it, if the settings say where.
pub(super) fn metrics(settings: &Settings) -> Option<(Metrics, Told)> {
    let address = settings.metrics_address?;
    let group = &settings.topics.group;
    let (metrics, monitor) = Metrics::new(group, settings.log.environment.as_deref());
    Some((metrics, Told { address, monitor }))
}

/// Answers who asks, if anybody may. Completes only if that is not possible.
pub(super) async fn tell(told: Option<Told>) -> ServiceError {
    let Some(Told { address, monitor }) = told else { return pending().await };
    let told = async {
        let listener = listen(address).await?;
        info!("Metrics and health on http://{}", listener.local_addr()?);
        monitor.serve(listener).await
    };
    match told.await {
        Err(error) => ServiceError::Listen(address, error),
        Ok(()) => pending().await,
    }
}

/// Listens as soon as no other process does: jobs are not held up by who else has the address.
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
