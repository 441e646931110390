//! Server-sent events: a part of a page, again whenever it looks different.

use std::convert::Infallible;
use std::future::Future;

use askama::Template;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};

use super::error::PageError;
use super::session::Customer;
use super::state::Shop;
use crate::order_id::OrderId;
use crate::orders::Change;

/// A part of a page at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    text: String,
    /// Whether nothing comes after it.
    is_last: bool,
}

impl Frame {
    pub(super) fn new(part: &impl Template, is_last: bool) -> Result<Self, PageError> {
        let text = part.render().map_err(|_| PageError::Internal)?;
        Ok(Self { text, is_last })
    }
}

/// Streams frames as events named `update`: one at once, and one after each change (of that order,
/// or of any) that makes a difference. An event `end` comes after the last frame. The stream also
/// ends when the shop closes, and at an error: a browser then asks again.
///
/// # Errors
/// If too many streams are open, or too many of this customer.
pub(super) fn stream<F, Fut>(
    shop: &Shop,
    customer: &Customer,
    of: Option<OrderId>,
    mut frame: F,
) -> Result<Response, PageError>
where
    F: FnMut() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Frame, PageError>> + Send + 'static,
{
    let held = shop.streams.begin(customer.name.clone()).ok_or(PageError::Busy)?;
    let closed = held.closed();
    let concerns = move |change: &Change| match (change, of) {
        (Change::Order(id), Some(order)) => *id == order,
        _ => true,
    };
    let changes =
        shop.orders.changes().filter(move |change| futures::future::ready(concerns(change)));
    let moments = stream::once(async {}).chain(changes.map(drop));
    let frames = moments.then(move |()| frame());
    let mut shown = None;
    let news = frames.map(move |frame| match frame {
        Ok(frame) if shown.as_ref() == Some(&frame) => Vec::new(),
        Ok(frame) => {
            let update = Some(Event::default().event("update").data(&frame.text));
            let end = frame.is_last.then(|| Event::default().event("end").data("")).map(Some);
            let close = frame.is_last.then_some(None);
            shown = Some(frame);
            [Some(update), end, close].into_iter().flatten().collect()
        }
        Err(_) => vec![None],
    });
    let events = news
        .flat_map(stream::iter)
        .take_while(|event| futures::future::ready(event.is_some()))
        .filter_map(futures::future::ready)
        .map(move |event| {
            let _held_while_streaming = &held;
            Ok::<_, Infallible>(event)
        })
        .take_until(closed);
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}
