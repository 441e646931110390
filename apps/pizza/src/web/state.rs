//! What every handler has.

use std::sync::Arc;

use jobstream::record::Timestamp;
use jobstream_service::web::Streams;
use tokio::sync::watch;

use super::Surroundings;
use super::desk::Desk;
use crate::orders::Orders;

/// How many streams of events are open at once, at most.
const MAX_STREAMS: usize = 1000;

/// The shop as its handlers see it; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Shop {
    pub(super) orders: Arc<dyn Orders>,
    pub(super) desk: Desk,
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) streams: Streams,
}

impl Shop {
    /// A shop that closes its streams when `stopped` turns true.
    pub(super) fn new(
        orders: Arc<dyn Orders>,
        desk: Desk,
        surroundings: Surroundings,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let streams = Streams::new(MAX_STREAMS, stopped);
        Self { orders, desk, surroundings: Arc::new(surroundings), streams }
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn now(&self) -> Timestamp {
        (self.surroundings.now)()
    }
}
