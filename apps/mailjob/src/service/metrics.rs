//! What is counted, and where it is served.

use std::future::pending;

use jobstream_service::metrics::Told;
use mailjob::metrics::Metrics;
use mailjob::settings::Settings;

use super::ServiceError;

/// What is counted, and what serves it, if the settings say where.
pub(super) fn metrics(settings: &Settings) -> Option<(Metrics, Told)> {
    let address = settings.metrics_address?;
    let group = &settings.topics.group;
    let (metrics, monitor) = Metrics::new(group, settings.log.environment.as_deref());
    Some((metrics, Told { address, monitor }))
}

/// Serves metrics and health, if the settings say where. Completes only if that is not possible.
pub(super) async fn tell(told: Option<Told>) -> ServiceError {
    let Some(told) = told else { return pending().await };
    let address = told.address;
    match told.tell().await {
        Err(error) => ServiceError::Listen(address, error),
        Ok(()) => pending().await,
    }
}
