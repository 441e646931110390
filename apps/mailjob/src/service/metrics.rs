//! Where metrics and health are told.

use std::future::pending;
use std::net::SocketAddr;

use jobstream_service::metrics::Monitor;
use mailjob::metrics::Metrics;
use mailjob::settings::Settings;
use tokio::net::TcpListener;
use tracing::info;

use super::ServiceError;

/// What tells metrics and health, where a setting wants it.
pub(super) struct Told {
    address: SocketAddr,
    listener: TcpListener,
    monitor: Monitor,
}

/// Listens where the settings say so.
///
/// # Errors
/// If that is not possible.
pub(super) async fn open(settings: &Settings) -> Result<Option<(Metrics, Told)>, ServiceError> {
    let Some(address) = settings.metrics_address else { return Ok(None) };
    let broken = |error| ServiceError::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(broken)?;
    let address = listener.local_addr().map_err(broken)?;
    info!("Metrics and health on http://{address}");
    let (metrics, monitor) = Metrics::new(settings.log.environment.as_deref());
    Ok(Some((metrics, Told { address, listener, monitor })))
}

/// Answers who asks, if anybody may. Completes only if that is not possible any more.
pub(super) async fn tell(told: Option<Told>) -> ServiceError {
    let Some(Told { address, listener, monitor }) = told else { return pending().await };
    match monitor.serve(listener).await {
        Err(error) => ServiceError::Listen(address, error),
        Ok(()) => pending().await,
    }
}
