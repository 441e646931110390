//! Who may come.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::answer::Refusal;
use super::token::Token;
use super::{assets, enter};

/// The cookie that a browser has after its first visit.
pub(super) const COOKIE_NAME: &str = "mailjob-page";

/// Who may come to a page: nobody from another site, and from another machine only who has the
/// token.
#[derive(Clone, Debug)]
pub struct Access {
    is_loopback: bool,
    token: Option<Token>,
}

/// A page that other machines can reach needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page's address {0} can be reached from other machines")]
pub struct Exposed(pub SocketAddr);

impl Access {
    /// Who may come to the page on this address. A token that is there is needed on loopback, too.
    ///
    /// # Errors
    /// If it is no loopback address and there is no token.
    pub fn new(address: SocketAddr, token: Option<Token>) -> Result<Self, Exposed> {
        let is_loopback = address.ip().is_loopback();
        match token {
            None if !is_loopback => Err(Exposed(address)),
            token => Ok(Self { is_loopback, token }),
        }
    }

    pub(super) const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Whether this is no request that another site has caused, and none to a name that somebody
    /// else has pointed at this machine (DNS rebinding). Where there is a token, a name that is not
    /// known is harmless: no browser has its cookie.
    fn check_site(&self, parts: &Parts) -> Result<(), Refusal> {
        let host = header(parts, &HOST).unwrap_or_default();
        if self.token.is_none() && self.is_loopback && !is_of_this_machine(host) {
            return Err(Refusal::Host(format!("the host {host:?}")));
        }
        let is_own = |origin: &str| origin.split_once("://").is_some_and(|(_, of)| of == host);
        if header(parts, &ORIGIN).is_some_and(|origin| !is_own(origin)) {
            return Err(Refusal::Foreign);
        }
        let site = header(parts, &HeaderName::from_static("sec-fetch-site"));
        let mode = header(parts, &HeaderName::from_static("sec-fetch-mode"));
        let is_link = mode == Some("navigate") && parts.uri.path() == "/";
        match site {
            Some("cross-site" | "same-site") if !is_link => Err(Refusal::Foreign),
            _ => Ok(()),
        }
    }

    fn has_token(&self, parts: &Parts) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer = header(parts, &AUTHORIZATION).and_then(|it| it.strip_prefix("Bearer "));
        let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok());
        let mut cookies =
            cookies.flat_map(|all| all.split("; ")).filter_map(|it| it.split_once('='));
        bearer.is_some_and(|secret| token.is(secret))
            || cookies.any(|(name, pass)| name == COOKIE_NAME && token.has_pass(pass))
    }
}

fn header<'a>(parts: &'a Parts, name: &HeaderName) -> Option<&'a str> {
    // One that is no text is none that is known.
    parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn is_of_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Lets a request in, or refuses it. Without the token there is the door only: what it looks like,
/// and where the token is given.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = access.check_site(&parts) {
        return refusal.into_response();
    }
    let path = parts.uri.path();
    if access.has_token(&parts) || path == "/enter" || path.starts_with("/assets/") {
        return next.run(Request::from_parts(parts, body)).await;
    }
    match (path, enter::given(parts.uri.query()), access.token()) {
        ("/", Some(secret), Some(token)) if token.is(&secret) => enter::let_in(token),
        ("/", ..) => assets::door(),
        _ => Refusal::Token.into_response(),
    }
}
