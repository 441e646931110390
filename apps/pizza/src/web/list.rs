//! A customer's orders.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::error::{PageError, render};
use super::events::{self, Frame};
use super::progress::OrderView;
use super::session::Customer;
use super::state::Shop;
use crate::customer_id::CustomerId;

/// How many orders are shown, at most.
const MAX_SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "list.html")]
struct ListPage<'a> {
    name: &'a str,
    token: &'a str,
    orders: Vec<OrderView>,
    max_shown: usize,
}

#[derive(Template)]
#[template(path = "list_items.html")]
struct ListItems {
    orders: Vec<OrderView>,
}

/// The latest of them, the newest first.
///
/// # Errors
/// If the store can't be read.
pub(super) async fn show(
    State(shop): State<Shop>,
    customer: Customer,
) -> Result<Response, PageError> {
    let orders = orders(&shop, &customer.name.customer_id()).await?;
    let (name, token) = (customer.name.as_str(), &customer.session.token);
    Ok(render(StatusCode::OK, &ListPage { name, token, orders, max_shown: MAX_SHOWN }))
}

/// The list as a stream: now, and again whenever it looks different.
///
/// # Errors
/// If too many streams are open.
pub(super) async fn events(
    State(shop): State<Shop>,
    customer: Customer,
) -> Result<Response, PageError> {
    let customer_id = customer.name.customer_id();
    events::stream(&shop.clone(), &customer, None, move || {
        let (shop, customer_id) = (shop.clone(), customer_id.clone());
        async move {
            let orders = orders(&shop, &customer_id).await?;
            Frame::new(&ListItems { orders }, false)
        }
    })
}

async fn orders(shop: &Shop, customer_id: &CustomerId) -> Result<Vec<OrderView>, PageError> {
    let orders = shop.orders.of_customer(customer_id, MAX_SHOWN).await?;
    Ok(orders.iter().map(OrderView::of).collect())
}
