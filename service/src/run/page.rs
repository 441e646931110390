//! The live page beside the service.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use super::{ServiceError, stop};
use crate::defaults::Defaults;
use crate::jobs::job_id;
use crate::page::{Access, Exposed, Feed, Page};
use crate::settings::{ServiceSettings, SettingsError};

/// A page that is to be shown.
pub(super) struct Shown {
    pub(super) feed: Arc<Feed>,
    page: Page,
    listener: TcpListener,
}

/// Opens the page, if it is wanted.
///
/// # Errors
/// If the address is taken, or can be reached from other machines and there is no token.
pub(super) async fn open(
    address: Option<SocketAddr>,
    defaults: &Defaults,
    settings: &ServiceSettings,
) -> Result<Option<Shown>, ServiceError> {
    let Some(address) = address else { return Ok(None) };
    let access = Access::new(address, settings.page.token.clone()).map_err(no_token)?;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| ServiceError::Page(address, error))?;
    let feed = Feed::new(settings.topics.topics.clone(), job_id, settings.page.content);
    let feed = Arc::new(feed.titled(defaults.name, defaults.server));
    let page = Page::of_service(feed.clone(), access);
    Ok(Some(Shown { feed, page, listener }))
}

fn no_token(exposed: Exposed) -> ServiceError {
    SettingsError::missing("PAGE_TOKEN", &format!("a secret: {exposed}")).into()
}

/// Shows the page until the service is to stop. Never completes.
pub(super) async fn show(shown: Option<Shown>, stopped: watch::Receiver<bool>) -> Infallible {
    let Some(Shown { page, listener, .. }) = shown else { return pending().await };
    if let Ok(address) = listener.local_addr() {
        info!("The live page is on http://{address}");
    }
    page.serve(listener, stop(stopped)).await;
    pending().await
}
