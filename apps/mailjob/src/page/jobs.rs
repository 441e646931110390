//! The form: jobs that a person submits.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Site;
use super::answer::Refusal;

/// Records to be produced.
#[derive(Deserialize)]
pub(super) struct Submitted {
    /// The value of each, as the bytes of its UTF-8.
    values: Vec<String>,
}

/// What was taken.
#[derive(Serialize)]
pub(super) struct Taken {
    records: usize,
}

/// Takes records for the input topic. They are produced as soon as the broker is there.
pub(super) async fn submit(
    State(site): State<Site>,
    submitted: Result<Json<Submitted>, JsonRejection>,
) -> Result<(StatusCode, Json<Taken>), Refusal> {
    let playground = site.page.playground.as_ref().ok_or(Refusal::ReadOnly)?;
    let Json(Submitted { values }) =
        submitted.map_err(|error| Refusal::Unreadable(error.body_text()))?;
    let records = values.len();
    let is_taken = playground.submit(values.into_iter().map(Into::into).collect());
    is_taken.then_some((StatusCode::ACCEPTED, Json(Taken { records }))).ok_or(Refusal::Full)
}
