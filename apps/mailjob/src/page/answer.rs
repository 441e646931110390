//! Answers to what can't be done.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Why a request has no other answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no such thing here")]
    Missing,
    #[error("nothing can be changed here: the page of a service is read-only")]
    ReadOnly,
    #[error("this page is not for another site")]
    Foreign,
    #[error("found {0}, expected a name of this machine: localhost, or a loopback address")]
    Host(String),
    #[error("a token is needed: Authorization: Bearer TOKEN")]
    Token,
    #[error("too many streams of events are open")]
    Busy,
    #[error("{0}")]
    Unreadable(String),
    #[error("too many jobs wait for the broker")]
    Full,
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Missing => StatusCode::NOT_FOUND,
            Self::ReadOnly | Self::Foreign | Self::Host(_) => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
            Self::Busy | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), format!("{self}\n")).into_response()
    }
}
