//! A setting that ends the start.

use std::io;
use std::path::PathBuf;

/// A wrong or missing setting. Its text is one line that names the variable, what was found and
/// what is expected; a secret is never shown.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A setting is missing.
    #[error("{name}: found nothing, expected {expected}")]
    Missing {
        /// The variable.
        name: String,
        /// What is expected.
        expected: String,
    },
    /// A setting has a value that it can't have.
    #[error("{name}: found {found}, expected {expected}")]
    Invalid {
        /// The variable.
        name: String,
        /// What was found, quoted; of a secret only what is wrong with it.
        found: String,
        /// What is expected.
        expected: String,
    },
    /// A property of librdkafka has a value that it can't have.
    #[error("{name}: {reason}")]
    Property {
        /// The variable.
        name: String,
        /// What was found, and expected.
        reason: String,
    },
    /// A secret is given as a value and as a file.
    #[error("{name}: found both {name} and {name}_FILE, expected one of them")]
    Both {
        /// The variable.
        name: String,
    },
    /// A file that a setting names can't be read.
    #[error("{name}: found {path:?}, expected a file that can be read: {error}")]
    File {
        /// The variable.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why it can't.
        error: io::Error,
    },
    /// A line of a file of settings is none.
    #[error("{path}, line {line}: found {found}, expected NAME=VALUE")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it; never its value.
        found: &'static str,
    },
}

impl SettingsError {
    /// A setting that must be there is not.
    pub fn missing(name: &str, expected: &str) -> Self {
        Self::Missing { name: name.to_owned(), expected: expected.to_owned() }
    }

    /// Shows what was found in quotes.
    pub fn invalid(name: &str, found: &str, expected: impl Into<String>) -> Self {
        Self::Invalid {
            name: name.to_owned(),
            found: format!("{found:?}"),
            expected: expected.into(),
        }
    }

    /// Does not show what was found, but says what is wrong with it.
    pub fn wrong(name: &str, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Invalid { name: name.to_owned(), found: found.into(), expected: expected.into() }
    }
}
