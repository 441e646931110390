//! The shop at work: any of the services, and the web app, in one process.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jobstream::sinks::Sink;
use jobstream::topology::{RunError, Worker};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

use crate::orders::Orders;
use crate::services::Service;
use crate::web::{self, Surroundings, WebError};

/// The web app's name in its log.
pub const WEB_APP: &str = "webapp";

/// What the shop consists of.
#[derive(Default)]
pub struct Shop {
    /// Services, and the ends that each works between.
    pub services: Vec<(Service, Worker)>,
    /// The web app, if it is here.
    pub web_app: Option<WebApp>,
}

/// The web app, and what it needs.
#[derive(Debug)]
pub struct WebApp {
    /// Where browsers come.
    pub listener: TcpListener,
    /// What it shows.
    pub orders: Arc<dyn Orders>,
    /// Where orders go.
    pub sink: BoxedSink,
    /// What else comes in from outside.
    pub surroundings: Surroundings,
}

/// A sink that was chosen at run time.
pub struct BoxedSink(pub Box<dyn Sink>);

impl std::fmt::Debug for BoxedSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoxedSink")
    }
}

/// What closes the shop before its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// A service has ended.
    #[error("{0}: {1}")]
    Service(&'static str, RunError),
    /// The web app has ended.
    #[error(transparent)]
    Web(#[from] WebError),
}

impl Shop {
    /// Works until `closing` says so: then everything drains. If a part breaks, the others are
    /// drained, too. Everything runs on the caller's task; dropping the future ends it at once, as
    /// a crash would.
    ///
    /// # Errors
    /// The first part's that broke, after the others have ended.
    pub async fn run(self, closing: watch::Sender<bool>) -> Result<(), ShopError> {
        let mut parts: FuturesUnordered<BoxFuture<'static, Result<(), ShopError>>> =
            FuturesUnordered::new();
        for (service, worker) in self.services {
            let closed = closed(closing.subscribe());
            parts.push(Box::pin(async move {
                let ran = service.run(worker, closed).await;
                ran.map(drop).map_err(|error| ShopError::Service(service.name, error))
            }));
        }
        if let Some(web_app) = self.web_app {
            parts.push(Box::pin(web_app.run(closed(closing.subscribe()))));
        }
        let mut first_error = None;
        while let Some(ended) = parts.next().await {
            if let Err(error) = ended {
                closing.send_replace(true);
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

impl std::fmt::Debug for Shop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.services.iter().map(|(service, _)| service.name).collect();
        f.debug_struct("Shop").field("services", &names).finish_non_exhaustive()
    }
}

impl WebApp {
    async fn run(self, closed: impl Future<Output = ()> + Send + 'static) -> Result<(), ShopError> {
        let Self { listener, orders, sink: BoxedSink(sink), surroundings } = self;
        let service = WEB_APP;
        if let Ok(address) = listener.local_addr() {
            info!(service, "The shop is open: http://{address}");
        }
        let sink: Arc<dyn Sink> = Arc::from(sink);
        let closed = async move {
            closed.await;
            info!(service, "Starting graceful shutdown...");
        };
        web::serve(listener, orders, sink, surroundings, closed).await?;
        info!(service, "Graceful shutdown completed");
        Ok(())
    }
}

/// Completes when the shop is to close.
async fn closed(mut closing: watch::Receiver<bool>) {
    // Where nobody is left to say so, it is to close, too.
    drop(closing.wait_for(|closing| *closing).await);
}
