//! Why a command did not do what it was asked.

use std::io::{self, Write as _};

use jobstream::kafka::{RedriveError, TopicError};
use jobstream::sinks::SinkError;

use crate::ensure::named;
use crate::run::ServiceError;
use crate::settings::SettingsError;
use crate::{EXIT_FAILURE, EXIT_USAGE, Failure};

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

/// What a command that only shows ends with: a reader that goes away, as `head` does, has seen enough.
pub(crate) fn shown(ended: Result<(), OperationError>) -> Result<(), OperationError> {
    match ended {
        Err(OperationError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

/// Prints a line to standard output.
pub(crate) fn print(line: &str) -> Result<(), OperationError> {
    shown(writeln!(anstream::stdout(), "{line}").map_err(OperationError::Output))
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

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}
