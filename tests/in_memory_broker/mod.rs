//! The broker of the testkit for tests, in this process, with a listener for Kafka's protocol. It
//! takes the place of Apache Kafka where a test asks nothing of Kafka itself.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use jobstream_testkit::broker;
use jobstream_testkit::wire::{Listener, ListenerBuilder};

/// The only node.
const NODE: i32 = 1;

/// A broker of one test.
pub(crate) struct Broker {
    pub(crate) bootstrap: String,
    broker: broker::Broker,
    listener: Listener,
}

#[allow(dead_code, reason = "not every test file wants them")]
impl Broker {
    /// A broker without topics.
    pub(crate) async fn open() -> Arc<Self> {
        Self::open_with(|listener| listener).await
    }

    /// A broker whose listener has other settings.
    pub(crate) async fn open_with(
        settings: impl FnOnce(ListenerBuilder) -> ListenerBuilder + Send,
    ) -> Arc<Self> {
        Self::serve(broker::Broker::new(), settings).await
    }

    /// The same broker at another address, with other settings.
    pub(crate) async fn again_with(
        &self,
        settings: impl FnOnce(ListenerBuilder) -> ListenerBuilder + Send,
    ) -> Arc<Self> {
        Self::serve(self.broker.clone(), settings).await
    }

    async fn serve(
        broker: broker::Broker,
        settings: impl FnOnce(ListenerBuilder) -> ListenerBuilder + Send,
    ) -> Arc<Self> {
        let listener = settings(broker.listener()).listen("127.0.0.1:0").await.unwrap();
        Arc::new(Self { bootstrap: listener.bootstrap(), broker, listener })
    }

    /// The CA of its certificate, in PEM.
    pub(crate) fn ca_pem(&self) -> &str {
        self.listener.ca_pem().expect("a listener with TLS")
    }

    /// Adds a fault, as a line of a script of faults.
    pub(crate) fn fault(&self, line: &str) {
        self.listener.faults().push(line.parse().unwrap());
    }

    /// Cuts its connections, and refuses new ones.
    pub(crate) fn take_away(&self) {
        self.listener.take_away(NODE);
    }

    pub(crate) fn bring_back(&self) {
        self.listener.bring_back(NODE);
    }
}

/// Whatever a client of ours asks for is served; one that trusts nobody ends a connection with TLS.
impl Drop for Broker {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.listener.ca_pem().is_none() {
            assert_eq!(self.listener.refusals(), Vec::<String>::new());
        }
    }
}
