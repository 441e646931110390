//! A service: a topology, and the group that it runs in.

use std::sync::Arc;

use jobstream::topology::{Drained, Observer, RunError, Topology, Worker};
use jobstream_service::traces::{RunTraces, Traces};
use tracing::{info, warn};

use crate::log::ServiceLog;

/// How the outputs of a service are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Outputs and positions in one transaction.
    ExactlyOnce,
    /// Outputs first, then the positions: enough where a repetition changes nothing.
    AtLeastOnce,
}

/// One of the services, to be run between the ends of a worker.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name in the log.
    pub name: &'static str,
    /// Its consumer group.
    pub group: &'static str,
    /// The topics that it consumes.
    pub consumes: &'static [&'static str],
    /// How its outputs are delivered.
    pub delivery: Delivery,
    /// The topic of its keyed state, if it has any.
    pub remembers: Option<&'static str>,
    topology: Topology,
}

impl Service {
    /// A service that delivers exactly once and remembers nothing.
    pub(super) fn new(
        name: &'static str,
        group: &'static str,
        consumes: &'static [&'static str],
        topology: Topology,
    ) -> Self {
        let topology = topology.with_group(group).with_observer(Arc::new(ServiceLog::new(name)));
        let delivery = Delivery::ExactlyOnce;
        Self { name, group, consumes, delivery, remembers: None, topology }
    }

    /// Adds an observer of its runs.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> Self {
        self.topology = self.topology.with_observer(observer);
        self
    }

    /// Keeps its state on this topic.
    pub(super) const fn remembering(mut self, topic: &'static str) -> Self {
        self.remembers = Some(topic);
        self
    }

    /// Is idempotent, so that what it does may be repeated.
    pub(super) const fn idempotent(mut self) -> Self {
        self.delivery = Delivery::AtLeastOnce;
        self
    }

    /// Makes traces of what it does.
    #[must_use]
    pub fn traced(mut self, traces: Traces) -> Self {
        self.topology = RunTraces::new(traces, self.group).of(self.topology);
        self
    }

    /// Its topology, with all that belongs to it.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Runs until `shutdown` completes, and logs what it does; see [`Topology::run`].
    ///
    /// # Errors
    /// If an end of the worker breaks.
    pub async fn run(
        &self,
        worker: Worker,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<Drained, RunError> {
        let service = self.name;
        info!(service, "Subscribed to topic(s): {}", self.consumes.join(", "));
        let stopped = async {
            shutdown.await;
            info!(service, "Starting graceful shutdown...");
            info!(service, "Closing consumer group...");
        };
        let drained = self.topology.run_worker(&worker, stopped).await?;
        info!(service, "Consumer group successfully closed");
        if drained.unfinished > 0 {
            warn!(service, "{} records were left unfinished", drained.unfinished);
        }
        info!(service, "Graceful shutdown completed");
        Ok(drained)
    }
}
