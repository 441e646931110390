//! The door: where a token is given.

use crate::web::Client;
use axum::Form;
use axum::extract::Query;
use axum::extract::State;
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::access::{Access, COOKIE_NAME};
use super::token::Token;
use super::{Site, assets};

/// A token, as it is given.
#[derive(Deserialize)]
pub(super) struct Given {
    token: String,
}

/// Lets a visitor in that gives the token.
pub(super) async fn enter(
    State(site): State<Site>,
    client: Client,
    Form(given): Form<Given>,
) -> Response {
    knock(&site.page.access, client, given.token.trim())
}

/// Lets in a client that gives the token; without a token, every client is let in.
pub(super) fn knock(access: &Access, client: Client, secret: &str) -> Response {
    match access.entered(client, secret) {
        Ok(Some(token)) => let_in(token),
        Ok(None) if access.is_guarded() => assets::door(),
        Ok(None) => (StatusCode::SEE_OTHER, [(LOCATION, "/")]).into_response(),
        Err(refusal) => refusal.into_response(),
    }
}

/// The token of an address's query, as in `/?token=...`.
pub(super) fn given(query: Option<&str>) -> Option<String> {
    let uri: Uri = format!("/?{}", query?).parse().ok()?;
    Query::<Given>::try_from_uri(&uri).ok().map(|Query(given)| given.token)
}

/// Sends a browser to the page, with a cookie for as long as it is open.
fn let_in(token: &Token) -> Response {
    let cookie = format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict", token.pass());
    (StatusCode::SEE_OTHER, [(LOCATION, "/".to_owned()), (SET_COOKIE, cookie)]).into_response()
}
