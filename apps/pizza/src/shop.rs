//! The shop at work: any of the services, and the web app, in one process.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use jobstream::sinks::Sink;
use jobstream::topology::Worker;
use jobstream_service::{Failure, Signals};
use pizza::orders::Orders;
use pizza::services::Service;
use pizza::web::{self, SERVICE, Surroundings};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::info;

/// What the shop consists of.
#[derive(Default)]
pub(crate) struct Shop {
    /// Services, and the ends that each works between.
    pub(crate) services: Vec<(Service, Worker)>,
    /// The web app, if it is here.
    pub(crate) web_app: Option<WebApp>,
}

/// The web app, and what it needs.
pub(crate) struct WebApp {
    /// Where browsers come.
    pub(crate) listener: TcpListener,
    /// What it shows.
    pub(crate) orders: Arc<dyn Orders>,
    /// Where orders go.
    pub(crate) sink: Arc<dyn Sink>,
    /// What else comes in from outside.
    pub(crate) surroundings: Surroundings,
}

/// Opens a shop, and runs it until a signal: then it drains. A second one ends it at once; before
/// it is open, the first one does.
///
/// # Errors
/// If it can't open, or has ended otherwise than by one signal.
pub(crate) async fn until_signal(
    open: impl Future<Output = Result<Shop, Failure>>,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let shop = tokio::select! {
        biased;
        shop = open => shop?,
        () = signals.next() => return Ok(()),
    };
    let closing = watch::Sender::new(false);
    let close = || _ = closing.send_replace(true);
    signals.stop_at_next(shop.run(closing.clone()), close).await
}

impl Shop {
    /// Works until `closing` says so: then everything drains. If a part breaks, the others are
    /// drained, too. Everything runs on the caller's task; dropping the future ends it at once, as
    /// a crash would.
    ///
    /// # Errors
    /// The first part's that broke, after the others have ended.
    async fn run(self, closing: watch::Sender<bool>) -> Result<(), Failure> {
        let mut parts: FuturesUnordered<BoxFuture<'static, Result<(), Failure>>> =
            FuturesUnordered::new();
        for (service, worker) in self.services {
            let closed = closed(closing.subscribe());
            parts.push(Box::pin(async move {
                let ran = service.run(worker, closed).await;
                ran.map(drop).map_err(|error| Failure::new(format!("{}: {error}", service.name)))
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

impl WebApp {
    async fn run(self, closed: impl Future<Output = ()> + Send + 'static) -> Result<(), Failure> {
        let Self { listener, orders, sink, surroundings } = self;
        let service = SERVICE;
        if let Ok(address) = listener.local_addr() {
            info!(service, "The shop is open: http://{address}");
        }
        let closed = async move {
            closed.await;
            info!(service, "Starting graceful shutdown...");
        };
        let served = web::serve(listener, orders, sink, surroundings, closed).await;
        served.map_err(Failure::new)?;
        info!(service, "Graceful shutdown completed");
        Ok(())
    }
}

/// Completes when the shop is to close.
async fn closed(mut closing: watch::Receiver<bool>) {
    // Where nobody is left to say so, it is to close, too.
    drop(closing.wait_for(|closing| *closing).await);
}
