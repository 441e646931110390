//! A customer's name.

use std::fmt;

use jobstream_service::is_plain;

use crate::customer_id::CustomerId;

/// The longest name, in characters.
pub(super) const MAX_CHARS: usize = 40;

/// What a customer is called: 1 to 40 characters, none of them a control character, without white
/// space around them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

/// Characters that are no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    #[error("Please enter your name.")]
    Empty,
    #[error("A name has at most 40 characters; yours has {0}.")]
    Long(usize),
    #[error("A name has no control characters.")]
    Control,
}

impl Name {
    /// The name that was entered.
    ///
    /// # Errors
    /// If it is none, said for its customer.
    pub(super) fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        match text.chars().count() {
            0 => Err(NameError::Empty),
            chars if chars > MAX_CHARS => Err(NameError::Long(chars)),
            _ if !text.chars().all(is_plain) => Err(NameError::Control),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// Its characters.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of the customer of that name.
    pub(super) fn customer_id(&self) -> CustomerId {
        CustomerId::of(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_without_the_space_around_it() {
        assert_eq!(Name::parse("  Zoë O'Hara ").unwrap().as_str(), "Zoë O'Hara");
        assert_eq!(Name::parse(&"ö".repeat(40)).unwrap().as_str(), "ö".repeat(40));
    }

    #[test]
    fn what_is_no_name_is_refused_with_its_reason() {
        assert_eq!(Name::parse(" \t "), Err(NameError::Empty));
        assert_eq!(Name::parse(&"ö".repeat(41)), Err(NameError::Long(41)));
        for text in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b", "a\u{202e}b", "a\u{2066}b"] {
            assert_eq!(Name::parse(text), Err(NameError::Control), "{text:?}");
        }
    }
}
