//! What there is to see: now, and whenever it has changed.

use std::convert::Infallible;

use crate::web::Client;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use tokio_stream::wrappers::WatchStream;

use super::Site;
use super::answer::Refusal;

/// What there is to see now, as JSON.
pub(super) async fn snapshot(State(site): State<Site>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], site.page.frame().to_string())
}

/// Server-sent events: what there is to see, at once and again after every change. A slow reader
/// passes over some. The stream ends when the page closes.
pub(super) async fn stream(State(site): State<Site>, client: Client) -> Result<Response, Refusal> {
    let held = site.streams.begin(client).ok_or(Refusal::Busy)?;
    let closed = held.closed();
    let changes = WatchStream::from_changes(site.shown.clone());
    let now = futures::stream::once(futures::future::ready(site.page.frame()));
    let events = now.chain(changes).map(move |frame| {
        let _held_while_streaming = &held;
        Ok::<_, Infallible>(Event::default().data(frame))
    });
    Ok(Sse::new(events.take_until(closed)).keep_alive(KeepAlive::default()).into_response())
}
