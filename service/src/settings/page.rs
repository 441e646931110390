//! Access to the live page, and what it may show.

use super::{SettingsError, Variables};
use crate::page::{Content, ShortToken, Token};

/// Access to the live page, and what it may show.
#[derive(Clone, Debug, PartialEq)]
pub struct PageSettings {
    /// What a visitor must know; needed where other machines can reach the page.
    pub token: Option<Token>,
    /// Whether it may show what is in jobs.
    pub content: Content,
}

impl PageSettings {
    pub(super) fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        const NAME: &str = "PAGE_TOKEN";
        let short = |ShortToken(chars)| {
            let expected = "a secret of at least 16 characters";
            SettingsError::wrong(NAME, format!("{chars} characters"), expected)
        };
        let shows = [("true", Content::Shown), ("false", Content::Hidden)];
        Ok(Self {
            token: variables.secret(NAME)?.map(Token::new).transpose().map_err(short)?,
            content: variables.choice("PAGE_SHOW_CONTENT", &shows, Content::Hidden)?,
        })
    }
}
