//! What ends the service.

use std::io;
use std::net::SocketAddr;

use jobstream::sinks::smtp;
use jobstream::topology::RunError;
use jobstream_service::{EXIT_FAILURE, EXIT_USAGE, PropertyError, SignalError};
use mailjob::settings::SettingsError;

/// Why a command on Kafka has ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServiceError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Property(#[from] PropertyError),
    #[error(transparent)]
    MailSettings(#[from] smtp::ConfigError),
    /// The brokers refuse what no time mends.
    #[error("Kafka: {0}")]
    Kafka(String),
    #[error("the topic '{0}' is missing: expected it, or TOPIC_CREATE=true")]
    TopicMissing(String),
    #[error("the ledger can't be kept: {0}")]
    Ledger(String),
    #[error("the mail server's certificate does not hold: {0}; see MAIL_TLS_CA_FILE")]
    Certificate(String),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("metrics can't be told on {0}: {1}")]
    Listen(SocketAddr, io::Error),
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
            Self::Settings(_) | Self::Property(_) | Self::MailSettings(_) => EXIT_USAGE,
            Self::Signal(error) => error.exit_code(),
            _ => EXIT_FAILURE,
        }
    }
}
