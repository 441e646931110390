//! What is logged, and how.

use super::{SettingsError, Variables, log_level};
use tracing::Level;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe lines.
    pub level: Level,
    /// What a line looks like.
    pub format: LogFormat,
    /// A label of every line.
    pub environment: Option<String>,
}

impl LogSettings {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Ok(Self {
            level: log_level(variables)?,
            format: variables.choice("LOG_FORMAT", &formats, LogFormat::Text)?,
            environment: variables.text("ENVIRONMENT"),
        })
    }
}
