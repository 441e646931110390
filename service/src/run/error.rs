//! What ends the service.

use std::io;
use std::net::SocketAddr;

use jobstream::topology::RunError;

use crate::settings::{PropertyError, SettingsError};
use crate::{EXIT_FAILURE, EXIT_USAGE, Failure, SignalError};

/// Why a command on Kafka has ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// What the service's own part ends with.
    #[error(transparent)]
    Own(#[from] Failure),
    /// The brokers refuse what no time mends.
    #[error("Kafka: {0}")]
    Kafka(String),
    #[error("the ledger can't be kept: {0}")]
    Ledger(String),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the page can't be shown on {0}: {1}")]
    Page(SocketAddr, io::Error),
    #[error("log lines can't be written: {0}")]
    Log(io::Error),
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// What `check` has found; said already.
    #[error("{0} of the checks failed")]
    Checks(usize),
}

impl ServiceError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Property(_) => EXIT_USAGE,
            Self::Own(failure) => failure.exit_code(),
            Self::Signal(error) => error.exit_code(),
            _ => EXIT_FAILURE,
        }
    }
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}
