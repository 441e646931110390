//! The switches: misfortunes, on and off.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Site;
use super::answer::Refusal;
use super::playground::Trouble;

/// Where a switch is to be.
#[derive(Deserialize)]
pub(super) struct Wanted {
    on: bool,
}

/// Lets a misfortune happen, or ends it; answers when that is done.
pub(super) async fn set(
    State(site): State<Site>,
    Path(name): Path<String>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let playground = site.page.playground.as_ref().ok_or(Refusal::ReadOnly)?;
    let trouble = Trouble::named(&name).ok_or(Refusal::Missing)?;
    let Json(Wanted { on }) = wanted.map_err(|error| Refusal::Unreadable(error.body_text()))?;
    let set = playground.set(trouble, on).await;
    set.map(|()| StatusCode::NO_CONTENT).map_err(|error| Refusal::Failed(error.to_string()))
}
