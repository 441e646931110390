//! A web app on a port of its own, on the in-memory broker, without the services behind it: a test
//! plays them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jobstream::record::Timestamp;
use jobstream_testkit::broker::Broker;
use pizza::in_memory::create_topics;
use pizza::order_id::OrderId;
use pizza::orders::{InMemoryOrders, Orders};
use pizza::status::Status;
use pizza::web::{self, Random, SessionKey, Surroundings, WebError};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What the wall clock shows, until a test moves it.
pub(crate) const START: Timestamp = 1_676_235_639_159;

/// A web app that is running.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    pub(crate) broker: Broker,
    pub(crate) orders: Arc<dyn Orders>,
    pub(crate) clock: Arc<AtomicI64>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), WebError>>,
}

impl Shop {
    /// Opens a shop with nothing in it.
    pub(crate) async fn open() -> Self {
        Self::open_with(Arc::new(InMemoryOrders::new()), |_| {}).await
    }

    /// Opens a shop on a store, in surroundings that `change` may change.
    pub(crate) async fn open_with(
        orders: Arc<dyn Orders>,
        change: impl FnOnce(&mut Surroundings),
    ) -> Self {
        let broker = Broker::new();
        create_topics(&broker);
        Self::open_on(broker, orders, change).await
    }

    /// Opens a shop on a broker and a store.
    pub(crate) async fn open_on(
        broker: Broker,
        orders: Arc<dyn Orders>,
        change: impl FnOnce(&mut Surroundings),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clock = Arc::new(AtomicI64::new(START));
        let mut surroundings = surroundings(&clock);
        change(&mut surroundings);
        let (stop, stopped) = oneshot::channel::<()>();
        let sink = Arc::new(broker.producer());
        let served = web::serve(listener, Arc::clone(&orders), sink, surroundings, async {
            drop(stopped.await);
        });
        let served = tokio::spawn(served);
        Self { address, broker, orders, clock, stop: Some(stop), served }
    }

    /// What a service would tell of an order.
    pub(crate) async fn tell(&self, id: OrderId, status: Status) {
        let now = self.clock.fetch_add(1000, Ordering::SeqCst) + 1000;
        self.orders.progress(id, status, now).await.unwrap();
    }

    /// Tells the web app to stop.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Waits for the end that the web app comes to by itself.
    pub(crate) async fn served(self) -> Result<(), WebError> {
        self.served.await.unwrap()
    }

    /// Ends the web app at once, as a crash does.
    pub(crate) async fn crash(self) {
        self.served.abort();
        assert!(self.served.await.unwrap_err().is_cancelled());
    }

    /// Stops the web app, and waits for its end.
    pub(crate) async fn close(mut self) -> Result<(), WebError> {
        self.stop();
        self.served.await.unwrap()
    }
}

fn surroundings(clock: &Arc<AtomicI64>) -> Surroundings {
    let (clock, random) = (Arc::clone(clock), Random::of_system());
    Surroundings {
        session_key: SessionKey::generate(&random),
        has_https: false,
        now: Arc::new(move || clock.load(Ordering::SeqCst)),
        random,
        answer_limit: Duration::from_secs(120),
        settled_after: Duration::from_secs(15),
    }
}
