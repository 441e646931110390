//! The live page: what the topology does, as it does it.
//!
//! ```text
//!  topology ─┐
//!  ledger ───┤                ┌─▶ /snapshot
//!  job sink ─┼─▶ Feed ─▶ Page ┼─▶ /events, ten times a second at most
//!  Kafka ────┘        ▲   ▲   └─▶ the page's files
//!                     │   │
//!           Playable ─┘   └─ Access
//! ```
//!
//! What happens is counted where it happens, and shown from there: however many jobs a second there
//! are, a browser gets a snapshot ten times a second, and only what has changed. Beside the service
//! the page is read-only, and shows no content of a job unless that is allowed. In a demo something
//! [`Playable`] is behind it: the topics' records, the inbox, a form, and misfortunes as switches.

mod access;
mod answer;
mod assets;
mod counts;
mod enter;
mod events;
mod fates;
mod feed;
mod guesses;
mod met;
mod panel;
mod recent;
mod snapshot;
mod standing;
mod token;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::routing::{get, post};
use axum::{Router, middleware};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::web::{self, Client, Limits, Streams};

pub use access::{Access, Exposed};
pub use answer::Refusal;
pub use feed::{Content, Feed, NameOf};
pub use panel::Panel;
pub use token::{ShortToken, Token};

use snapshot::Snapshot;

/// What a browser is allowed: nothing runs, is shown or is sent that does not come from here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// The largest body of a request, in bytes: a token, a switch.
const MAX_BODY_BYTES: usize = 16 << 10;

/// How many streams of events one client has open at once, at most.
const MAX_STREAMS_OF_CLIENT: usize = 16;

/// How often browsers get what has changed.
const TOLD_EVERY: Duration = Duration::from_millis(100);

/// What a person can play with on a page.
pub trait Playable: Send + Sync {
    /// What the page answers besides. Access is checked before, and a body has 16 KiB at most where
    /// a route does not say otherwise.
    fn routes(self: Arc<Self>) -> Router;

    /// What there is to see now, besides what the feed has: the field `play` of a snapshot.
    ///
    /// # Errors
    /// If it is no JSON.
    fn play(&self) -> serde_json::Result<Box<RawValue>>;
}

/// The page, and what it shows; clones share it.
#[derive(Clone)]
pub struct Page {
    feed: Arc<Feed>,
    playable: Option<Arc<dyn Playable>>,
    access: Arc<Access>,
}

impl Page {
    /// What a service does, to be looked at only.
    pub fn of_service(feed: Arc<Feed>, access: Access) -> Self {
        Self { feed, playable: None, access: Arc::new(access) }
    }

    /// What this feed hears, to be played with.
    pub fn to_play_with(feed: Arc<Feed>, playable: Arc<dyn Playable>, access: Access) -> Self {
        Self { feed, playable: Some(playable), access: Arc::new(access) }
    }

    /// Serves browsers until `shutdown` completes. Then streams of events end, requests under way
    /// are answered, and it completes. Dropping it ends it at once.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, stopped) = watch::channel(false);
        let (frames, shown) = watch::channel(Arc::default());
        let shutdown = async move {
            shutdown.await;
            stop.send_replace(true);
        };
        let limits = Limits::beside_the_work();
        let streams = Streams::new(limits.streams(), MAX_STREAMS_OF_CLIENT, stopped);
        let site = Site { page: self.clone(), shown, streams };
        tokio::select! {
            biased;
            () = web::serve(listener, router(site), limits, shutdown) => {}
            never = self.tell(&frames) => match never {},
        }
    }

    /// Keeps the last frame up to date.
    async fn tell(&self, frames: &watch::Sender<Frame>) -> Infallible {
        let mut ticks = interval(TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let frame = self.frame();
            frames.send_if_modified(|shown| {
                let is_news = *shown != frame;
                *shown = frame;
                is_news
            });
        }
    }

    /// What there is to see now, as JSON.
    fn frame(&self) -> Frame {
        let play = self.playable.as_ref().map(|playable| playable.play()).transpose();
        match play.and_then(|play| serde_json::to_string(&Snapshot::of(&self.feed, play))) {
            Ok(json) => json.into(),
            Err(error) => unreachable!("a snapshot is JSON: {error}"),
        }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("access", &self.access).finish_non_exhaustive()
    }
}

/// A snapshot, as it is sent.
type Frame = Arc<str>;

/// What every handler has.
#[derive(Clone)]
struct Site {
    page: Page,
    shown: watch::Receiver<Frame>,
    streams: Streams<Client>,
}

fn router(site: Site) -> Router {
    let access = site.page.access.clone();
    let playable = site.page.playable.clone();
    Router::new()
        .route("/", get(assets::index))
        .route("/assets/{name}", get(assets::show))
        .route("/enter", post(enter::enter))
        .route("/snapshot", get(events::snapshot))
        .route("/events", get(events::stream))
        .route("/fates/{number}", get(fates::content))
        .with_state(site)
        .merge(playable.map(|playable| playable.routes()).unwrap_or_default())
        .fallback(nothing)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn_with_state(access, access::guard))
        .layer(middleware::from_fn(web::limit))
        .layer(middleware::from_fn(|request, next| web::secure(POLICY, request, next)))
}

/// Answers what no route does.
async fn nothing(method: Method) -> Refusal {
    match method {
        Method::GET | Method::HEAD => Refusal::Missing,
        _ => Refusal::ReadOnly,
    }
}
