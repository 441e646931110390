//! The page's files.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::answer::Refusal;

const INDEX: &str = include_str!("../../assets/page.html");
const DOOR: &str = include_str!("../../assets/door.html");
const STYLE: &str = include_str!("../../assets/page.css");
const ICON: &str = include_str!("../../assets/icon.svg");
const SCRIPTS: [(&str, &str); 6] = [
    ("page.js", include_str!("../../assets/page.js")),
    ("dom.js", include_str!("../../assets/dom.js")),
    ("picture.js", include_str!("../../assets/picture.js")),
    ("records.js", include_str!("../../assets/records.js")),
    ("inbox.js", include_str!("../../assets/inbox.js")),
    ("jobs.js", include_str!("../../assets/jobs.js")),
];

/// The page itself; what it shows comes by its script.
pub(super) async fn index() -> Html<&'static str> {
    Html(INDEX)
}

/// What a visitor without the token sees.
pub(super) fn door() -> Response {
    (StatusCode::UNAUTHORIZED, Html(DOOR)).into_response()
}

/// One of the files that it refers to.
pub(super) async fn show(Path(name): Path<String>) -> Result<Response, Refusal> {
    let script = SCRIPTS.iter().find(|(script, _)| *script == name).map(|(_, text)| *text);
    let (kind, content) = match (name.as_str(), script) {
        (_, Some(script)) => ("text/javascript; charset=utf-8", script),
        ("page.css", _) => ("text/css; charset=utf-8", STYLE),
        ("icon.svg", _) => ("image/svg+xml", ICON),
        _ => return Err(Refusal::Missing),
    };
    // A program that is replaced has other files under the same names.
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")];
    Ok((headers, content).into_response())
}
