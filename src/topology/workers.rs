//! Several workers in one process: the same stages, each with ends of its own.

use std::fmt;

use futures::future::{FutureExt, Shared};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::select;
use tokio::sync::watch;

use super::Topology;
use super::error::RunError;
use super::run::Drained;
use crate::sinks::Sink;
use crate::sources::Source;
use crate::state::Store;

/// The ends of one worker.
pub struct Worker {
    /// Its member of the group.
    pub source: Box<dyn Source>,
    /// Its producer.
    pub sink: Box<dyn Sink>,
    /// Where its keyed state outlives it; none for a topology without state, or with one
    /// [in memory](Topology::with_state_in_memory).
    pub store: Option<Box<dyn Store>>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

impl Topology {
    /// Runs several workers until `shutdown` completes, on the caller's task; they take turns. All
    /// limits are per worker. If one of them breaks, the others are shut down, as by `shutdown`.
    ///
    /// # Cancellation
    /// See [`run`](Self::run).
    ///
    /// # Errors
    /// The first worker's error, after the others have ended.
    pub async fn run_workers(
        &self,
        workers: &[Worker],
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<Drained, RunError> {
        let (broken, mut watch_broken) = watch::channel(false);
        let stop: Shared<_> = async move {
            select! {
                biased;
                () = shutdown => {}
                _ = watch_broken.wait_for(|broken| *broken) => {}
            }
        }
        .boxed()
        .shared();
        let mut runs: FuturesUnordered<_> =
            workers.iter().map(|worker| self.run_worker(worker, stop.clone())).collect();
        let (mut drained, mut first_error) = (Drained::default(), None);
        while let Some(ended) = runs.next().await {
            match ended {
                Ok(worker) => drained.unfinished += worker.unfinished,
                Err(error) => {
                    broken.send_replace(true);
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(drained), Err)
    }
}
