//! The fields of a form, read strictly.

use axum::Form;
use axum::extract::{FromRequest, Request};

use super::error::PageError;
use super::session::Session;
use super::state::Shop;

/// The name of the field that carries the session's token.
const TOKEN: &str = "token";

/// The fields of a form, in order.
#[derive(Clone, Debug)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Checks that the form was made for this session, which another site can't do.
    ///
    /// # Errors
    /// If its token is missing or another one.
    pub(super) fn check(mut self, session: &Session) -> Result<Self, PageError> {
        match self.take(TOKEN).as_slice() {
            [token] if session.has_token(token) => Ok(self),
            _ => Err(PageError::Outdated),
        }
    }

    /// Takes every value of a field, in order.
    pub(super) fn take(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(field, _)| field == name);
        taken.map(|(_, value)| value).collect()
    }

    /// The name of a field that nobody has taken.
    pub(super) fn rest(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }
}

impl FromRequest<Shop> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, shop: &Shop) -> Result<Self, PageError> {
        let form = Form::from_request(request, shop).await;
        let Form(fields) = form.map_err(|refusal| PageError::Form(refusal.status()))?;
        Ok(Self(fields))
    }
}
