//! The menu: a pizza is put together, and ordered.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use tokio::time::timeout;

use super::error::{PageError, render};
use super::fields::Fields;
use super::pizza::{self, Question};
use super::session::Customer;
use super::state::Shop;

#[derive(Template)]
#[template(path = "customise.html")]
struct CustomisePage<'a> {
    name: &'a str,
    token: &'a str,
    questions: [Question; 4],
}

/// The form.
pub(super) async fn show(customer: Customer) -> Response {
    form(StatusCode::OK, &customer, Question::all())
}

/// Places an order, and sends the browser to its page once the broker has acknowledged it.
///
/// # Errors
/// If the form is not this session's or no form of ours, the customer has ordered too much within a
/// minute, or the order was not acknowledged in time.
pub(super) async fn place(
    State(shop): State<Shop>,
    customer: Customer,
    fields: Fields,
) -> Result<Response, PageError> {
    let mut fields = fields.check(&customer.session)?;
    let questions = Question::answered(&mut fields)?;
    let Some(order) = pizza::order(&customer.name, &questions) else {
        return Ok(form(StatusCode::BAD_REQUEST, &customer, questions));
    };
    shop.count_order(&customer.name)?;
    let placed = shop.desk.place(order).await?;
    match timeout(shop.surroundings.answer_limit, placed.acknowledged).await {
        Ok(Ok(())) => Ok(Redirect::to(&format!("/orders/{}", placed.id)).into_response()),
        Ok(Err(_)) | Err(_) => Err(PageError::Waiting(placed.id)),
    }
}

fn form(status: StatusCode, customer: &Customer, questions: [Question; 4]) -> Response {
    let (name, token) = (customer.name.as_str(), &customer.session.token);
    render(status, &CustomisePage { name, token, questions })
}
