//! What a person plays by: records, mails, a form for jobs, misfortunes as switches.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_FRAME_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use jobstream::record::TopicPartition;
use jobstream_service::page::{Playable, Refusal};
use jobstream_testkit::smtp::Mail;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::Playground;
use super::mail_content;
use super::mail_view::{MailHeaders, MailLine};
use super::record_view::RecordView;
use super::trouble::Trouble;

/// The largest body with jobs, in bytes: some thousand.
const MAX_JOBS_BYTES: usize = 4 << 20;

/// What a mail's frame may do: nothing, and only this page may show it. What is in a mail is
/// somebody else's.
const FRAME_POLICY: &str = "sandbox; default-src 'none'; frame-ancestors 'self'";

/// The same for HTML, which brings its style and its pictures with it. Nothing is loaded from
/// anywhere, or the sender would learn who reads it.
const HTML_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                           frame-ancestors 'self'";

impl Playable for Playground {
    fn routes(self: Arc<Self>) -> Router {
        Router::new()
            .route("/topics/{topic}/{partition}", get(records))
            .route("/mails", get(mails))
            .route("/mails/{number}", get(headers))
            .route("/mails/{number}/text", get(text))
            .route("/mails/{number}/html", get(html))
            .route("/mails/{number}/files/{index}", get(file))
            .route("/mails/{number}/source", get(source))
            .route("/jobs", post(submit).layer(DefaultBodyLimit::max(MAX_JOBS_BYTES)))
            .route("/misfortunes/{name}", post(set))
            .with_state(self)
    }

    fn play(&self) -> serde_json::Result<Box<RawValue>> {
        to_raw_value(&Self::play(self))
    }
}

/// What every handler has.
type Site = State<Arc<Playground>>;

/// The last records of a partition, the newest first.
async fn records(
    State(playground): Site,
    Path((topic, partition)): Path<(String, i32)>,
) -> Result<Json<Vec<RecordView>>, Refusal> {
    let partition = TopicPartition::new(topic, partition);
    playground.records(&partition).map(Json).ok_or(Refusal::Missing)
}

/// The last mails, the newest first.
async fn mails(State(playground): Site) -> Json<Vec<MailLine>> {
    Json(playground.mails())
}

/// The envelope and the headers of a mail.
async fn headers(
    State(playground): Site,
    Path(number): Path<u64>,
) -> Result<Json<MailHeaders>, Refusal> {
    mail(&playground, number).map(|mail| Json(MailHeaders::of(&mail)))
}

/// The text of a mail.
async fn text(State(playground): Site, Path(number): Path<u64>) -> Result<Response, Refusal> {
    let mail = mail(&playground, number)?;
    Ok(framed(PLAIN, FRAME_POLICY, mail.text().unwrap_or_default().into_bytes()))
}

/// The HTML of a mail, with its pictures in it.
async fn html(State(playground): Site, Path(number): Path<u64>) -> Result<Response, Refusal> {
    let html = mail_content::html(&*mail(&playground, number)?).ok_or(Refusal::Missing)?;
    Ok(framed("text/html; charset=utf-8", HTML_POLICY, html.into_bytes()))
}

/// A file of a mail, to be kept and not shown.
async fn file(
    State(playground): Site,
    Path((number, index)): Path<(u64, u32)>,
) -> Result<Response, Refusal> {
    let mail = mail(&playground, number)?;
    let file = mail_content::file(&mail, index).ok_or(Refusal::Missing)?;
    let headers = [
        (CONTENT_TYPE, file.content_type),
        (CONTENT_DISPOSITION, file.disposition),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(FRAME_POLICY)),
    ];
    Ok((headers, file.content).into_response())
}

/// A mail as it was received.
async fn source(State(playground): Site, Path(number): Path<u64>) -> Result<Response, Refusal> {
    Ok(framed(PLAIN, FRAME_POLICY, mail(&playground, number)?.raw.to_vec()))
}

fn mail(playground: &Playground, number: u64) -> Result<Arc<Mail>, Refusal> {
    playground.mail(number).ok_or(Refusal::Missing)
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn framed(content_type: &'static str, policy: &'static str, content: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, policy),
        (X_FRAME_OPTIONS, "SAMEORIGIN"),
    ];
    (headers, content).into_response()
}

/// Records to be produced.
#[derive(Deserialize)]
struct Submitted {
    /// The value of each, as the bytes of its UTF-8.
    values: Vec<String>,
}

/// What was taken.
#[derive(Serialize)]
struct Taken {
    records: usize,
}

/// Takes records for the input topic. They are produced as soon as the broker is there.
async fn submit(
    State(playground): Site,
    submitted: Result<Json<Submitted>, JsonRejection>,
) -> Result<(StatusCode, Json<Taken>), Refusal> {
    let Json(Submitted { values }) = submitted.map_err(|error| unreadable(&error))?;
    let records = values.len();
    let is_taken = playground.submit(values.into_iter().map(Into::into).collect());
    is_taken.then_some((StatusCode::ACCEPTED, Json(Taken { records }))).ok_or(Refusal::Full)
}

/// Where a switch is to be.
#[derive(Deserialize)]
struct Wanted {
    on: bool,
}

/// Lets a misfortune happen, or ends it; answers when that is done.
async fn set(
    State(playground): Site,
    Path(name): Path<String>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let trouble = Trouble::named(&name).ok_or(Refusal::Missing)?;
    let Json(Wanted { on }) = wanted.map_err(|error| unreadable(&error))?;
    let set = playground.set(trouble, on).await;
    set.map(|()| StatusCode::NO_CONTENT).map_err(|error| Refusal::Failed(error.to_string()))
}

fn unreadable(error: &JsonRejection) -> Refusal {
    Refusal::Unreadable(error.body_text())
}
