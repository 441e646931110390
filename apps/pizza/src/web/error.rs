//! Answers to what can't be done.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{Html, IntoResponse, Response};
use tracing::error;

use super::SERVICE;
use super::desk::DeskError;
use crate::order_id::OrderId;
use crate::orders::OrdersError;

/// Why a page is not shown.
#[derive(Debug)]
pub(super) enum PageError {
    /// There is no such page, or not for this customer.
    NotFound,
    /// The page exists, and takes no such request.
    Method,
    /// A form that was not made for this session.
    Outdated,
    /// A body that is no form of ours: too large, or of another kind.
    Form(StatusCode),
    /// A field that no form of ours has.
    Field(String),
    /// The order is in the oven already, or has ended.
    TooLate(OrderId),
    /// Stored, and not acknowledged by the broker in time; it will be published.
    Waiting(OrderId),
    /// The cancellation was not acknowledged in time; it may still be.
    CancellationWaiting(OrderId),
    /// Nothing was stored: too much is waiting.
    Busy,
    /// Nothing was ordered or cancelled: the customer must wait for so long.
    Hasty(Duration),
    /// The store is broken.
    Internal,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    message: &'a str,
    order: Option<OrderId>,
}

impl PageError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Outdated => StatusCode::FORBIDDEN,
            Self::Form(status) => *status,
            Self::Field(_) => StatusCode::BAD_REQUEST,
            Self::TooLate(_) => StatusCode::CONFLICT,
            Self::Waiting(_) | Self::CancellationWaiting(_) | Self::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Hasty(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn text(&self) -> (&'static str, String) {
        let (title, message) = match self {
            Self::NotFound => ("Nothing on this plate", "There is no such page or order here."),
            Self::Method => ("Not on the menu", "This page takes no such request."),
            Self::Outdated => (
                "This page is out of date",
                "Go back, load the page again and try once more. Nothing was changed.",
            ),
            Self::Form(_) => ("We can't read that", "What was sent is no form of ours."),
            Self::Field(name) => {
                let message = format!("There is no field '{name}' in this form.");
                return ("We can't read that", message);
            }
            Self::TooLate(_) => {
                ("Too late to cancel", "The pizza is in the oven already, or beyond it.")
            }
            Self::Waiting(_) => (
                "The kitchen doesn't answer",
                "We have written your order down and keep calling the kitchen. \
                 You need not order again.",
            ),
            Self::CancellationWaiting(_) => (
                "The kitchen doesn't answer",
                "We keep trying to cancel your order. Its page will show when that is done.",
            ),
            Self::Busy => {
                ("We are very busy", "Nothing was ordered. Please try again in a minute.")
            }
            Self::Hasty(_) => (
                "Not so fast",
                "That is a lot for one minute. Nothing was ordered or cancelled. Please try again \
                 in a minute.",
            ),
            Self::Internal => ("Something went wrong", "We are sorry. Please try again later."),
        };
        (title, message.to_owned())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let (title, message) = self.text();
        let order = match self {
            Self::TooLate(id) | Self::Waiting(id) | Self::CancellationWaiting(id) => Some(id),
            _ => None,
        };
        let page = render(self.status(), &ErrorPage { title, message: &message, order });
        match self {
            Self::Hasty(wait) => {
                ([(RETRY_AFTER, wait.as_secs().saturating_add(1).to_string())], page)
                    .into_response()
            }
            _ => page,
        }
    }
}

impl From<OrdersError> for PageError {
    fn from(error: OrdersError) -> Self {
        error!(service = SERVICE, %error, "a page is not shown");
        Self::Internal
    }
}

impl From<DeskError> for PageError {
    fn from(error: DeskError) -> Self {
        error!(service = SERVICE, %error, "an order is not taken");
        match error {
            DeskError::Full | DeskError::Closed => Self::Busy,
            DeskError::NoFreeId | DeskError::Orders(_) => Self::Internal,
        }
    }
}

/// A page as an answer.
pub(super) fn render(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            error!(service = SERVICE, %error, "a page can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// For every path that is none.
pub(super) async fn not_found() -> PageError {
    PageError::NotFound
}

/// For every method that a path does not know.
pub(super) async fn method_not_allowed() -> PageError {
    PageError::Method
}
