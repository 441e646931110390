//! What every answer carries, and how long it may take to begin.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tokio::time::timeout;

/// How long a request may take; a stream of events is an answer that has begun.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// The headers of every answer beside its policy: nothing is guessed, framed or shared.
static SECURE: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Adds the headers, with this `Content-Security-Policy`, where the answer does not have its own.
/// An answer that says nothing about caching is not to be stored.
pub async fn secure(policy: &'static str, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = (header::CONTENT_SECURITY_POLICY, policy);
    let not_kept = (header::CACHE_CONTROL, "no-store");
    for (name, value) in SECURE.iter().chain([&policy, &not_kept]) {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Gives up a request that takes too long: a body that does not come.
pub async fn limit(request: Request, next: Next) -> Response {
    let response = timeout(REQUEST_LIMIT, next.run(request)).await;
    response.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}
