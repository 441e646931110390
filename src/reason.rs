//! Reasons: why something was refused, for people.
//!
//! A reason goes into headers, logs and tables. It names type and place and never shows content,
//! which may be private and of any size; and it is bounded, whatever its source.
//!
//! Headers, logs and tables have other readers than a job has, and take less. serde's errors repeat
//! the value that was refused, whole: so a codec takes such an error apart, and leaves out what may
//! hold data.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The longest reason, in bytes. A longer one is cut, and ends with `…`.
pub const REASON_LIMIT_BYTES: usize = 1_024;

const CUT: char = '…';

/// The reason, cut at a character where it is longer than [`REASON_LIMIT_BYTES`].
pub fn bounded(reason: impl Into<String>) -> String {
    let mut reason = reason.into();
    if reason.len() > REASON_LIMIT_BYTES {
        reason.truncate(reason.floor_char_boundary(REASON_LIMIT_BYTES - CUT.len_utf8()));
        reason.push(CUT);
    }
    reason
}

/// What went wrong at a source, sink or store: a text for people, and the error behind it, where there
/// is one, for programs.
///
/// The text says it all: what the error behind it says is a part of it.
#[derive(Clone, Debug)]
pub struct Reason {
    text: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl Reason {
    /// A reason with no error behind it.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), source: None }
    }

    /// An error as the reason, in its own words.
    pub fn of(error: impl Error + Send + Sync + 'static) -> Self {
        Self { text: error.to_string(), source: Some(Arc::new(error)) }
    }

    /// The same error behind other words.
    #[must_use]
    pub fn in_words(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The error behind it.
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Reason {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_a_character_where_it_is_too_long() {
        for text in ["a", "ä", "€", "🍕"] {
            let fits = text.repeat(REASON_LIMIT_BYTES / text.len());
            assert_eq!(bounded(fits.clone()), fits);
            let cut = bounded(text.repeat(REASON_LIMIT_BYTES + 1));
            assert!(cut.len() <= REASON_LIMIT_BYTES && cut.len() > REASON_LIMIT_BYTES - 4);
            assert!(cut.ends_with(CUT) && cut.starts_with(text), "{cut}");
        }
    }
}
