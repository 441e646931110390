//! Streams of events: how many at once, and their end.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The right to streams of events, which end when the page closes; clones share it.
#[derive(Clone, Debug)]
pub struct Streams {
    stopped: watch::Receiver<bool>,
    places: Arc<Semaphore>,
}

impl Streams {
    /// At most so many at once; all end when `stopped` turns true.
    pub fn new(streams_max: usize, stopped: watch::Receiver<bool>) -> Self {
        Self { stopped, places: Arc::new(Semaphore::new(streams_max)) }
    }

    /// The right to one stream, or none if all are taken.
    pub fn begin(&self) -> Option<Stream> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Stream { stopped: self.stopped.clone(), _place: place })
    }
}

/// The right to one stream of events, given back when it is dropped.
#[derive(Debug)]
pub struct Stream {
    stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Stream {
    /// Completes when the page closes.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.clone();
        async move {
            // Without its sender there is nobody left who could serve.
            let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
        }
    }
}
