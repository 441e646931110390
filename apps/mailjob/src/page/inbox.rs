//! The mails that have arrived. What is in them is somebody else's: it is shown as text, in a frame
//! that may do nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_FRAME_OPTIONS};
use axum::response::{IntoResponse as _, Response};
use jobstream_testkit::smtp::Mail;

use super::Site;
use super::answer::Refusal;
use super::playground::{MailHeaders, MailLine};

/// What a mail's frame may do: nothing, and only this page may show it.
const FRAME_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'self'";

/// The last mails, the newest first.
pub(super) async fn list(State(site): State<Site>) -> Result<Json<Vec<MailLine>>, Refusal> {
    let playground = site.page.playground.as_ref().ok_or(Refusal::Missing)?;
    Ok(Json(playground.mails()))
}

/// The envelope and the headers of a mail.
pub(super) async fn headers(
    State(site): State<Site>,
    Path(number): Path<u64>,
) -> Result<Json<MailHeaders>, Refusal> {
    mail(&site, number).map(|mail| Json(MailHeaders::of(&mail)))
}

/// The text of a mail.
pub(super) async fn text(
    State(site): State<Site>,
    Path(number): Path<u64>,
) -> Result<Response, Refusal> {
    let mail = mail(&site, number)?;
    Ok(framed(mail.text().unwrap_or_default().into_bytes()))
}

/// A mail as it was received.
pub(super) async fn source(
    State(site): State<Site>,
    Path(number): Path<u64>,
) -> Result<Response, Refusal> {
    Ok(framed(mail(&site, number)?.raw.to_vec()))
}

fn mail(site: &Site, number: u64) -> Result<Arc<Mail>, Refusal> {
    let playground = site.page.playground.as_ref().ok_or(Refusal::Missing)?;
    playground.mail(number).ok_or(Refusal::Missing)
}

fn framed(content: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, FRAME_POLICY),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
    ];
    (headers, content).into_response()
}
