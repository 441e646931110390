//! One order: its page, its events, its cancellation.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use tokio::time::timeout;

use super::error::{PageError, render};
use super::events::{self, Frame};
use super::fields::Fields;
use super::progress::{OrderView, can_be_cancelled};
use super::session::Customer;
use super::state::Shop;
use crate::order_id::OrderId;
use crate::orders::StoredOrder;

#[derive(Template)]
#[template(path = "follow.html")]
struct FollowPage<'a> {
    name: &'a str,
    token: &'a str,
    order: OrderView,
}

#[derive(Template)]
#[template(path = "follow_status.html")]
struct FollowStatus<'a> {
    token: &'a str,
    order: OrderView,
}

/// The order's page.
///
/// # Errors
/// If the customer has no such order.
pub(super) async fn show(
    State(shop): State<Shop>,
    customer: Customer,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let order = OrderView::of(&stored(&shop, &customer, &id).await?);
    let (name, token) = (customer.name.as_str(), &customer.session.token);
    Ok(render(StatusCode::OK, &FollowPage { name, token, order }))
}

/// The order's status as a stream: now, and again whenever it changes, until its last one.
///
/// # Errors
/// If the customer has no such order, or too many streams are open.
pub(super) async fn events(
    State(shop): State<Shop>,
    customer: Customer,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let order = stored(&shop, &customer, &id).await?;
    events::stream(&shop.clone(), &customer.clone(), Some(order.id), move || {
        let (shop, customer, id) = (shop.clone(), customer.clone(), id.clone());
        async move {
            let order = OrderView::of(&stored(&shop, &customer, &id).await?);
            let is_last = order.is_final;
            Frame::new(&FollowStatus { token: &customer.session.token, order }, is_last)
        }
    })
}

/// Cancels an order that is not in the oven yet, and sends the browser to its page once the broker
/// has acknowledged it. Which comes first, oven or cancellation, is decided by the topic's order.
///
/// # Errors
/// If the form is not this session's, the customer has no such order or has ordered and cancelled
/// too much within a minute, it is too late, or the broker has not acknowledged in time.
pub(super) async fn cancel(
    State(shop): State<Shop>,
    customer: Customer,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    fields.check(&customer.session)?;
    let order = stored(&shop, &customer, &id).await?;
    if !can_be_cancelled(&order) {
        return Err(PageError::TooLate(order.id));
    }
    shop.count_order(&customer.name)?;
    let acknowledged = shop.desk.cancel(order.id)?;
    match timeout(shop.surroundings.answer_limit, acknowledged).await {
        Ok(Ok(())) => Ok(Redirect::to(&format!("/orders/{}", order.id)).into_response()),
        Ok(Err(_)) | Err(_) => Err(PageError::CancellationWaiting(order.id)),
    }
}

/// The customer's order of that id; nobody learns whether it is somebody else's.
async fn stored(shop: &Shop, customer: &Customer, id: &str) -> Result<StoredOrder, PageError> {
    let id: OrderId = id.parse().map_err(|_| PageError::NotFound)?;
    let stored = shop.orders.get(id).await?.ok_or(PageError::NotFound)?;
    match stored.order.customer_id == customer.name.customer_id() {
        true => Ok(stored),
        false => Err(PageError::NotFound),
    }
}
