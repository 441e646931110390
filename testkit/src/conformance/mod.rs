//! What the topology relies on, stated once for every broker.
//!
//! ```text
//!                      ┌─▶ in-memory broker
//!  behaviours ─▶ Backend ─▶ librdkafka's MockCluster
//!                      └─▶ real Kafka
//! ```
//!
//! Each behaviour is an async function with a sentence for a name; it panics if the backend does
//! not keep it. They are written against Kafka's documented semantics, wait for conditions and
//! never for a moment, and share nothing: each makes topics and groups of its own. Where a backend
//! cannot do something, its [`Features`] say so.
//!
//! A test file runs them one by one, or with [`all`].

use futures::future::BoxFuture;

mod backend;
mod members;
pub mod pauses;
pub mod positions;
pub mod rebalances;
pub mod records;
pub mod resets;
pub mod sinks;
pub mod stores;
pub mod transactions;

pub use backend::{Backend, Features};
pub use members::Members;

/// One behaviour.
pub struct Behaviour<B: Backend> {
    /// The sentence that holds: the name of its function.
    pub name: &'static str,
    /// Whether the backend can do what it takes.
    pub applies: fn(&Features) -> bool,
    /// Checks it; panics if it does not hold.
    pub check: for<'a> fn(&'a B) -> BoxFuture<'a, ()>,
}

impl<B: Backend> std::fmt::Debug for Behaviour<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Behaviour").field(&self.name).finish()
    }
}

impl<B: Backend> Behaviour<B> {
    const fn always(name: &'static str, check: for<'a> fn(&'a B) -> BoxFuture<'a, ()>) -> Self {
        Self { name, applies: |_| true, check }
    }

    const fn with(mut self, applies: fn(&Features) -> bool) -> Self {
        self.applies = applies;
        self
    }
}

/// Every behaviour, in the order of the modules.
pub fn behaviours<B: Backend>() -> Vec<Behaviour<B>> {
    let mut behaviours = records::behaviours();
    behaviours.extend(pauses::behaviours());
    behaviours.extend(positions::behaviours());
    behaviours.extend(resets::behaviours());
    behaviours.extend(rebalances::behaviours());
    behaviours.extend(sinks::behaviours());
    behaviours.extend(transactions::behaviours());
    behaviours.extend(stores::behaviours());
    behaviours
}

/// Checks, one after another, every behaviour that the backend's features allow.
///
/// # Panics
/// At the first one that does not hold.
pub async fn all<B: Backend>(backend: &B) {
    let features = backend.features();
    for behaviour in behaviours::<B>() {
        if (behaviour.applies)(&features) {
            (behaviour.check)(backend).await;
        }
    }
}
