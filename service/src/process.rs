//! A process on Kafka: what everything that runs in it shares.
//!
//! ```text
//!                        ┌─▶ kafka ───────────▶ topics, workers, producers
//!  settings ─▶ Process ──┼─▶ metrics, traces ─▶ what observes topologies
//!                        └─▶ Told ────────────▶ /metrics, probes
//! ```
//!
//! A [`Service`](crate::Service) is one. A program of another shape, with several topologies or with
//! a web app beside them, makes one and runs them by itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jobstream::kafka::{KafkaConfig, Observer, Topics};
use jobstream::topology::Worker;
use tracing::warn;

use crate::metrics::{Monitor, ProcessMetrics, Told, tell_statistics};
use crate::settings::{Accepted, ProcessSettings, PropertyError, accept};
use crate::traces::{Traces, TracesError, TracesExport};
use crate::{Ends, EndsError, Failure, KafkaLog, random_id};

/// The program that runs.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What runs in this process of it.
    pub parts: &'a [Part<'a>],
}

/// A part of a program.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// What it is called in traces, unless `OTEL_SERVICE_NAME` is set.
    pub name: &'static str,
    /// Its consumer group, if it consumes.
    pub group: Option<&'a str>,
}

/// A process on Kafka: what everything that runs in it shares. Dropped, it exports no more traces.
pub struct Process {
    settings: ProcessSettings,
    kafka: KafkaConfig,
    log: Arc<KafkaLog>,
    metrics: Option<ProcessMetrics>,
    traces: BTreeMap<&'static str, (Traces, TracesExport)>,
}

impl Process {
    /// A process with these settings, whose Kafka clients `observers` hear, too; and what serves its
    /// metrics and health, if the settings say where. The log is to be started before: this warns of
    /// odd settings.
    ///
    /// # Errors
    /// If librdkafka refuses a property, or traces can't be exported.
    pub fn new(
        program: Program<'_>,
        settings: ProcessSettings,
        observers: impl IntoIterator<Item = Arc<dyn Observer>>,
    ) -> Result<(Self, Option<Told>), Failure> {
        let Accepted { config, warnings } = accept(&settings.kafka)?;
        settings.warnings.iter().chain(&warnings).for_each(|warning| warn!("{warning}"));
        let (metrics, told) = metrics(program, &settings).unzip();
        let log = Arc::new(KafkaLog::default());
        let mut all: Vec<Arc<dyn Observer>> = vec![log.clone()];
        all.extend(metrics.iter().map(|metrics: &ProcessMetrics| metrics.kafka.clone() as _));
        all.extend(observers);
        let config = match all.len() {
            1 => config,
            _ => tell_statistics(config, &settings.kafka),
        };
        let traces = traces(program, &settings)?;
        let kafka = config.with_observer(Arc::new(all));
        Ok((Self { settings, kafka, log, metrics, traces }, told))
    }

    /// Where Kafka is; clients that are made of it are observed.
    pub const fn kafka(&self) -> &KafkaConfig {
        &self.kafka
    }

    /// Logs what Kafka's clients report.
    pub const fn log(&self) -> &Arc<KafkaLog> {
        &self.log
    }

    /// What is counted and measured, if it is served.
    pub const fn metrics(&self) -> Option<&ProcessMetrics> {
        self.metrics.as_ref()
    }

    /// What makes the traces of a part, if they are made.
    pub fn traces(&self, part: &str) -> Option<&Traces> {
        self.traces.get(part).map(|(traces, _)| traces)
    }

    /// A client that asks brokers about topics, and creates them.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn topics(&self) -> Result<Topics, Failure> {
        Topics::new(&self.kafka).map_err(|error| Failure::new(format!("Kafka: {error}")))
    }

    /// The source, the sink and the store of the worker with this number, from 1: one of those that
    /// the process has in the group. `kafka` is [that of the process](Self::kafka), or made of it.
    ///
    /// With exactly-once delivery it completes when older producers of its id are fenced.
    ///
    /// # Errors
    /// If the clients can't be made, or the brokers refuse them for good.
    pub async fn worker(
        &self,
        kafka: &KafkaConfig,
        ends: &Ends,
        number: usize,
    ) -> Result<Worker, Failure> {
        let id = self.settings.instance_id.as_ref().map(|id| format!("{id}-{number}"));
        let kafka = match &id {
            Some(id) => kafka.clone().instance_id(id),
            None => kafka.clone(),
        };
        let instance = id.unwrap_or_else(|| format!("{:016x}-{number}", random_id()));
        ends.worker(&kafka, &instance).await.map_err(|error| match error {
            EndsError::Config(error) => {
                let variable = self.settings.kafka.variable(&error);
                PropertyError { variable, reason: error.to_string() }.into()
            }
            EndsError::Refused(reason) => Failure::new(format!("Kafka: {reason}")),
        })
    }
}

/// What is counted of all parts together, and what serves it, if the settings say where.
fn metrics(program: Program<'_>, settings: &ProcessSettings) -> Option<(ProcessMetrics, Told)> {
    let address = settings.metrics_address?;
    let environment = settings.log.environment.as_deref();
    let mut monitor = Monitor::new(program.name, program.version, environment);
    let groups: Vec<_> = program.parts.iter().filter_map(|part| part.group).collect();
    let metrics = ProcessMetrics::register(&mut monitor, &groups);
    Some((metrics, Told { address, monitor }))
}

/// The traces of each part, where they are made.
fn traces(
    program: Program<'_>,
    settings: &ProcessSettings,
) -> Result<BTreeMap<&'static str, (Traces, TracesExport)>, TracesError> {
    let Some(settings) = &settings.traces else { return Ok(BTreeMap::new()) };
    let start = |part: &Part<'_>| Ok((part.name, Traces::start(&settings.of_part(part.name))?));
    program.parts.iter().map(start).collect()
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("settings", &self.settings)
            .field("traces", &self.traces.keys())
            .finish_non_exhaustive()
    }
}
