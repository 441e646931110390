//! What is in a recent record, where that may be shown.

use axum::extract::{Path, State};
use axum::response::IntoResponse;

use super::Site;
use super::answer::Refusal;

/// The beginning of a record's value, as text.
pub(super) async fn content(
    State(site): State<Site>,
    Path(number): Path<u64>,
) -> Result<impl IntoResponse, Refusal> {
    let content = site.page.feed.content(number).ok_or(Refusal::Missing)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
