//! A service: a topology, and the group that it runs in.

use std::sync::Arc;

use jobstream::record::Topic;
use jobstream::topology::{Drained, RunError, Topology, Worker};
use jobstream_service::traces::RunTraces;
use jobstream_service::{Delivery, Ends, Failure, Process};
use tracing::{info, warn};

use crate::log::ServiceLog;

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

    /// The same, counted and traced as a part of the process, and its ends on Kafka; completes when
    /// those of the same instance that were before are fenced.
    ///
    /// # Errors
    /// If the clients can't be made, or the brokers refuse them for good.
    pub async fn on_kafka(mut self, process: &Process) -> Result<(Self, Worker), Failure> {
        if let Some(traces) = process.traces(self.name) {
            self.topology = RunTraces::new(traces.clone(), self.group).of(self.topology);
        }
        if let Some(metrics) = process.metrics() {
            self.topology = self.topology.with_observer(metrics.run.clone());
        }
        // The log names the place of what is produced.
        let kafka = process.kafka().clone().keep_places();
        // An order has one number of partition on all topics, and one member has all of them.
        let kafka = match self.consumes {
            [_] => Ok(kafka),
            _ => kafka.property("partition.assignment.strategy", "range"),
        };
        let ends = Ends {
            group: self.group.to_owned(),
            topics: self.consumes.iter().copied().map(Topic::from).collect(),
            delivery: self.delivery,
            state: self.remembers.map(Topic::from),
        };
        let worker = process.worker(&kafka.map_err(Failure::usage)?, &ends, 1).await?;
        Ok((self, worker))
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
