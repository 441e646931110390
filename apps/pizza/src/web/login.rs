//! Logging in by name, and out again.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::{PageError, render};
use super::fields::Fields;
use super::name::{MAX_CHARS, Name};
use super::session::{Session, Visitor};
use super::state::Shop;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage<'a> {
    token: &'a str,
    entered: &'a str,
    problem: Option<String>,
    max_chars: usize,
}

/// The form; a visitor that has logged in already goes on to the menu.
pub(super) async fn show(visitor: Visitor) -> Response {
    if visitor.session.name.is_some() {
        return Redirect::to("/").into_response();
    }
    form(StatusCode::OK, visitor, "", None)
}

/// Begins the session of the customer of that name, with a new token.
///
/// # Errors
/// If the form is not this session's, or no form of ours.
pub(super) async fn log_in(
    State(shop): State<Shop>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, PageError> {
    let mut fields = fields.check(&visitor.session)?;
    let entered = fields.take("name").pop().unwrap_or_default();
    match Name::parse(&entered) {
        Ok(name) => {
            let session = Session::begin(&shop, Some(name));
            Ok((visitor.with(session).keep(), Redirect::to("/")).into_response())
        }
        Err(error) => {
            let problem = Some(error.to_string());
            Ok(form(StatusCode::BAD_REQUEST, visitor, &entered, problem))
        }
    }
}

/// Ends the session.
///
/// # Errors
/// If the form is not this session's, or no form of ours.
pub(super) async fn log_out(
    State(shop): State<Shop>,
    visitor: Visitor,
    fields: Fields,
) -> Result<Response, PageError> {
    fields.check(&visitor.session)?;
    let session = Session::begin(&shop, None);
    Ok((visitor.with(session).keep(), Redirect::to("/login")).into_response())
}

fn form(status: StatusCode, visitor: Visitor, entered: &str, problem: Option<String>) -> Response {
    let token = &visitor.session.token;
    let page = render(status, &LoginPage { token, entered, problem, max_chars: MAX_CHARS });
    (visitor.keep(), page).into_response()
}
