//! The session of a browser: a signed cookie, which holds a token for the forms and, after the
//! log-in, a name.

use std::convert::Infallible;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum_extra::extract::cookie::{Cookie, Key, SameSite, SignedCookieJar};
use jobstream::record::Timestamp;

use super::name::Name;
use super::state::Shop;

const COOKIE: &str = "pizza-session";

/// How long a session lasts: 30 days, in milliseconds.
const LIFETIME_MS: Timestamp = 30 * 24 * 60 * 60 * 1000;

/// Hexadecimal characters of a token of 128 bits.
const TOKEN_CHARS: usize = 32;

/// A browser's session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// What its forms must carry.
    pub(super) token: String,
    /// Whose it is, after the log-in.
    pub(super) name: Option<Name>,
    began_at: Timestamp,
}

impl Session {
    /// A session that begins now, with a token of its own.
    pub(super) fn begin(shop: &Shop, name: Option<Name>) -> Self {
        let token = format!("{:032x}", u128::from_be_bytes(shop.surroundings.random.bytes()));
        Self { token, name, began_at: shop.now() }
    }

    /// Whether a form carries this session's token. Takes as long for any token.
    pub(super) fn has_token(&self, token: &str) -> bool {
        let pairs = self.token.bytes().zip(token.bytes());
        token.len() == self.token.len() && pairs.fold(0, |all, (a, b)| all | (a ^ b)) == 0
    }

    /// The cookie's value: time, token and name, in characters that any cookie may hold.
    fn write(&self) -> String {
        let name = self.name.as_ref().map_or("", Name::as_str);
        let name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("{:x}.{}.{name}", self.began_at, self.token)
    }

    fn read(value: &str, now: Timestamp) -> Option<Self> {
        let (began_at, rest) = value.split_once('.')?;
        let (token, name) = rest.split_once('.')?;
        let began_at = Timestamp::from_str_radix(began_at, 16).ok()?;
        let is_alive = (0..LIFETIME_MS).contains(&now.checked_sub(began_at)?);
        let bytes: Option<Vec<_>> = (0..name.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(name.get(at..at + 2)?, 16).ok())
            .collect();
        let name = String::from_utf8(bytes?).ok()?;
        let name = if name.is_empty() { None } else { Some(Name::parse(&name).ok()?) };
        let session = Self { token: token.to_owned(), name, began_at };
        (is_alive && token.len() == TOKEN_CHARS).then_some(session)
    }
}

/// The visitor of a request: the session of its cookie, or a new one.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) session: Session,
    jar: SignedCookieJar,
    has_https: bool,
}

impl Visitor {
    /// The cookies of an answer that keeps the session.
    pub(super) fn keep(self) -> SignedCookieJar {
        let cookie = Cookie::build((COOKIE, self.session.write()))
            .path("/")
            .http_only(true)
            .secure(self.has_https)
            .same_site(SameSite::Lax)
            .max_age(
                std::time::Duration::from_millis(LIFETIME_MS as u64).try_into().expect("30 d"),
            );
        self.jar.add(cookie)
    }

    /// The same browser in another session.
    pub(super) fn with(self, session: Session) -> Self {
        Self { session, ..self }
    }
}

impl FromRequestParts<Shop> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shop: &Shop) -> Result<Self, Infallible> {
        let jar = SignedCookieJar::from_headers(&parts.headers, Key::from_ref(shop));
        let session = jar.get(COOKIE).and_then(|cookie| Session::read(cookie.value(), shop.now()));
        let session = session.unwrap_or_else(|| Session::begin(shop, None));
        Ok(Self { session, jar, has_https: shop.surroundings.has_https })
    }
}

/// A visitor that has logged in; any other is sent to the log-in.
#[derive(Clone, Debug)]
pub(super) struct Customer {
    pub(super) name: Name,
    pub(super) session: Session,
}

impl FromRequestParts<Shop> for Customer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, shop: &Shop) -> Result<Self, Response> {
        let Ok(Visitor { session, .. }) = Visitor::from_request_parts(parts, shop).await;
        match session.name.clone() {
            Some(name) => Ok(Self { name, session }),
            None => Err(Redirect::to("/login").into_response()),
        }
    }
}

impl FromRef<Shop> for Key {
    fn from_ref(shop: &Shop) -> Self {
        shop.surroundings.session_key.0.clone()
    }
}
