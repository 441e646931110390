//! What a service's own part ends with.

use std::fmt;

use crate::settings::SettingsError;
use crate::{EXIT_FAILURE, EXIT_USAGE, SignalError};

/// What ends a service, or a command of its own: a line for people, and an exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// What no setting mends: exit code 1.
    pub fn new(text: impl fmt::Display) -> Self {
        Self { code: EXIT_FAILURE, text: text.to_string() }
    }

    /// Wrong usage, or a wrong setting: exit code 2.
    pub fn usage(text: impl fmt::Display) -> Self {
        Self { code: EXIT_USAGE, text: text.to_string() }
    }

    pub(crate) fn of(code: u8, text: &dyn fmt::Display) -> Self {
        Self { code, text: text.to_string() }
    }

    /// The exit code that says it.
    pub const fn exit_code(&self) -> u8 {
        self.code
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error)
    }
}

impl From<SignalError> for Failure {
    fn from(error: SignalError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}

#[cfg(feature = "kafka")]
impl From<crate::PropertyError> for Failure {
    fn from(error: crate::PropertyError) -> Self {
        Self::usage(error)
    }
}

#[cfg(feature = "kafka")]
impl From<crate::traces::TracesError> for Failure {
    fn from(error: crate::traces::TracesError) -> Self {
        match error {
            crate::traces::TracesError::Exporter(error) => Self::usage(error),
            error @ crate::traces::TracesError::Thread(_) => Self::new(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}
