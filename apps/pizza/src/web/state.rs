//! What every handler has.

use std::sync::Arc;

use jobstream::record::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    stopped: watch::Receiver<bool>,
    streams: Arc<Semaphore>,
}

impl Shop {
    /// A shop that closes its streams when `stopped` turns true.
    pub(super) fn new(
        orders: Arc<dyn Orders>,
        desk: Desk,
        surroundings: Surroundings,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { orders, desk, surroundings: Arc::new(surroundings), stopped, streams }
    }

    /// The wall clock, in milliseconds since 1970.
    pub(super) fn now(&self) -> Timestamp {
        (self.surroundings.now)()
    }

    /// Completes when the shop closes.
    pub(super) async fn stopped(mut self) {
        // Without its sender there is nobody left who could serve.
        let _ = self.stopped.wait_for(|is_stopped| *is_stopped).await;
    }

    /// The right to one stream of events, or none if all are taken.
    pub(super) fn stream_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }
}
