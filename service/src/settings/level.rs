//! The least severe lines that are logged.

use tracing::Level;

use super::SettingsError;
use super::Variables;

/// `LOGLEVEL`, or `INFO`. At `INFO` there is a line a record; at `DEBUG` each attempt has one, and
/// librdkafka's own lines are logged, too.
///
/// # Errors
/// If it is none.
pub(super) fn log_level(variables: &Variables<'_>) -> Result<Level, SettingsError> {
    let levels = [
        ("ERROR", Level::ERROR),
        ("WARN", Level::WARN),
        ("WARNING", Level::WARN),
        ("INFO", Level::INFO),
        ("DEBUG", Level::DEBUG),
        ("TRACE", Level::TRACE),
    ];
    variables.choice("LOGLEVEL", &levels, Level::INFO)
}
