//! The files that pages refer to.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::error::PageError;

const STYLE: &str = include_str!("../../assets/pizza.css");
const SCRIPT: &str = include_str!("../../assets/live.js");
const ICON: &str = include_str!("../../assets/icon.svg");

/// One of the files.
///
/// # Errors
/// If there is no such file.
pub(super) async fn show(Path(name): Path<String>) -> Result<Response, PageError> {
    let (kind, content) = match name.as_str() {
        "pizza.css" => ("text/css; charset=utf-8", STYLE),
        "live.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return Err(PageError::NotFound),
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")];
    Ok((StatusCode::OK, headers, content).into_response())
}
