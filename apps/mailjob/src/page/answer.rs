//! Answers to what can't be done.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
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
    #[error("too many wrong tokens: expected none for {} s", seconds(.0))]
    Hasty(Duration),
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
            Self::Hasty(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreadable(_) => StatusCode::BAD_REQUEST,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Whole seconds, after which it is over.
const fn seconds(wait: &Duration) -> u64 {
    wait.as_secs() + 1
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let answer = (self.status(), format!("{self}\n"));
        match self {
            Self::Hasty(wait) => {
                ([(RETRY_AFTER, seconds(&wait).to_string())], answer).into_response()
            }
            _ => answer.into_response(),
        }
    }
}
