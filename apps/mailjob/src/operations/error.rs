//! Why a command did not do what it was asked.

use std::io;

use jobstream::kafka::{RedriveError, TopicError};
use jobstream::sinks::SinkError;
use jobstream_service::{EXIT_FAILURE, EXIT_USAGE};
use mailjob::settings::SettingsError;

use crate::service::{ServiceError, named};

/// Why a command did not do what it was asked; its text is one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperationError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// What was asked for is not there.
    #[error("{0}")]
    Missing(String),
    #[error("Kafka: {}", named(.0))]
    Topic(#[from] TopicError),
    #[error("run '{run}': {error}; go on with --run {run}")]
    Run { run: String, error: RedriveError },
    #[error("nobody knows whether all were produced: {0}; see 'parked list'")]
    Sink(SinkError),
    #[error("standard output can't be written: {0}")]
    Output(#[from] io::Error),
}

impl From<SettingsError> for OperationError {
    fn from(error: SettingsError) -> Self {
        Self::Service(error.into())
    }
}

impl OperationError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Service(error) => error.exit_code(),
            Self::Usage(_) => EXIT_USAGE,
            _ => EXIT_FAILURE,
        }
    }
}
