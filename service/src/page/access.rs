//! Access to a page.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::web::Client;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::answer::Refusal;
use super::guesses::Guesses;
use super::token::Token;
use super::{assets, enter};

/// The cookie that a browser has after its first visit.
pub(super) const COOKIE_NAME: &str = "jobstream-page";

/// Access to a page: requests from another site have none, and those from another machine only with
/// the token.
#[derive(Clone, Debug)]
pub struct Access {
    is_loopback: bool,
    token: Option<Token>,
    guesses: Arc<Guesses>,
}

/// A page that other machines can reach needs a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the page's address {0} can be reached from other machines")]
pub struct Exposed(pub SocketAddr);

impl Access {
    /// Access to the page on this address. A token that is set is needed on loopback, too.
    ///
    /// # Errors
    /// If it is no loopback address and there is no token.
    pub fn new(address: SocketAddr, token: Option<Token>) -> Result<Self, Exposed> {
        let is_loopback = address.ip().is_loopback();
        match token {
            None if !is_loopback => Err(Exposed(address)),
            token => Ok(Self { is_loopback, token, guesses: Arc::new(Guesses::new()) }),
        }
    }

    /// The token, if this client has just given it in the form.
    ///
    /// # Errors
    /// If it has given too many wrong ones.
    pub(super) fn entered(&self, client: Client, secret: &str) -> Result<Option<&Token>, Refusal> {
        match &self.token {
            Some(token) => self.opens(token, client, &[Token::pass_of(secret)]),
            None => Ok(None),
        }
    }

    /// Whether there is a token.
    pub(super) const fn is_guarded(&self) -> bool {
        self.token.is_some()
    }

    /// The token, if one of what this client has given opens it; all others count as guesses. While
    /// it must wait, no token is the right one.
    fn opens<'a>(
        &self,
        token: &'a Token,
        client: Client,
        given: &[String],
    ) -> Result<Option<&'a Token>, Refusal> {
        if !given.is_empty()
            && let Some(wait) = self.guesses.wait(client)
        {
            return Err(Refusal::Hasty(wait));
        }
        if given.iter().any(|pass| token.has_pass(pass)) {
            return Ok(Some(token));
        }
        given.iter().for_each(|pass| self.guesses.count(client, pass));
        Ok(None)
    }

    /// Refuses a request that another site has caused, and one to a foreign name that points at
    /// this machine (DNS rebinding). With a token an unknown name is harmless: no browser has its
    /// cookie.
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
}

/// The passes that a request gives: one in a header and one in a cookie, at most, so that it can't
/// be many guesses at once.
fn given(parts: &Parts) -> Vec<String> {
    let bearer = header(parts, &AUTHORIZATION).and_then(|it| it.strip_prefix("Bearer "));
    let cookies = parts.headers.get_all(COOKIE).iter().filter_map(|it| it.to_str().ok());
    let mut cookies = cookies.flat_map(|all| all.split("; ")).filter_map(|it| it.split_once('='));
    let cookie = cookies.find(|(name, _)| *name == COOKIE_NAME);
    let cookie = cookie.map(|(_, pass)| pass.to_owned());
    bearer.map(Token::pass_of).into_iter().chain(cookie).collect()
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
    client: Client,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    if let Err(refusal) = access.check_site(&parts) {
        return refusal.into_response();
    }
    let path = parts.uri.path();
    let is_open = path == "/enter" || path.starts_with("/assets/");
    let Some(token) = access.token.as_ref().filter(|_| !is_open) else {
        return next.run(Request::from_parts(parts, body)).await;
    };
    match access.opens(token, client, &given(&parts)) {
        Ok(Some(_)) => return next.run(Request::from_parts(parts, body)).await,
        Ok(None) => {}
        Err(refusal) => return refusal.into_response(),
    }
    match (path, enter::given(parts.uri.query())) {
        ("/", Some(secret)) => enter::knock(&access, client, &secret),
        ("/", None) => assets::door(),
        _ => Refusal::Token.into_response(),
    }
}
