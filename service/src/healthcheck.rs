//! Asks a running service whether it is well.

use crate::metrics::{ProbeError, probe};
use crate::settings::{ServiceSettings, SettingsError};
use crate::{EXIT_FAILURE, EXIT_USAGE, Failure};

/// Why it is not, or can't be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthcheckError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("METRICS_ADDRESS: found nothing, expected it or {0}, where health is told")]
    NoAddress(&'static str),
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl HealthcheckError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::NoAddress(_) => EXIT_USAGE,
            Self::Probe(_) => EXIT_FAILURE,
        }
    }
}

impl From<HealthcheckError> for Failure {
    fn from(error: HealthcheckError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}

/// The reasons that the service with these settings gives at `/healthz`. `port` is the variable with
/// the port of its metrics.
///
/// # Errors
/// If it is not well, does not answer, or has no address for its health.
pub(crate) async fn run(
    settings: &ServiceSettings,
    port: &'static str,
) -> Result<String, HealthcheckError> {
    let address = settings.process.metrics_address.ok_or(HealthcheckError::NoAddress(port))?;
    Ok(probe(address, "/healthz").await?)
}
