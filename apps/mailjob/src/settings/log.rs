//! What is logged, and how.

use jobstream_service::{SettingsError, Variables};

/// The least severe lines that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// What may fail, too.
    Warn,
    /// What happens, too: a line a job.
    Info,
    /// Each attempt, and librdkafka's own lines, too.
    Debug,
    /// Everything.
    Trace,
}

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
    pub level: LogLevel,
    /// What a line looks like.
    pub format: LogFormat,
    /// A label of every line.
    pub environment: Option<String>,
}

impl LogSettings {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let levels = [
            ("ERROR", LogLevel::Error),
            ("WARN", LogLevel::Warn),
            ("WARNING", LogLevel::Warn),
            ("INFO", LogLevel::Info),
            ("DEBUG", LogLevel::Debug),
            ("TRACE", LogLevel::Trace),
        ];
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Ok(Self {
            level: variables.choice("LOGLEVEL", &levels, LogLevel::Info)?,
            format: variables.choice("LOG_FORMAT", &formats, LogFormat::Text)?,
            environment: variables.text("ENVIRONMENT"),
        })
    }
}
