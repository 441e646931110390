//! Answers to what can't be done.

use std::time::Duration;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};

/// Why a request has no other answer.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The page has nothing of that name.
    #[error("there is no such thing here")]
    Missing,
    /// The page changes nothing.
    #[error("nothing can be changed here: the page of a service is read-only")]
    ReadOnly,
    /// Another site has caused the request.
    #[error("this page is not for another site")]
    Foreign,
    /// The request names a host that is not this machine.
    #[error("found {0}, expected a name of this machine: localhost, or a loopback address")]
    Host(String),
    /// The request has no token.
    #[error("a token is needed: Authorization: Bearer TOKEN")]
    Token,
    /// The client has given too many wrong tokens, and must wait.
    #[error("too many wrong tokens: expected none for {} s", seconds(.0))]
    Hasty(Duration),
    /// The client, or all of them, have too many streams open.
    #[error("too many streams of events are open")]
    Busy,
    /// The body is not what it should be.
    #[error("{0}")]
    Unreadable(String),
    /// What was submitted does not fit.
    #[error("too many jobs wait for the broker")]
    Full,
    /// It was tried, and failed.
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
