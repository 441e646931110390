//! Asks a running service whether it is well.

use std::io::Write as _;

use jobstream_service::metrics::{ProbeError, probe};
use jobstream_service::{EXIT_FAILURE, EXIT_USAGE, environment};
use mailjob::settings::{Settings, SettingsError};

/// Why it is not, or can't be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthcheckError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(
        "METRICS_ADDRESS: found nothing, expected it or EMAIL_SERVICE_PORT, where health is told"
    )]
    NoAddress,
    #[error(transparent)]
    Probe(#[from] ProbeError),
}

impl HealthcheckError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::NoAddress => EXIT_USAGE,
            Self::Probe(_) => EXIT_FAILURE,
        }
    }
}

/// Asks the service with these settings for `/healthz`, and prints its reasons.
///
/// # Errors
/// If it is not well, does not answer, or has no address for its health.
pub(crate) async fn run() -> Result<(), HealthcheckError> {
    let settings = Settings::read(&environment::variables(), &environment::read_file)?;
    let address = settings.metrics_address.ok_or(HealthcheckError::NoAddress)?;
    let reasons = probe(address, "/healthz").await?;
    // Where standard output can't be written, the exit code says it.
    drop(writeln!(anstream::stdout(), "{reasons}"));
    Ok(())
}
