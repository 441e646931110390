//! A trace begins with a request.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use jobstream_service::traces::Traces;

/// Begins a trace with each request to a path of ours. Visitors have no say in it: a context that
/// comes with the request is not taken.
pub(super) async fn trace(
    State(traces): State<Traces>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Response {
    let span = traces.request(request.method().as_str(), path.as_str());
    let response = span.scope().around(next.run(request)).await;
    span.answered(response.status().as_u16());
    response
}
