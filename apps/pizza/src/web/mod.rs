//! The web app: customers log in by name, order, and follow what becomes of it.
//!
//! ```text
//!  browser ── POST /orders ──▶ handler ──▶ Desk ── add ──▶ Orders ◀── status service
//!     ▲                          ▲          │                │
//!     │◀── 303, acknowledged ────┘◀─────────┴─ publish ─▶ pizza-ordered, pizza-status
//!     │                                                      │
//!     └◀── server-sent events ◀──────────────────────────── changes
//! ```
//!
//! Every page is rendered here and works without a script. All a customer can reach is theirs: an
//! order of somebody else does not exist (404). Every form carries its session's token, every
//! answer headers that forbid what it does not need, and a request's body is at most
//! [`MAX_BODY_BYTES`].

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures::future;
use jobstream::sinks::{Sink, SinkError};
use jobstream_service::traces::Traces;
use jobstream_service::web::{self, Limits};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::WallClock;
use crate::orders::Orders;

mod assets;
mod clerk;
mod customise;
mod date_time;
mod desk;
mod error;
mod events;
mod fields;
mod follow;
mod list;
mod login;
mod name;
mod pizza;
mod progress;
mod publish;
mod random;
mod session;
mod session_key;
mod state;
mod traces;

pub use random::Random;
pub use session_key::{SessionKey, SessionKeyError};

use desk::Desk;
use state::Shop;

/// What the web app is called in the log, and in traces.
pub const SERVICE: &str = "webapp";

/// The largest body of a request, in bytes. A form of ours has some hundred.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// What the browser of a customer is allowed: nothing runs, is shown or is sent that does not come
/// from here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// What the web app takes from outside.
#[derive(Clone)]
pub struct Surroundings {
    /// Signs the sessions' cookies.
    pub session_key: SessionKey,
    /// Whether cookies are marked as `Secure`: where browsers come by HTTPS.
    pub has_https: bool,
    /// The wall clock.
    pub now: WallClock,
    /// Where ids and tokens come from.
    pub random: Random,
    /// How long a browser waits for the broker's acknowledgement before the page says that the
    /// kitchen does not answer; the order is published all the same.
    pub answer_limit: Duration,
    /// How old an order of another process must be to be published by this one: time enough for a
    /// service to report that it has it. For so long a process holds an order that it publishes;
    /// one that stands still for longer may publish it beside another.
    pub settled_after: Duration,
    /// What makes traces, if anything does.
    pub traces: Option<Traces>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("has_https", &self.has_https)
            .field("answer_limit", &self.answer_limit)
            .field("settled_after", &self.settled_after)
            .finish_non_exhaustive()
    }
}

/// What ends the web app before its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The sink is broken: no order can be published.
    #[error("the web app can't publish: {0}")]
    Sink(#[from] SinkError),
}

/// Serves browsers until `shutdown` completes. Then streams of events end, requests under way are
/// answered, and what was accepted is published; only then it completes. A caller that does
/// not want to wait for a broker that is away drops the future: the next process finds in the store
/// what is not published yet.
///
/// `sink` acknowledges what it has published; nobody else uses it.
///
/// # Errors
/// See [`WebError`].
pub async fn serve(
    listener: TcpListener,
    orders: Arc<dyn Orders>,
    sink: Arc<dyn Sink>,
    surroundings: Surroundings,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), WebError> {
    let (desk, work) = Desk::open(Arc::clone(&orders), sink, &surroundings);
    let (stop, stopped) = watch::channel(false);
    let limits = match surroundings.has_https {
        true => Limits::for_the_work().behind_a_proxy(),
        false => Limits::for_the_work(),
    };
    let shop = Shop::new(orders, desk, surroundings, limits, stopped);
    let shutdown = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    let served = async {
        web::serve(listener, router(shop), limits, shutdown).await;
        Ok(())
    };
    future::try_join(served, work).await?;
    Ok(())
}

fn router(shop: Shop) -> Router {
    let traces = shop.surroundings.traces.clone();
    let routes = Router::new()
        .route("/", get(customise::show))
        .route("/login", get(login::show).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/orders", get(list::show).post(customise::place))
        .route("/orders/events", get(list::events))
        .route("/orders/{id}", get(follow::show))
        .route("/orders/{id}/events", get(follow::events))
        .route("/orders/{id}/cancel", post(follow::cancel))
        .route("/assets/{name}", get(assets::show))
        .route("/health", get(async || "ok\n"));
    let routes = match traces {
        Some(traces) => routes.route_layer(middleware::from_fn_with_state(traces, traces::trace)),
        None => routes,
    };
    routes
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(web::limit))
        .layer(middleware::from_fn(|request, next| web::secure(POLICY, request, next)))
        .with_state(shop)
}
